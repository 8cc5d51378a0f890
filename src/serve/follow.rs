//! Following logs while the servers run: the node follows the vault's log; vault and witnesses keep
//! what is brought ([`bring`](super::bring)).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bring::LogBringing;
use crate::client::{Client, ClientError, Timeouts};
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::config::{ClientConfig, LogConfig};
use crate::entity::{EntityInForce, InForce, Role, WeakInForce};
use crate::http::Readiness;
use crate::journal::followed::{FollowFault, FollowedPlace};
use crate::journal::followed_logs::FollowedLogs;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::terminal::CommandError;
use crate::tlog::checkpoint_file::CheckpointFileError;

/// How long the vault may let a request of a follower wait, in seconds.
const WAIT: u64 = 20;
/// For following: the vault answers when there is something new.
const FOLLOWING: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(2 * WAIT),
};
/// How long to wait before the next try after an error.
const AGAIN: Duration = Duration::from_secs(1);
/// The same where what came was held already.
const SHORTLY: Duration = Duration::from_millis(20);
/// How often the vault is told what is new, at least, while there is nothing.
pub(super) const IDLE: Duration = Duration::from_secs(20);
/// The longest pause that the other side may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How often it is asked whether a followed folder should be read.
const LOOK: Duration = Duration::from_secs(10);
/// The notice of `/readyz` about the other side's log.
const NOTICE: &str = "followed";

/// What went wrong with a round of following.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundFault {
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
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Client(ClientError::Problem(problem)) => {
                self.is_unknown() || problem.known() == Some(Code::LogLimit)
            }
            Self::Follow(fault) => !fault.may_pass(),
            _ => false,
        }
    }

    /// How long to wait before the next try.
    pub(super) fn pause(&self) -> Duration {
        let asked = match self {
            Self::Client(error) => error.retry_after(),
            _ => None,
        };
        if self.is_lasting() {
            asked.unwrap_or(IDLE).clamp(IDLE, LONGEST_PAUSE)
        } else {
            AGAIN
        }
    }

    /// Whether the other side follows no log, or not this one.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Client(ClientError::Problem(problem)) if problem.status == 404)
    }

    /// Whether the other side is away, which is shown elsewhere.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Client(ClientError::Connection { .. }))
    }
}

/// The logs that the vault keeps for the nodes, if it does.
pub(super) fn followed_logs(
    config: &LogConfig,
    vault: &EntityInForce,
) -> Option<Arc<FollowedLogs>> {
    let folder = config.followed.clone()?;
    let key = vault.get().log().follower_key();
    Some(Arc::new(FollowedLogs::new(
        folder,
        key,
        config.followed_daily,
        look_through_daily,
    )))
}

/// Shows on `/readyz` which of the logs that are kept for others are not, and why, until the task
/// is aborted.
pub(super) async fn show_troubles(kept: Arc<FollowedLogs>, readiness: Arc<Readiness>) {
    loop {
        let troubles = kept.troubles();
        readiness.notice(NOTICE, (!troubles.is_empty()).then(|| troubles.join("; ")));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Reads what a follower holds once a day, on a thread of its own, until the place is dropped.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn look_through_daily(place: &Arc<FollowedPlace>) -> io::Result<()> {
    let place = Arc::downgrade(place);
    let run = move || {
        while let Some(place) = place.upgrade() {
            // The place keeps what was found.
            let _ = place.look_through(SystemClock.now());
            drop(place);
            std::thread::sleep(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("look-through".into());
    thread.spawn(run).map(drop)
}

/// Following the vault's log at a node. Ends when it is dropped.
pub(super) struct VaultFollowing(Arc<AtomicBool>);

impl Drop for VaultFollowing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Both directions at a node: following the vault's log, where the configuration names a folder,
/// and bringing the node's own to vault and witnesses. The clients are added to `callers`.
///
/// # Errors
/// When a client or thread cannot be made.
pub(super) fn node(
    node: &InForce<Node>,
    (log, vault): (&LogConfig, &ClientConfig),
    readiness: &Arc<Readiness>,
    callers: &mut Vec<Client>,
) -> Result<(VaultFollowing, LogBringing), CommandError> {
    let following = VaultFollowing(Arc::default());
    if let Some(folder) = &log.followed {
        let client = Client::with_timeouts(vault, FOLLOWING);
        let client = client
            .map_err(|error| CommandError::new(error, "check [vault] in the configuration"))?;
        callers.push(client.clone());
        let follower = VaultFollower {
            client,
            folder: folder.clone(),
            node: node.downgrade(),
            readiness: readiness.clone(),
            has_ended: following.0.clone(),
        };
        follower.start()?;
    }
    let mut bringing = LogBringing::to_witnesses(&node.entity(), log, readiness, callers)?;
    bringing.bring_to_vault(vault, callers)?;
    Ok((following, bringing))
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
    folder: PathBuf,
    node: WeakInForce<Node>,
    readiness: Arc<Readiness>,
    has_ended: Arc<AtomicBool>,
}

impl VaultFollower {
    /// Opens the folder and follows on a thread of its own. A folder that cannot be opened is tried
    /// again there: the node's own service needs it only as a place among others.
    fn start(self) -> Result<(), CommandError> {
        let (first, mut said) = (self.open(), None);
        let first = match first {
            Ok(place) => place,
            Err(fault) => {
                self.show(Some(fault), &mut said);
                None
            }
        };
        // Not waited for at the end: it may wait for the vault. Each of its steps is durable.
        let thread = std::thread::Builder::new().name("follow-vault".into());
        let run = move || self.run(first, said);
        let started = thread.spawn(run).map(drop);
        started.map_err(|error| CommandError::new(error, "check the limits on threads"))
    }

    /// Opens the folder, and names it to the node. `None` while the node ends.
    fn open(&self) -> Result<Option<Arc<FollowedPlace>>, RoundFault> {
        let Some(node) = self.node.upgrade() else {
            return Ok(None);
        };
        let node = node.get();
        let owner = Role::Vault.owner(&node.register().deployment);
        let key = node.log().follower_key();
        let place = FollowedPlace::open(self.folder.clone(), owner, Some(key))?;
        let place = Arc::new(place);
        look_through_daily(&place)
            .map_err(|error| CheckpointFileError::Io(self.folder.clone(), error))
            .map_err(FollowFault::from)?;
        node.follow(place.clone());
        Ok(Some(place))
    }

    fn run(&self, mut place: Option<Arc<FollowedPlace>>, mut said: Option<String>) {
        while !self.has_ended.load(Ordering::Acquire) {
            let begun = Instant::now();
            // One that was moved away, damaged as a rule, is begun anew.
            place = place.filter(|place| place.is_in_place());
            let round = match &place {
                Some(place) => self.round(place),
                None => self.open().map(|opened| {
                    place = opened;
                    RoundEnd::Known
                }),
            };
            let (pause, fault) = match round {
                Ok(RoundEnd::Taken) => (Duration::ZERO, None),
                // A server that is ending answers at once.
                Ok(RoundEnd::Nothing) => (AGAIN, None),
                // A release brought it meanwhile.
                Ok(RoundEnd::Known) => (SHORTLY, None),
                Err(fault) => (fault.pause(), Some(fault)),
            };
            self.show(fault, &mut said);
            std::thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
    }

    /// Says what is held and takes what comes.
    fn round(&self, place: &FollowedPlace) -> Result<RoundEnd, RoundFault> {
        place.prune(SystemClock.now());
        place.check_reading()?;
        let held = place.vouch(SystemClock.now());
        let Some(offer) = self.client.fetch_offer(&held, WAIT)? else {
            return Ok(RoundEnd::Nothing);
        };
        let node = self.node.upgrade();
        let key = node.and_then(|node| node.get().register().vault_checkpoint_key);
        let key = key.ok_or(RoundFault::NoKey)?;
        if place.accept(&offer, &key, SystemClock.now())? {
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
