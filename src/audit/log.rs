//! The log that this process writes. The writer extends each shard's tree in the same commit as the
//! entries; a separate thread signs checkpoints over it.
//!
//! A shard holds the entries of one year; the first entry of the next shard holds its last
//! checkpoint. A checkpoint is signed only over durable entries, and is published only after the
//! second place holds it, and as many places off this machine as must ([`PlaceQuorum`]).

mod append;
mod error;
mod grants;
mod held;
mod offers;
mod parts;
mod places;
mod publish;
mod published;
mod second;
mod startup;
mod state;
mod view;
mod year;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;

use super::resume::OwnLog;
use super::seen::SeenCheckpoint;
use crate::audit::origin::{self, TrustedLogKey};
use crate::journal::followed::FollowerKey;
use crate::journal::place::JournalPlace;
use crate::jws::{self, JwsError};
use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::witness::Witness;
pub use append::Appender;
use append::year_of;
pub use error::LogError;
use grants::WithheldGrants;
pub use grants::each_unheld;
pub use held::HeldByPlaces;
pub use offers::OfferListener;
pub use parts::{KnownLoss, LogParts};
pub use places::{
    FollowerIdentity, KnownFollower, PlaceQuorum, PlaceStanding, SECOND_PLACE, VouchTime,
};
pub use publish::EVERY;
pub use published::PublishedCheckpoint;
use startup::last_tree;
use state::LogState;
pub use view::{ShardView, Shards};

/// A log as its readers see it; only the [`Appender`] adds entries.
pub struct Log {
    store: Arc<Store>,
    owner: String,
    key: SigningKey,
    second: Option<JournalPlace>,
    quorum: PlaceQuorum,
    /// Held while the second place is changed and its new content noted.
    publishing: Mutex<()>,
    state: Mutex<LogState>,
    /// Wakes the thread that signs.
    work: Condvar,
    /// Wakes threads that wait for a checkpoint.
    news: Condvar,
    /// Told of each offer.
    listener: OnceLock<OfferListener>,
    withheld: WithheldGrants,
}

impl Log {
    /// Opens the log of `owner` (such as `demo/vault`) in `store` and starts the thread that signs.
    /// A store that an older version wrote gets its tree and its index here.
    ///
    /// # Errors
    /// [`LogError`]
    pub fn open(
        store: Arc<Store>,
        owner: &str,
        parts: LogParts,
        now: Timestamp,
    ) -> Result<(Arc<Self>, Appender), LogError> {
        store.index_entries(super::indexed::keys_of)?;
        let trees = store.trees()?;
        let (row, tree) = last_tree(&store, trees.last(), now)?;
        let mut state = LogState::stored(&store, &trees)?;
        if let Some(second) = &parts.second {
            second.take_over()?;
        }
        let own = OwnLog {
            store: &store,
            owner,
            key: &parts.key.verifying_key(),
        };
        let lost = parts.compare_seen(own, (row.shard, year_of(now)), &mut state)?;
        let present = parts.covered_by_second(owner, &row, &state, lost.is_some());
        parts.complete_second(&store, owner, present)?;
        if lost.is_some() {
            state.publish_kept(owner, row, &parts.key);
        }
        state.places = parts.places.places(parts.second.is_some());
        let log = Arc::new(Self::with(store, owner, parts, state));
        log.withhold_unheld()?;
        log.begin_offers(&trees, row.shard);
        let appender = Appender::begin(&log, (row, tree), lost, now)?;
        Ok((log, appender))
    }

    fn with(store: Arc<Store>, owner: &str, parts: LogParts, state: LogState) -> Self {
        Self {
            store,
            owner: owner.to_owned(),
            key: parts.key,
            second: parts.second,
            quorum: parts.places,
            publishing: Mutex::default(),
            state: Mutex::new(state),
            work: Condvar::new(),
            news: Condvar::new(),
            listener: OnceLock::new(),
            withheld: WithheldGrants::default(),
        }
    }

    /// Offers what is published, and of shards that ended (all but `present`) all that they have: a
    /// shard may have ended before enough places held it.
    fn begin_offers(&self, trees: &[TreeRow], present: Shard) {
        let mut state = self.state();
        for tree in trees {
            let published = state.published.get(&tree.shard).cloned();
            let is_whole = |published: &Arc<PublishedCheckpoint>| {
                tree.shard == present || published.checkpoint.size == tree.size
            };
            let offered = match published.filter(is_whole) {
                None if tree.shard == present => continue,
                None => Arc::new(self.sign(*tree)),
                Some(published) => published,
            };
            state.offered.insert(tree.shard, offered);
        }
    }

    /// The public half of the key that signs.
    pub fn key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// A witness of others' logs that signs with this log's key, under its owner's name. One key
    /// may do both, because the text that a cosigner signs begins with another line than the text
    /// that a log signs.
    pub fn witness(&self, logs: Vec<TrustedLogKey>, folder: PathBuf) -> Witness {
        let key = SigningKey::from_bytes(&self.key.to_bytes());
        Witness::new(origin::cosigner_name(&self.owner), key, logs, folder)
    }

    /// The key by which its owner vouches for others' logs that it follows.
    pub fn follower_key(&self) -> FollowerKey {
        FollowerKey {
            name: origin::cosigner_name(&self.owner),
            key: SigningKey::from_bytes(&self.key.to_bytes()),
        }
    }

    /// Whose log it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The store that holds it.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Signs a statement about this log: a JWS of type `typ`, by the key of its checkpoints, under
    /// the name of its entity (`vault`, or the authority's id). A JWS signs bytes without a line
    /// end; checkpoints and cosignatures sign texts with line ends, so that none can pass for
    /// another.
    ///
    /// # Errors
    /// [`JwsError`] when it would be too long.
    pub fn sign_statement(&self, payload: &[u8], typ: &str) -> Result<String, JwsError> {
        self.sign_within(payload, (typ, jws::MAX_TEXT))
    }

    /// The same for a type of text that may be longer: so many bytes.
    ///
    /// # Errors
    /// [`JwsError`] when it would be longer.
    pub fn sign_within(&self, payload: &[u8], typ: (&str, usize)) -> Result<String, JwsError> {
        let kid = self.owner.rsplit('/').next().unwrap_or_default();
        jws::add_signature_within(&jws::draft(payload), typ, kid, &self.key)
    }

    /// Compares the log with a checkpoint that somebody shows.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] where this log's key signed it and the store does not contain it:
    /// then the process must end. Other [`StoreError`]s of reading the log.
    pub fn confront(&self, seen: &SeenCheckpoint) -> Result<(), StoreError> {
        let key = self.key.verifying_key();
        let lost = self.own(&key).lost(seen)?;
        lost.map_or(Ok(()), |lost| Err(lost.fault()))
    }

    /// Whether an entry of this log says that what a checkpoint covers, which this log's key
    /// signed, was lost at a restore. Those who hold it follow the log on, from the shard that this
    /// entry begins.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn owns_up_to(&self, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        self.own(&self.key.verifying_key()).owns_up_to(checkpoint)
    }

    fn own<'l>(&'l self, key: &'l VerifyingKey) -> OwnLog<'l> {
        OwnLog {
            store: &self.store,
            owner: &self.owner,
            key,
        }
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
