//! Where the backups are that a command is about: at a server, or in a repository.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use jiff::SignedDuration;

use super::fault;
use crate::audit::origin::origin;
use crate::backup::branch::LogBranch;
use crate::backup::repository::BackupRepository;
use crate::backup::{BackupPlan, BackupRetention};
use crate::cli::audit::LogKeyArgs;
use crate::cli::client_file::usual_client;
use crate::client::Client;
use crate::config::{SideConfig, VaultConfig};
use crate::entity::Role;
use crate::journal::read::PlaceLog;
use crate::keys::file::SecretKind;
use crate::keys::{StoreKey, StoreSecret};
use crate::register::Register;
use crate::seal::chunk::ChunkCipher;
use crate::serve::open_register;
use crate::store::{Shard, Store};
use crate::terminal::{CommandError, open_client};
use crate::tlog::witness::KnownLogs as _;

/// A server, or a repository with the key that must have signed.
#[derive(clap::Args)]
pub struct BackupPlaceArgs {
    /// The client file of an operator, or of a custodian for a node: the server does it [default:
    /// that of CLOISON_CLIENT, where no repository and no configuration is named]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repository", "config"])]
    client: Option<PathBuf>,
    /// The repository's folder: this program does it, and no server is asked
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// The side's configuration, instead of --register: names the repository, the key and
    /// the storage secrets
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: LogKeyArgs,
}

/// What was named.
pub(super) enum OpenedPlace {
    Server(Box<Client>),
    Repository(Box<OpenedRepository>),
}

/// A repository, and what a configuration says of it.
pub(super) struct OpenedRepository {
    pub(super) repository: BackupRepository,
    /// The key of its owner's checkpoints.
    pub(super) key: VerifyingKey,
    /// The storage secrets, where a vault's configuration was named.
    pub(super) cipher: Option<ChunkCipher>,
    /// The log that counts, where a configuration leads to it.
    pub(super) log: KnownLog,
    /// What the configuration keeps.
    pub(super) retention: Option<BackupRetention>,
    /// The configuration, where one was named.
    pub(super) config: Option<SideConfig>,
}

/// The log that counts, as far as this machine has it.
pub(super) enum KnownLog {
    Store(Box<Store>),
    Place(PlaceLog),
    None,
}

impl KnownLog {
    /// That in the store, or else in the second place. One that cannot be read tells nothing.
    fn of(side: &BackupSide, key: &VerifyingKey) -> Self {
        if let Ok(store) = Store::open_for_audit(&side.store) {
            return Self::Store(Box::new(store));
        }
        let owner = side.role.owner(&side.register.deployment);
        let open = |folder: &PathBuf| PlaceLog::open(folder, &owner, key, None).ok();
        let second = side.second.as_ref().and_then(open);
        second.map_or(Self::None, Self::Place)
    }

    pub(super) fn branch(&self) -> LogBranch<'_> {
        match self {
            Self::Store(store) => LogBranch::Store(store),
            Self::Place(place) => LogBranch::Place(place),
            Self::None => LogBranch::Unknown,
        }
    }
}

/// What a configuration says that concerns backups.
pub(crate) struct BackupSide {
    /// The configuration itself.
    pub(crate) config: SideConfig,
    /// `[store] path`.
    pub(crate) store: PathBuf,
    /// `[audit] second`.
    pub(crate) second: Option<PathBuf>,
    pub(crate) role: Role,
    pub(crate) register: Register,
    pub(crate) plan: Option<BackupPlan>,
    pub(crate) cipher: Option<ChunkCipher>,
}

impl BackupPlaceArgs {
    /// Opens it.
    ///
    /// # Errors
    /// When nothing is named, or what is named cannot be opened.
    pub(super) fn open(&self) -> Result<OpenedPlace, CommandError> {
        let client = self.client.clone().or_else(usual_client);
        match (client, &self.repository, &self.config) {
            (_, folder, Some(config)) => {
                let opened = by_configuration(folder.as_deref(), config)?;
                Ok(OpenedPlace::Repository(Box::new(opened)))
            }
            (_, Some(folder), None) => {
                let opened = self.by_key(folder)?;
                Ok(OpenedPlace::Repository(Box::new(opened)))
            }
            (Some(file), None, None) => Ok(OpenedPlace::Server(Box::new(open_client(&file)?))),
            (None, None, None) => Err(CommandError::usage(
                "neither a server nor a repository is named",
                "name a server with --client FILE, or a repository with --repository DIR and --register FILE",
            )),
        }
    }

    fn by_key(&self, folder: &Path) -> Result<OpenedRepository, CommandError> {
        let keys = self.keys.keys()?;
        let repository = BackupRepository::open(folder).map_err(fault)?;
        // Keys are known by the logs that they sign; any year will do.
        let log = origin(repository.owner(), Shard::of(2026));
        let key = keys.key_of(&log).ok_or_else(|| {
            CommandError::new(
                format_args!("no key is named for {}, whose backups these are", repository.owner()),
                "name its register with --register FILE, or the public key of its checkpoints with --key",
            )
        })?;
        Ok(OpenedRepository {
            repository,
            key,
            cipher: None,
            log: KnownLog::None,
            retention: None,
            config: None,
        })
    }
}

fn by_configuration(
    folder: Option<&Path>,
    config: &Path,
) -> Result<OpenedRepository, CommandError> {
    let side = BackupSide::read(config)?;
    let folder = folder.or(side.plan.as_ref().map(|plan| plan.path.as_path()));
    let folder = folder.ok_or_else(|| {
        CommandError::usage(
            format_args!("{} has no [backup]", config.display()),
            "name the repository with --repository DIR",
        )
    })?;
    let repository = side.repository(folder)?;
    let key = side.key()?;
    let years = side.register.shortest_retention_years().map(i64::from);
    let longest = years.map(|years| SignedDuration::from_hours(24 * 365 * years));
    let log = KnownLog::of(&side, &key);
    let retention = side.plan.map(|plan| BackupRetention {
        longest,
        ..plan.retention
    });
    Ok(OpenedRepository {
        repository,
        key,
        cipher: side.cipher,
        log,
        retention,
        config: Some(side.config),
    })
}

impl BackupSide {
    /// Reads a side's configuration, the register that it names, and a vault's storage secrets.
    ///
    /// # Errors
    /// When one of them is not in order.
    pub(crate) fn read(config: &Path) -> Result<Self, CommandError> {
        let config = SideConfig::load(config)?;
        Ok(Self {
            store: config.store().to_owned(),
            second: config.log().second.clone(),
            role: config.role(),
            register: open_register(config.register())?,
            plan: config.backup().cloned(),
            cipher: match &config {
                SideConfig::Vault(vault) => Some(chunk_cipher(vault)?),
                SideConfig::Node(_) | SideConfig::Identity(_) => None,
            },
            config,
        })
    }

    /// The repository in a folder, which must be this side's.
    ///
    /// # Errors
    /// When there is none, or it is another's.
    pub(crate) fn repository(&self, folder: &Path) -> Result<BackupRepository, CommandError> {
        let owner = self.role.owner(&self.register.deployment);
        BackupRepository::open_for(folder, &owner).map_err(fault)
    }

    /// The key that signs this side's checkpoints, as the register states it.
    ///
    /// # Errors
    /// When the register states none.
    pub(crate) fn key(&self) -> Result<VerifyingKey, CommandError> {
        self.role.checkpoint_key(&self.register).ok_or_else(|| {
            CommandError::new(
                "the register states no key of this side's checkpoints",
                "enter `checkpoint-key` in the register: `cloison audit key` prints it",
            )
        })
    }
}

/// What opens a vault's chunks, of its storage secrets.
fn chunk_cipher(config: &VaultConfig) -> Result<ChunkCipher, CommandError> {
    let secrets = config
        .openers
        .keyring()
        .read_versions(&config.secrets.store, SecretKind::Store)
        .map_err(|error| CommandError::new(error, "check [secrets] in the configuration"))?;
    let keys = secrets
        .into_iter()
        .map(|(version, secret)| (version, StoreKey::new(&StoreSecret(secret))));
    Ok(ChunkCipher::new(keys))
}
