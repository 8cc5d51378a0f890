//! `cloison backup`: backups of a running server's store, and those in a repository.

mod drill;
mod identity;
mod place;
mod print;

use std::time::Duration;

use indicatif::HumanBytes;
use jiff::SignedDuration;

use crate::backup::keeper::{CreateBackup, PruneBackups, VerifyBackup};
use crate::backup::prune::prune;
use crate::backup::verify::{BackupVerification, BackupVerifier};
use crate::backup::view::{BackupJobView, list};
use crate::backup::{BackupProgress, BackupRetention, KEPT_APART, RepositoryError};
use crate::cli::client_file::ClientFile;
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::terminal::{CommandError, is_quiet, print as say, print_json, progress, voice};
pub(super) use identity::read_identity;
use identity::{BackupKeygenArgs, IdentityArgs};
pub(super) use place::BackupSide;
use place::{BackupPlaceArgs, OpenedPlace, OpenedRepository};

/// Take, list, verify and prune backups
#[derive(clap::Subcommand)]
pub enum BackupCommand {
    /// Have a running vault or node take a backup of its store
    Create(BackupCreateArgs),
    /// List the backups of a server, or those in a repository
    List(BackupListArgs),
    /// Find out whether a backup is good: hashes, signature, format, the whole log
    Verify(BackupVerifyArgs),
    /// Remove the backups that no rule keeps; the last good one always stays
    Prune(BackupPruneArgs),
    /// Make an identity that opens sealed backups: the file stays with its holder, its recipient
    /// goes into `[backup] recipients`
    Keygen(BackupKeygenArgs),
}

/// Have a running vault or node take a backup of its store
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison backup create --client clients/operator.toml\n  \
    cloison backup create --client clients/custodian-1.toml    # a node's\n\n\
    The server's configuration names the repository (`[backup] path`); requests go on meanwhile. A file that the \
    repository has already is not copied again. What a backup does not hold, and people keep apart from it, is printed. \
    With `[backup] every` the server takes backups by itself.")]
pub struct BackupCreateArgs {
    #[command(flatten)]
    client: ClientFile,
    /// Begin another repository, in the empty folder that the configuration names now
    #[arg(long)]
    new_repository: bool,
}

/// List the backups of a server, or those in a repository
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison backup list --client clients/operator.toml\n  \
    cloison backup list --repository /backup/vault --register register.toml\n\n\
    Looks at names, lengths and signatures; `cloison backup verify` reads the bytes. Of a sealed backup it says more with \
    --identity.")]
pub struct BackupListArgs {
    #[command(flatten)]
    place: BackupPlaceArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// Find out whether a backup is good: hashes, signature, format, the whole log
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison backup verify --client clients/operator.toml\n  \
    cloison backup verify --repository /backup/vault --register register.toml\n  \
    cloison backup verify --config vault.toml --drill\n  \
    cloison backup verify --repository /mnt/abroad/vault --register register.toml \\\n    \
    --identity backup.age\n\n\
    No secret is needed. Of a sealed backup without --identity, signature and sealed bytes are compared and nothing is opened; \
    with it, the backup is opened into a folder of TMPDIR, which needs the room. With --config, which names the storage secrets, every chunk is opened, too. The register, or \
    --key, says which key must have signed. Exit code 0: good; 1: not good, or it could not be read.")]
pub struct BackupVerifyArgs {
    #[command(flatten)]
    place: BackupPlaceArgs,
    /// The backup; the last one unless named
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// With --config: restore it into a throw-away folder, open the store there as a server would,
    /// and say how long each takes. Nothing leaves the process, and nobody is served
    #[arg(long, requires = "config")]
    drill: bool,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// Remove the backups that no rule keeps; the last good one always stays
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison backup prune --client clients/operator.toml --dry-run\n  \
    cloison backup prune --repository /backup/vault --register register.toml \\\n    \
    --keep-last 24 --keep-days 30\n\n\
    Kept are the last --keep-last backups, and beyond them the last one of each of the last --keep-days days (UTC). \
    A server prunes by its own configuration, and keeps none that is older than the shortest retention in its register.")]
pub struct BackupPruneArgs {
    #[command(flatten)]
    place: BackupPlaceArgs,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Keep the last so many (offline)
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,
    /// Keep the last one of each of the last so many days (offline)
    #[arg(long, value_name = "N")]
    keep_days: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// When the server refuses, or the repository or a backup is not what it should be.
pub fn run(command: BackupCommand) -> Result<(), CommandError> {
    match command {
        BackupCommand::Create(args) => create(&args),
        BackupCommand::List(args) => show(&args),
        BackupCommand::Verify(args) => verify(&args),
        BackupCommand::Prune(args) => remove(&args),
        BackupCommand::Keygen(args) => identity::keygen(&args),
    }
}

fn create(args: &BackupCreateArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    let how = CreateBackup {
        new_repository: args.new_repository,
    };
    let done = follow(&client, client.create_backup(&how)?)?;
    if voice().json {
        return print_json(&done);
    }
    say(print::created(&done))?;
    if !is_quiet() {
        eprintln!("{KEPT_APART}");
    }
    Ok(())
}

fn show(args: &BackupListArgs) -> Result<(), CommandError> {
    let found = match args.place.open()? {
        OpenedPlace::Server(client) => {
            args.identity.stays_here()?;
            client.backups()?
        }
        OpenedPlace::Repository(opened) => {
            let by = args.identity.read()?;
            let (key, branch) = (&opened.key, opened.log.branch());
            list(&opened.repository, key, by.as_ref(), &branch).map_err(fault)?
        }
    };
    if voice().json {
        print_json(&found)?;
    } else {
        say(print::listed(&found))?;
    }
    if found.fault.is_some() {
        return Err(CommandError::new(
            "the repository cannot be read",
            "the line WRONG says why: mount its disk, or correct `[backup] path`",
        ));
    }
    Ok(())
}

fn verify(args: &BackupVerifyArgs) -> Result<(), CommandError> {
    match args.place.open()? {
        OpenedPlace::Server(client) => {
            args.identity.stays_here()?;
            let which = VerifyBackup {
                backup: args.id.clone(),
            };
            let done = follow(&client, client.verify_backup(&which)?)?;
            if voice().json {
                return print_json(&done);
            }
            say(print::verified_there(&done))
        }
        OpenedPlace::Repository(opened) => verify_here(*opened, args),
    }
}

fn verify_here(mut opened: OpenedRepository, args: &BackupVerifyArgs) -> Result<(), CommandError> {
    // A repository on a read-only disk can be verified, too.
    let lock = match opened.repository.lock() {
        Ok(lock) => Some(lock),
        Err(error @ RepositoryError::Busy(_)) => return Err(fault(error)),
        Err(_) => None,
    };
    let identities = args.identity.read()?;
    let verifier = BackupVerifier {
        repository: &opened.repository,
        lock: lock.as_ref(),
        key: opened.key,
        cipher: opened.cipher.as_ref(),
        identities: identities.as_ref(),
    };
    let began = std::time::Instant::now();
    let branch = opened.log.branch();
    let found = (opened.repository).backup(args.id.as_deref(), &opened.key, &branch);
    let backup = found.map_err(fault)?;
    let open = |by| (opened.repository).open_backup(backup.clone(), by, &opened.key);
    if args.drill && identities.is_none() {
        // A sealed one that nothing opens is told before anything is read.
        open(None).map_err(fault)?;
    }
    let verified = with_bar("verified", |progress| {
        verifier.verify(backup.clone(), progress)
    });
    let took = began.elapsed();
    let good = match verified.map_err(fault)? {
        BackupVerification::Good(good) => good,
        BackupVerification::Unopened(sealed) if voice().json => {
            return print_json(&print::unopened_json(&sealed));
        }
        BackupVerification::Unopened(sealed) => return say(print::unopened(&sealed, took)),
    };
    if let Some(lock) = &lock {
        let noted = opened
            .repository
            .note_verified(lock, &good.manifest.id, SystemClock.now());
        noted.map_err(fault)?;
    }
    let drill = match opened.config.take().filter(|_| args.drill) {
        Some(config) => {
            let backup = open(identities.as_ref()).map_err(fault)?;
            Some(drill::run(
                &opened.repository,
                lock.as_ref(),
                &backup,
                config,
            )?)
        }
        None => None,
    };
    if voice().json {
        return print_json(&print::verified_json(&good, drill.as_ref()));
    }
    say(print::verified_here(&good, took))?;
    drill.map_or(Ok(()), |drill| say(print::drilled(&drill)))
}

fn remove(args: &BackupPruneArgs) -> Result<(), CommandError> {
    let pruned = match args.place.open()? {
        OpenedPlace::Server(client) => {
            if args.keep_last.is_some() || args.keep_days.is_some() {
                return Err(CommandError::usage(
                    "a server prunes by its own configuration",
                    "leave out --keep-last and --keep-days, or name a repository with --repository",
                ));
            }
            client.prune_backups(&PruneBackups {
                dry_run: args.dry_run,
            })?
        }
        OpenedPlace::Repository(opened) => {
            let retention = retention(args, &opened)?;
            let lock = opened.repository.lock().map_err(fault)?;
            let now = SystemClock.now();
            prune(
                opened.repository.with(&lock),
                &opened.key,
                &retention,
                &opened.log.branch(),
                now,
                args.dry_run,
            )
            .map_err(fault)?
        }
    };
    if voice().json {
        print_json(&pruned)
    } else {
        say(print::pruned(&pruned))
    }
}

/// What is kept: as the command line says, or the configuration.
fn retention(
    args: &BackupPruneArgs,
    opened: &OpenedRepository,
) -> Result<BackupRetention, CommandError> {
    match (args.keep_last, args.keep_days, opened.retention) {
        (None, None, Some(retention)) => Ok(retention),
        (None, None, None) => Err(CommandError::usage(
            "nothing says which backups are kept",
            "name them with --keep-last N and --keep-days N, or the configuration with --config FILE",
        )),
        (last, days, of_config) => Ok(BackupRetention {
            keep_last: last.unwrap_or(0),
            keep_days: days.unwrap_or(0),
            longest: of_config.and_then(|rules| rules.longest),
            erased: None,
        }),
    }
}

/// Shows how far a server's work is until it has ended.
fn follow(client: &Client, begun: BackupJobView) -> Result<BackupJobView, CommandError> {
    const LOOK: Duration = Duration::from_millis(200);
    let bar = progress(Some(0));
    loop {
        let now = client.backups()?;
        if let Some(ended) = now.ended.filter(|ended| ended.job == begun.job) {
            bar.finish_and_clear();
            return match ended.why {
                None => Ok(ended),
                Some(why) => {
                    let code = ended.code.unwrap_or_default();
                    Err(CommandError::refused(&code, why))
                }
            };
        }
        match now.running.filter(|running| running.job == begun.job) {
            Some(running) => {
                bar.set_length(running.all);
                bar.set_position(running.done);
                bar.set_message(print::bytes_so_far(&running));
            }
            None => {
                let what = "the server no longer knows of this work: it was restarted, or other work ended since";
                return Err(CommandError::new(
                    what,
                    "`cloison backup list` shows what there is",
                ));
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Runs work with a bar of its bytes.
pub(super) fn with_bar<T>(what: &str, work: impl FnOnce(&BackupProgress) -> T + Send) -> T
where
    T: Send,
{
    use std::sync::atomic::Ordering;
    const LOOK: Duration = Duration::from_millis(100);
    let (bar, shared) = (progress(Some(0)), BackupProgress::default());
    let done = std::thread::scope(|scope| {
        let thread = scope.spawn(|| work(&shared));
        while !thread.is_finished() {
            let done = shared.done.load(Ordering::Relaxed);
            bar.set_length(shared.all.load(Ordering::Relaxed));
            bar.set_position(done);
            bar.set_message(format!("{} {what}", HumanBytes(done)));
            std::thread::sleep(LOOK);
        }
        thread.join()
    });
    bar.finish_and_clear();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What is wrong with a repository or a backup, and what to do.
pub(super) fn fault(error: RepositoryError) -> CommandError {
    let hint = match &error {
        RepositoryError::Absent(_) | RepositoryError::Empty(_) | RepositoryError::Lost(_) => {
            "mount its disk, or name the folder that `[backup] path` names"
        }
        RepositoryError::NotAFolder(_) | RepositoryError::Foreign(_) => {
            "name the folder that `[backup] path` names"
        }
        RepositoryError::Owner { .. } => "name the repository of the other side",
        RepositoryError::Busy(_) => "wait until it has ended, and try again",
        RepositoryError::None(_) => "`cloison backup create` takes one",
        RepositoryError::Branches(_) => {
            "name the configuration with --config FILE, whose store or second place shows which branch counts; or the backup with --id ID"
        }
        RepositoryError::OtherBranches(_) => {
            "`cloison backup list` shows them. Where people decided that one of them counts, name it with --id ID"
        }
        RepositoryError::Unknown(_) => "`cloison backup list` lists those that are there",
        RepositoryError::Io { path, error } => return CommandError::file(path, error),
        RepositoryError::Format { .. } => "use the version of cloison that took it, or a later one",
        RepositoryError::Chunks { .. } => {
            "name the configuration whose storage secrets the backup was taken under, every version of them"
        }
        RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. } => {
            "name the identity file of one of these recipients with --identity"
        }
        // Of a file with other bytes the next backup would count on.
        RepositoryError::Damaged { .. } => {
            return CommandError::refused(Code::BackupDamaged.as_str(), error);
        }
        RepositoryError::Mixed { .. } | RepositoryError::Moved(_) => {
            "move that file away, and find out who put it there"
        }
        RepositoryError::Renamed { .. } => {
            "move that file away: the backup lies under its own name"
        }
        _ => {
            "verify an older one with --id ID, take another, and keep this repository until you know why"
        }
    };
    CommandError::new(error, hint)
}

/// Whole seconds as people write them.
fn spoken(seconds: i64) -> String {
    format!("{:#}", SignedDuration::from_secs(seconds))
}
