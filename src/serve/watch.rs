//! Who watches whose log while the servers run: witnesses ours, vault and node each other's.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::writable;
use crate::audit::cosign::{CosignatureQuorum, Cosigner, Cosigners, WitnessLink, WitnessThread};
use crate::audit::log::{Log, LogParts};
use crate::audit::origin::TrustedLogKey;
use crate::audit::origin::cosigner_name;
use crate::client::peer::Peer;
use crate::client::{Client, Timeouts};
use crate::clock::{ClockBehind, SystemClock};
use crate::config::{LogConfig, NodeConfig, VaultConfig, WatcherConfig};
use crate::entity::{Entity, Role};
use crate::http::Readiness;
use crate::http::cosign::CosignDoor;
use crate::metrics::{Gauge, Registry};
use crate::node::Node;
use crate::register::{Id, Register};
use crate::rights::erase::scrub;
use crate::store::Store;
use crate::terminal::CommandError;
use crate::tlog::checkpoint_file::CheckpointFile;
use crate::tlog::note::{SignatureKind, Verifier};
use crate::tlog::witness::Witness;
use crate::vault::Vault;

/// How long who watches may let us wait.
const PATIENCE: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(10),
};
/// How often the node watches the vault's log without being asked for anything.
const EVERY: Duration = Duration::from_secs(60);

/// And how soon again where it could not.
const AGAIN: Duration = Duration::from_secs(5);

/// What a log is opened with.
pub(super) fn log_parts(key: SigningKey, config: &LogConfig) -> LogParts {
    LogParts {
        second: config.second.clone().map(CheckpointFile::new),
        ..LogParts::new(key)
    }
}

/// Says on `/readyz` what keeps the log from being published or believed.
fn say(log: &Log, cosigners: &Cosigners, readiness: &Readiness) {
    match log.trouble() {
        Some(why) => readiness.set("audit", format!("no checkpoint can be published: {why}")),
        None => readiness.clear("audit"),
    }
    match cosigners.lack() {
        Some(why) => readiness.set("witnesses", why),
        None => readiness.clear("witnesses"),
    }
}

/// The witnesses that a configuration names.
fn watchers(config: &LogConfig) -> Result<Vec<Cosigner>, CommandError> {
    let watcher = |witness: &WatcherConfig| {
        let client = Client::with_timeouts(&witness.client, PATIENCE).map_err(|error| {
            CommandError::new(error, "check [[audit.witness]] in the configuration")
        })?;
        let verifier = Verifier::new(
            witness.name.as_str(),
            SignatureKind::Cosigner,
            witness.public,
        );
        Ok(Cosigner {
            verifier,
            ask: Some(Box::new(client)),
            counts: true,
        })
    };
    config.witnesses.iter().map(watcher).collect()
}

fn cosigners(
    watchers: Vec<Cosigner>,
    log: &Arc<Log>,
    config: &LogConfig,
) -> Result<(Arc<Cosigners>, WitnessThread), CommandError> {
    let quorum = CosignatureQuorum {
        required: config.required,
        within: config.within,
    };
    if quorum.required > 0 {
        log.prefer_cosigned();
    }
    let cosigners = Cosigners::new(watchers, quorum, Arc::new(SystemClock));
    let asking = cosigners
        .start(log.clone())
        .map_err(|error| CommandError::new(error, "check the limits on threads"))?;
    Ok((cosigners, asking))
}

/// The folder that remembers what was last cosigned of the other side's log. It is made with the
/// store: a store that has none lost it, and by an empty one any history of the other side's would
/// be the first that was ever seen.
///
/// # Errors
/// When it is lost, or cannot be made.
pub(super) fn memory(config: &LogConfig, store: &Path) -> Result<PathBuf, CommandError> {
    let folder = writable::cosigned(config, store);
    if Store::is_there(store) && !folder.exists() {
        let what = "this remembers what was last seen of the other side's log (`[audit] cosigned`), and is gone";
        return Err(CommandError::new(
            format_args!("{}: {what}", folder.display()),
            "bring it back; if it is lost, tell the commission, verify the other side's log, and make an empty folder there",
        ));
    }
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&folder);
    made.map_err(|error| CommandError::file(&folder, &error))?;
    Ok(folder)
}

/// Says where the witnesses that are asked are not those that the register states.
fn compare_witnesses(register: &Register, config: &LogConfig) {
    for asked in config
        .witnesses
        .iter()
        .filter(|asked| register.witnesses.values().all(|key| *key != asked.public))
    {
        tracing::warn!(
            witness = asked.name,
            "this witness is asked to cosign, and the register does not state its key"
        );
    }
    for (id, key) in &register.witnesses {
        if config.witnesses.iter().all(|asked| asked.public != *key) {
            tracing::warn!(witness = %id, "the register states this witness, and it is not asked to cosign: [[audit.witness]]");
        }
    }
}

/// Who cosigns an entity's log, and what it cosigns itself: with witnesses, and with the other
/// sides that the register states.
struct Cosigning {
    witness: Witness,
    cosigners: Arc<Cosigners>,
    asking: WitnessThread,
}

impl Cosigning {
    /// `ask` gives the way to another side, where this one dials.
    fn start(
        entity: &Entity,
        config: &LogConfig,
        memory: PathBuf,
        ask: impl Fn() -> Result<Option<Box<dyn WitnessLink>>, CommandError>,
    ) -> Result<Self, CommandError> {
        let register = entity.register();
        compare_witnesses(register, config);
        let mut all = watchers(config)?;
        let mut logs = vec![];
        for (side, key) in entity.role().peers(register) {
            let owner = side.owner(&register.deployment);
            let verifier = Verifier::new(cosigner_name(&owner), SignatureKind::Cosigner, key);
            all.push(Cosigner {
                verifier,
                ask: ask()?,
                counts: false,
            });
            logs.push(TrustedLogKey::Owner(owner, key));
        }
        let witness = entity.log().witness(logs, memory);
        let (cosigners, asking) = cosigners(all, entity.log(), config)?;
        entity.watch(cosigners.clone());
        Ok(Self {
            witness,
            cosigners,
            asking,
        })
    }
}

/// Nodes and witnesses watch the vault; the vault watches the nodes.
pub(super) fn vault(
    vault: &Vault,
    config: &VaultConfig,
    memory: PathBuf,
) -> Result<(Arc<CosignDoor>, WitnessThread), CommandError> {
    let Cosigning {
        witness,
        cosigners,
        asking,
    } = Cosigning::start(vault, &config.log, memory, || Ok(None))?;
    let witness = Arc::new(witness);
    Ok((
        Arc::new(CosignDoor {
            entity: vault.entity().clone(),
            witness,
            cosigners,
        }),
        asking,
    ))
}

/// The node's side of the same: it dials, for both.
pub(super) fn node(
    node: &Node,
    config: &NodeConfig,
    memory: PathBuf,
) -> Result<(Arc<Peer>, Arc<Cosigners>, WitnessThread), CommandError> {
    let failed = |error| CommandError::new(error, "check [vault] in the configuration");
    let watching = || Client::with_timeouts(&config.vault, PATIENCE).map_err(failed);
    let ask = || Ok(Some(Box::new(watching()?) as Box<dyn WitnessLink>));
    let Cosigning {
        witness,
        cosigners,
        asking,
    } = Cosigning::start(node, &config.log, memory, ask)?;
    let releases = Client::new(&config.vault).map_err(failed)?;
    let peer = Peer::new(
        releases,
        watching()?,
        witness,
        node.store().clone(),
        Arc::new(SystemClock),
    );
    Ok((Arc::new(peer), cosigners, asking))
}

/// Whoever finds the node ready may count on the vault's log being watched, if the vault is there.
pub(super) async fn first(peer: Arc<Peer>) {
    if let Ok(Err(why)) = tokio::task::spawn_blocking(move || peer.watch()).await {
        tracing::info!(%why, "the vault's log is not watched yet");
    }
}

/// Says on `/readyz` what keeps the disk from taking what is to be logged.
fn say_disk(is_short: bool, stalled: Option<Duration>, readiness: &Readiness) {
    match is_short {
        true => readiness.set("space", "the disk is nearly full: requests are refused"),
        false => readiness.clear("space"),
    }
    match stalled {
        Some(since) => {
            let words = format!(
                "nothing was written for {} s: requests are refused",
                since.as_secs()
            );
            readiness.set("disk", words);
        }
        None => readiness.clear("disk"),
    }
}

/// Says on `/readyz`, in the log and on `/metrics` that the clock stands behind what was already
/// seen, and until when that matters.
fn say_clock(steady: Result<jiff::Timestamp, ClockBehind>, readiness: &Readiness, gauge: &Gauge) {
    let was_behind = readiness.has("clock");
    match steady {
        Ok(_) => {
            gauge.set(0);
            readiness.clear("clock");
            if was_behind {
                tracing::info!("the clock is no longer behind what was already seen");
            }
        }
        Err(behind) => {
            gauge.set(behind.seconds());
            readiness.set("clock", behind.to_string());
            if !was_behind {
                tracing::warn!("{behind}");
            }
        }
    }
}

/// Looks each second whether the paths of store and second place still lead to what this process
/// has there. If not, what it acknowledges would be lost: it ends. Beside the task, because a disk
/// that hangs would hold it up.
pub(super) async fn keep_place(entity: Arc<Entity>, readiness: Arc<Readiness>) {
    loop {
        let (looking, readiness) = (entity.clone(), readiness.clone());
        let look = move || {
            let log = looking.log();
            let Err(error) = log
                .store()
                .look_at_place()
                .and_then(|()| log.look_at_second())
            else {
                return;
            };
            readiness.set("store", error.to_string());
            looking.committer().poison(&error);
        };
        let _ = tokio::task::spawn_blocking(look).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Says on `/readyz` and in the log which authorities' vault and node do not hold the same acts
/// upon orders. Where it is the only thing that a side is for, as at the node, it is not ready; the
/// vault goes on tokenizing.
fn say_step(apart: &[Id], is_node: bool, said: &mut bool, readiness: &Readiness) {
    let named: Vec<_> = apart.iter().map(Id::as_str).collect();
    let what = (!apart.is_empty()).then(|| {
        format!(
            "vault and node do not hold the same acts upon orders of {}: nothing is released",
            named.join(", ")
        )
    });
    if let (false, Some(what)) = (*said, &what) {
        tracing::warn!(what, "out of step");
    }
    *said = what.is_some();
    match (is_node, what) {
        (false, what) => readiness.notice("out-of-step", what),
        (true, Some(what)) => readiness.set("out-of-step", what),
        (true, None) => readiness.clear("out-of-step"),
    }
}

/// What is said of an entity each second: on `/readyz`, in the log, on `/metrics`.
pub(super) struct EntityWatch {
    entity: Arc<Entity>,
    cosigners: Arc<Cosigners>,
    /// Bytes of the disk that stay free.
    reserve: u64,
    readiness: Arc<Readiness>,
    clock: Arc<Gauge>,
    is_apart: bool,
}

impl EntityWatch {
    pub(super) fn new(
        entity: Arc<Entity>,
        cosigners: Arc<Cosigners>,
        reserve: u64,
        readiness: Arc<Readiness>,
        registry: &Registry,
    ) -> Self {
        let help = "Seconds by which the clock is behind the latest time that was ever acted on; 0: within what clocks do";
        let clock = registry.gauge("cloison_clock_behind_seconds", help, None);
        Self {
            entity,
            cosigners,
            reserve,
            readiness,
            clock,
            is_apart: false,
        }
    }

    /// Looks at disk, clock, log and the other sides; of how many authorities vault and node do not
    /// hold the same acts.
    pub(super) fn look(&mut self) -> usize {
        let (entity, readiness) = (&*self.entity, &*self.readiness);
        entity.watch_space(self.reserve);
        say_disk(
            entity.is_short_of_space(),
            entity.committer().stalled(),
            readiness,
        );
        say_clock(entity.steady_time(), readiness, &self.clock);
        say(entity.log(), &self.cosigners, readiness);
        let apart = entity.orders().out_of_step(entity.now());
        say_step(
            &apart,
            *entity.role() != Role::Vault,
            &mut self.is_apart,
            readiness,
        );
        apart.len()
    }
}

/// The node watches the vault's log and its own disk, and says how it stands with them.
pub(super) async fn keep(node: Arc<Node>, peer: Arc<Peer>, mut watch: EntityWatch) {
    let watching = async {
        let mut was_unwatched = false;
        loop {
            let watcher = peer.clone();
            let unwatched = tokio::task::spawn_blocking(move || watcher.watch())
                .await
                .ok()
                .and_then(Result::err);
            match &unwatched {
                Some(why) if !was_unwatched => {
                    tracing::warn!(%why, "the vault's log is not watched")
                }
                None if was_unwatched => tracing::info!("the vault's log is watched again"),
                _ => {}
            }
            was_unwatched = unwatched.is_some();
            tokio::time::sleep(if was_unwatched { AGAIN } else { EVERY }).await;
        }
    };
    let saying = async {
        for beat in 0_u64.. {
            if beat.is_multiple_of(3_600) {
                // What an erasure destroyed: the last scrub may not have come to its end.
                let store = node.store().clone();
                tokio::task::spawn_blocking(move || scrub(&store));
            }
            watch.look();
            match peer.distrust() {
                Some(why) => watch.readiness.set("vault-log", why),
                None => watch.readiness.clear("vault-log"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::join!(watching, saying);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_step_the_node_is_not_ready_and_the_vault_goes_on() {
        let court = [Id::parse("court").unwrap()];
        let (node, vault) = (Readiness::starting(), Readiness::starting());
        for (readiness, is_node) in [(&node, true), (&vault, false)] {
            readiness.clear("starting");
            let mut said = false;
            say_step(&court, is_node, &mut said, readiness);
            assert!(said);
            assert_eq!(readiness.is_ready(), !is_node);
            say_step(&[], is_node, &mut said, readiness);
            assert!(!said && readiness.is_ready());
        }
    }
}
