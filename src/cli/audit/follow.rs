//! `cloison audit follow`: keeps a log, sealed, in a folder on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use data_encoding::HEXLOWER;
use indicatif::HumanCount;
use serde_json::json;

use super::LogKeyArgs;
use crate::audit::origin::{TrustedLogKey, owner_and_shard};
use crate::client::{Client, ClientError, Timeouts};
use crate::clock::{Clock as _, SystemClock};
use crate::config::ClientConfig;
use crate::journal::followed::{FollowFault, FollowedPlace, FollowerKey};
use crate::journal::offer::{JournalHeld, JournalOffer};
use crate::keys::file::read_signing_key;
use crate::serve::{at_termination, look_through_daily};
use crate::terminal::{CommandError, log, print, print_beside, print_json, progress};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::witness::KnownLogs as _;
use ed25519_dalek::VerifyingKey;

/// How long the server may let a request wait, in seconds.
const WAIT: u64 = 20;
/// How long to wait before the next try while the server is away.
const AGAIN: Duration = Duration::from_secs(1);

/// Keep a log with its side records in a folder, sealed, as they come: a place for a restore
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit follow --to /srv/vault-log --client clients/auditor.toml --register register.toml\n  \
    cloison audit follow --to /srv/vault-log --client clients/auditor.toml --register register.toml \\\n    \
    --vouch follower.pem --name court-archive\n\n\
    The folder is a place: `cloison restore --from DIR` brings a store to the end of the log that it holds. Entries and side \
    records are sealed under the server's journal secret, so that nobody reads them here. With --vouch (an Ed25519 key; \
    `openssl genpkey -algorithm ed25519`) it tells the server by a signature what it holds, and counts among its places if \
    `[[audit.follower]]` there states name and key. It runs until it is stopped; what it has told is on the disk. Exit code \
    4: the server's log does not continue what is held; the folder is left as it is, and what was shown is kept in it.")]
pub struct AuditFollowArgs {
    /// The folder
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// A client file: the control listener that serves the log, and the certificate to show there
    #[arg(long, value_name = "FILE", env = "CLOISON_CLIENT")]
    client: PathBuf,
    #[command(flatten)]
    keys: LogKeyArgs,
    /// The key that vouches for what is held (PKCS#8 PEM)
    #[arg(long, value_name = "FILE", requires = "name")]
    vouch: Option<PathBuf>,
    /// The name under which it vouches
    #[arg(long, value_name = "NAME", requires = "vouch")]
    name: Option<String>,
    /// End once all that is there is held
    #[arg(long)]
    once: bool,
    /// Print JSON at the end
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the server refuses, or its log does not continue what is held, or the folder cannot be
/// written.
pub fn run(args: &AuditFollowArgs) -> Result<(), CommandError> {
    let key = match (&args.vouch, &args.name) {
        (Some(file), Some(name)) => Some(FollowerKey {
            name: name.clone(),
            key: read_signing_key(file)
                .map_err(|error| CommandError::new(error, "name the private key with --vouch"))?,
        }),
        _ => None,
    };
    let timeouts = Timeouts {
        step: Duration::from_secs(2 * WAIT),
        ..Timeouts::default()
    };
    let config = ClientConfig::load(&args.client)?;
    let client = Client::with_timeouts(&config, timeouts)
        .map_err(|error| CommandError::new(error, "check the client file"))?;
    let keys = args.keys.keys()?;
    let vouches = key.as_ref().map(|key| {
        let public = HEXLOWER.encode(key.key.verifying_key().as_bytes());
        format!(
            "\nto count among the server's places it needs in its configuration:\n\n\
             [[audit.follower]]\nname = \"{}\"\npublic = \"{public}\"\n",
            key.name
        )
    });
    let (place, first) = open(&args.to, &client, &keys, key)?;
    if !args.once {
        log::start();
        let entries = place.held().map_or(0, |held| held.size);
        print_beside(format_args!(
            "follows the log of {} into {}, which holds {} entries, until it is stopped{}",
            place.owner(),
            args.to.display(),
            HumanCount(entries),
            vouches.unwrap_or_default()
        ))?;
    }
    let place = Arc::new(place);
    if !args.once {
        look_through_daily(&place)
            .map_err(|error| CommandError::new(error, "check the limits on threads"))?;
    }
    let follower = LogFollower {
        client,
        place,
        keys,
        is_once: args.once,
    };
    let (ended, end) = channel();
    let signalled = ended.clone();
    at_termination(move || {
        let _ = signalled.send(FollowEnd::Stopped);
    })?;
    let held = follower.start(first, ended, &end)?;
    report(args, held.as_ref())
}

/// Says what is held at the end.
fn report(args: &AuditFollowArgs, held: Option<&Checkpoint>) -> Result<(), CommandError> {
    let (log, entries) = held.map_or(("", 0), |held| (&*held.origin, held.size));
    if args.json {
        return print_json(&json!({"folder": args.to, "log": log, "entries": entries}));
    }
    print(format_args!(
        "{} entries of {log} are held in {}",
        HumanCount(entries),
        args.to.display()
    ))
}

/// Why the command ends.
enum FollowEnd {
    Stopped,
    Done(Result<(), CommandError>),
}

/// The folder, and the first offer where that was needed to learn whose log it is.
fn open(
    folder: &Path,
    client: &Client,
    keys: &Vec<TrustedLogKey>,
    key: Option<FollowerKey>,
) -> Result<(FollowedPlace, Option<JournalOffer>), CommandError> {
    let (owner, first) = match FollowedPlace::owner_in(folder) {
        Some(owner) => {
            check_server(client, folder, &owner)?;
            (owner, None)
        }
        None => {
            let offer = client.fetch_offer(&JournalHeld::default(), 0);
            let offer = offer.map_err(|error| unreachable_log(&error))?;
            let offer = offer.ok_or_else(|| {
                CommandError::temporary("the log has no entry yet", "run the command again later")
            })?;
            (owner_of(&offer, keys)?, Some(offer))
        }
    };
    let place = FollowedPlace::open(folder.to_owned(), owner, key).map_err(fault)?;
    Ok((place, first))
}

/// Refuses a folder that holds the log of another server. One that is away, or does not tell its
/// log, is asked for the log itself.
fn check_server(client: &Client, folder: &Path, owner: &str) -> Result<(), CommandError> {
    let log = client.status().ok().and_then(|report| report.log);
    let theirs = log.as_ref().and_then(|log| owner_and_shard(&log.origin));
    let Some((theirs, _)) = theirs.filter(|(theirs, _)| *theirs != owner) else {
        return Ok(());
    };
    Err(CommandError::usage(
        format_args!(
            "{} holds the log of {owner}, and the server at {} has the log of {theirs}",
            folder.display(),
            client.base()
        ),
        "name a client file for the server whose log the folder holds (--client), or another folder (--to)",
    ))
}

/// Whose log an offer is of, which one of the keys must have signed.
fn owner_of(offer: &JournalOffer, keys: &Vec<TrustedLogKey>) -> Result<String, CommandError> {
    let (checkpoint, _) = trusted(offer, keys)?;
    owner_and_shard(&checkpoint.origin)
        .map(|(owner, _)| owner.to_owned())
        .ok_or_else(|| {
            fault(FollowFault::Foreign(format!(
                "it is of {}",
                checkpoint.origin
            )))
        })
}

/// The checkpoint of an offer, and the key that is trusted for its log.
fn trusted(
    offer: &JournalOffer,
    keys: &Vec<TrustedLogKey>,
) -> Result<(Checkpoint, VerifyingKey), CommandError> {
    let foreign = |why: String| fault(FollowFault::Foreign(why));
    let (claimed, _) =
        Checkpoint::read(offer.note().as_bytes()).map_err(|error| foreign(error.to_string()))?;
    let key = keys.key_of(&claimed.origin);
    let key = key.ok_or_else(|| foreign(format!("no key is named for {}", claimed.origin)))?;
    let (checkpoint, _) = Checkpoint::open(offer.note().as_bytes(), &key)
        .map_err(|error| foreign(error.to_string()))?;
    Ok((checkpoint, key))
}

/// Follows a log.
struct LogFollower {
    client: Client,
    place: Arc<FollowedPlace>,
    keys: Vec<TrustedLogKey>,
    is_once: bool,
}

impl LogFollower {
    /// Follows on a thread of its own until the end is told. Returns what is held then.
    fn start(
        self,
        first: Option<JournalOffer>,
        ended: Sender<FollowEnd>,
        end: &Receiver<FollowEnd>,
    ) -> Result<Option<Checkpoint>, CommandError> {
        let follower = Arc::new(self);
        let working = follower.clone();
        let work = move || {
            let done = working.follow(first);
            let _ = ended.send(FollowEnd::Done(done));
        };
        // Not waited for when the process is told to end: each of its steps is durable.
        std::thread::Builder::new()
            .name("follow".into())
            .spawn(work)
            .map_err(|error| CommandError::new(error, "check the limits on threads"))?;
        match end.recv() {
            Ok(FollowEnd::Done(done)) => done?,
            Ok(FollowEnd::Stopped) | Err(_) => {}
        }
        Ok(follower.place.held())
    }

    fn follow(&self, first: Option<JournalOffer>) -> Result<(), CommandError> {
        let bar = progress(None);
        let mut next = first;
        loop {
            let offer = match next.take() {
                Some(offer) => Some(offer),
                None => self.fetch()?,
            };
            match offer {
                Some(offer) => {
                    let (_, key) = trusted(&offer, &self.keys)?;
                    self.place
                        .accept(&offer, &key, SystemClock.now())
                        .map_err(fault)?;
                }
                None if self.is_once => {
                    return self.place.look_through(SystemClock.now()).map_err(fault);
                }
                None => {}
            }
            self.place.prune(SystemClock.now());
            self.check_reading()?;
            if let Some(held) = self.place.held() {
                bar.set_message(format!(
                    "{} entries of {}",
                    HumanCount(held.size),
                    held.origin
                ));
            }
        }
    }

    /// What the daily reading found. What cannot be read now is said, and read again.
    fn check_reading(&self) -> Result<(), CommandError> {
        match self.place.check_reading() {
            Err(found @ FollowFault::Unreadable { .. }) if !self.is_once => {
                tracing::warn!("{found}; tried again every minute");
                Ok(())
            }
            checked => checked.map_err(fault),
        }
    }

    /// Says what is held and gets what comes next. With `--once` a server that is away is an error,
    /// else it is waited for.
    fn fetch(&self) -> Result<Option<JournalOffer>, CommandError> {
        let wait = if self.is_once { 0 } else { WAIT };
        let mut is_away = false;
        loop {
            let begun = std::time::Instant::now();
            let held = self.place.vouch(SystemClock.now());
            let fetched = self.client.fetch_offer(&held, wait);
            if is_away && fetched.is_ok() {
                tracing::info!("the log is followed again");
                is_away = false;
            }
            match fetched {
                Ok(Some(offer)) => return Ok(Some(offer)),
                Ok(None) if self.is_once => return Ok(None),
                // A server that is ending answers at once.
                Ok(None) => {}
                Err(error) => {
                    if self.is_once || error.retry_after().is_none() {
                        return Err(unreachable_log(&error));
                    }
                    if !is_away {
                        tracing::warn!(
                            %error,
                            hint = self.if_it_ended(),
                            "the log cannot be fetched now; tried again every second"
                        );
                    }
                    is_away = true;
                }
            }
            std::thread::sleep(AGAIN.saturating_sub(begun.elapsed()));
        }
    }
}

impl LogFollower {
    /// What to do if the server ended because it was shown what is held here.
    fn if_it_ended(&self) -> Option<String> {
        let held = self.place.held()?;
        Some(format!(
            "the server was shown the {} entries of {} that are held here; if it ended with code 71, its store has fewer: there, \
             `cloison restore --in-place --config FILE --from {}` brings them",
            held.size,
            held.origin,
            self.place.folder().display()
        ))
    }
}

fn unreachable_log(error: &ClientError) -> CommandError {
    CommandError::new(
        error,
        "use the client file of an auditor, of an operator (vault) or of a custodian (node), and check that the server runs",
    )
}

/// What is wrong, and what to do.
fn fault(found: FollowFault) -> CommandError {
    match &found {
        FollowFault::Forked { .. } => CommandError::new(
            &found,
            "tell the commission, and keep the folder: it shows what was there before",
        )
        .with_exit(4),
        FollowFault::Foreign(_) => CommandError::new(
            &found,
            "name the key of this log with --key, or the register that states it",
        ),
        FollowFault::Unfit(_) => CommandError::new(&found, "run the command again"),
        FollowFault::Damaged(_) => CommandError::new(
            &found,
            "run the command again then, or name another folder with --to",
        ),
        FollowFault::Folder(_)
        | FollowFault::Full(_)
        | FollowFault::Away(_)
        | FollowFault::Unreadable { .. }
        | FollowFault::Surfeit { .. } => CommandError::new(&found, "check the folder and its disk"),
    }
}
