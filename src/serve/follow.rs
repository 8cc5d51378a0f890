//! Following logs while the servers run: a side that calls the vault follows the vault's log, and
//! brings its own to the vault, because the vault does not dial for that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;

use crate::client::{Client, ClientError, Timeouts};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{ClientConfig, LogConfig};
use crate::entity::{Entity, EntityInForce, InForce, Role, TakenHeld};
use crate::http::Readiness;
use crate::journal::followed::{FollowFault, FollowedPlace};
use crate::journal::followed_logs::FollowedLogs;
use crate::refusal::Refusal;
use crate::terminal::CommandError;

/// How long the vault may let a request of a follower wait, in seconds.
const WAIT: u64 = 20;
/// For following: the vault answers when there is something new.
const FOLLOWING: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(2 * WAIT),
};
/// For bringing.
const BRINGING: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(10),
};
/// How long to wait before the next try after an error.
const AGAIN: Duration = Duration::from_secs(1);
/// The same where what came was held already.
const SHORTLY: Duration = Duration::from_millis(20);
/// How often the vault is told what is new, at least, while there is nothing.
const IDLE: Duration = Duration::from_secs(20);
/// The notice of `/readyz` about the other side's log.
const NOTICE: &str = "followed";

/// What went wrong with a round of following.
#[derive(Debug, thiserror::Error)]
enum RoundFault {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Follow(#[from] FollowFault),
    #[error(transparent)]
    Own(#[from] Refusal),
    #[error("the register states no key of the vault's log")]
    NoKey,
}

impl RoundFault {
    /// Whether the next try will hardly end otherwise: the vault follows no log, or is of a version
    /// that does not know this; what is offered does not continue what is held.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Client(ClientError::Problem(problem)) => problem.status == 404,
            Self::Follow(fault) => !matches!(fault, FollowFault::Folder(_) | FollowFault::Full(_)),
            _ => false,
        }
    }

    /// Whether the vault is away, which is shown elsewhere.
    fn is_away(&self) -> bool {
        matches!(self, Self::Client(ClientError::Connection { .. }))
    }
}

/// The logs that the vault keeps for the other sides, if it does.
pub(super) fn followed_logs(
    config: &LogConfig,
    vault: &EntityInForce,
) -> Option<Arc<FollowedLogs>> {
    let folder = config.followed.clone()?;
    let key = vault.get().log().follower_key();
    Some(Arc::new(FollowedLogs::new(folder, key)))
}

/// Both directions at a node or an identity source. Ends when it is dropped.
pub(super) struct SideFollowing {
    has_ended: Arc<AtomicBool>,
    entity: EntityInForce,
    bringing: Option<JoinHandle<()>>,
}

impl Drop for SideFollowing {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        self.entity.get().log().end_offers();
        if let Some(thread) = self.bringing.take() {
            let _ = thread.join();
        }
    }
}

/// Starts following the vault's log, where the configuration names a folder, and bringing the side's
/// own. The clients are added to `callers`. Returns the place in which the vault's log is held.
///
/// # Errors
/// When the folder does not hold what it vouches for, or a client or thread cannot be made.
pub(super) fn side<T: AsRef<Arc<Entity>> + Send + Sync + 'static>(
    side: &InForce<T>,
    (log, vault): (&LogConfig, &ClientConfig),
    readiness: &Arc<Readiness>,
    callers: &mut Vec<Client>,
) -> Result<(SideFollowing, Option<Arc<FollowedPlace>>), CommandError> {
    let client = |timeouts| {
        Client::with_timeouts(vault, timeouts)
            .map_err(|error| CommandError::new(error, "check [vault] in the configuration"))
    };
    let threads = |error: std::io::Error| CommandError::new(error, "check the limits on threads");
    let mut following = SideFollowing {
        has_ended: Arc::default(),
        entity: side.entity(),
        bringing: None,
    };
    let mut held = None;
    if let Some(folder) = &log.followed {
        let place = open(folder, (*side.get()).as_ref())?;
        held = Some(place.clone());
        let client = client(FOLLOWING)?;
        callers.push(client.clone());
        let following = VaultFollower {
            client,
            place,
            key: vault_key(side),
            readiness: readiness.clone(),
            has_ended: following.has_ended.clone(),
        };
        // Not waited for at the end: it may wait for the vault. Each of its steps is durable.
        std::thread::Builder::new()
            .name("follow-vault".into())
            .spawn(move || following.run())
            .map_err(threads)?;
    }
    let client = client(BRINGING)?;
    callers.push(client.clone());
    let bringing = OwnLogBringer {
        client,
        entity: side.entity(),
        has_ended: following.has_ended.clone(),
    };
    let thread = std::thread::Builder::new()
        .name("bring-log".into())
        .spawn(move || bringing.run())
        .map_err(threads)?;
    following.bringing = Some(thread);
    Ok((following, held))
}

fn open(folder: &Path, entity: &Entity) -> Result<Arc<FollowedPlace>, CommandError> {
    let owner = Role::Vault.owner(&entity.register().deployment);
    let key = entity.log().follower_key();
    FollowedPlace::open(folder.to_owned(), owner, Some(key))
        .map(Arc::new)
        .map_err(|fault| {
            let hint = "see that the disk of `[audit] followed` is there; a folder that is damaged is moved away, and the log is followed from its beginning again";
            CommandError::new(fault, hint)
        })
}

/// The key of the vault's log in the register in force, while the side runs.
fn vault_key<T: AsRef<Arc<Entity>> + Send + Sync + 'static>(
    side: &InForce<T>,
) -> Box<dyn Fn() -> Option<VerifyingKey> + Send> {
    let side = side.downgrade();
    Box::new(move || {
        let side = side.upgrade()?.entity().get();
        side.register().vault_checkpoint_key
    })
}

/// How a round of following ended.
enum RoundEnd {
    /// Something new is held.
    Taken,
    /// What came was held already.
    Known,
    /// Nothing came.
    Nothing,
}

/// Follows the vault's log.
struct VaultFollower {
    client: Client,
    place: Arc<FollowedPlace>,
    key: Box<dyn Fn() -> Option<VerifyingKey> + Send>,
    readiness: Arc<Readiness>,
    has_ended: Arc<AtomicBool>,
}

impl VaultFollower {
    fn run(&self) {
        let mut said = None;
        while !self.has_ended.load(Ordering::Acquire) {
            let begun = Instant::now();
            self.place.prune(SystemClock.now());
            let (pause, fault) = match self.round() {
                Ok(RoundEnd::Taken) => (Duration::ZERO, None),
                // A server that is ending answers at once.
                Ok(RoundEnd::Nothing) => (AGAIN, None),
                // A release brought it meanwhile.
                Ok(RoundEnd::Known) => (SHORTLY, None),
                Err(fault) if fault.is_lasting() => (IDLE, Some(fault)),
                Err(fault) => (AGAIN, Some(fault)),
            };
            self.show(fault, &mut said);
            std::thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
    }

    /// Says what is held and takes what comes.
    fn round(&self) -> Result<RoundEnd, RoundFault> {
        let held = self.place.vouch(SystemClock.now());
        let Some(offer) = self.client.fetch_offer(&held, WAIT)? else {
            return Ok(RoundEnd::Nothing);
        };
        let key = (self.key)().ok_or(RoundFault::NoKey)?;
        if self.place.accept(&offer, &key, SystemClock.now())? {
            Ok(RoundEnd::Taken)
        } else {
            Ok(RoundEnd::Known)
        }
    }

    /// Shows on `/readyz` why the vault's log is not followed. A vault that is away is shown
    /// elsewhere.
    fn show(&self, fault: Option<RoundFault>, said: &mut Option<String>) {
        let fault = fault.filter(|fault| !fault.is_away());
        let what = fault.map(|fault| format!("the vault's log is not followed: {fault}"));
        if let Some(what) = what.as_ref().filter(|what| said.as_ref() != Some(what)) {
            tracing::warn!("{what}");
        }
        self.readiness.notice(NOTICE, what.clone());
        *said = what;
    }
}

/// Brings the side's own log to the vault.
struct OwnLogBringer {
    client: Client,
    entity: EntityInForce,
    has_ended: Arc<AtomicBool>,
}

impl OwnLogBringer {
    fn run(&self) {
        let (mut held, mut said) = (None, false);
        while !self.has_ended.load(Ordering::Acquire) {
            match self.round(&held) {
                Ok(now) => (held, said) = (now, false),
                Err(fault) => {
                    let (is_away, is_lasting) = (fault.is_away(), fault.is_lasting());
                    if !is_lasting && !is_away && !std::mem::replace(&mut said, true) {
                        tracing::warn!(%fault, "the vault does not keep this side's log");
                    }
                    held = None;
                    self.pause(if is_lasting { IDLE } else { AGAIN });
                }
            }
        }
    }

    /// Brings what is new behind `held`; asks first what is held where that is not known. Waits where
    /// nothing is new. Returns what is held then.
    fn round(&self, held: &Option<TakenHeld>) -> Result<Option<TakenHeld>, RoundFault> {
        let entity = self.entity.get();
        let offer = match held {
            None => None,
            Some(held) => {
                let Some(offer) = entity.offer(held)? else {
                    let log = entity.log();
                    log.wait_for_offer(held.checkpoint.as_ref(), held.counts, IDLE);
                    return Ok(Some(held.clone()));
                };
                Some(offer)
            }
        };
        let answer = self.client.bring_offer(offer.as_ref())?;
        let taken = entity.take_held("the vault", answer.text().as_bytes())?;
        Ok(Some(taken))
    }

    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.has_ended.load(Ordering::Acquire) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
