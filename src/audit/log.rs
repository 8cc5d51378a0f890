//! The log that this process writes. The writer extends each shard's tree in the same commit as the
//! entries; a separate thread signs checkpoints over it.
//!
//! A shard holds the entries of one year; the first entry of the next shard holds its last
//! checkpoint. A checkpoint is signed only over durable entries, and is published only after the
//! second place holds it, and as many places off this machine as must ([`PlaceQuorum`]).

mod append;
mod grants;
mod offers;
mod places;
mod publish;
mod startup;
mod year;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AuditReceipt;
use super::resume::{self, LostCheckpoint, OwnLog};
use super::seen::{self, Onlooker, SeenCheckpoint};
use super::shard_reader::ShardReader;
use crate::audit::origin::{self, TrustedLogKey, owner_and_shard};
use crate::journal::followed::FollowerKey;
use crate::journal::place::{JournalPlace, PlaceSource};
use crate::journal::prune::{LogPlace, PrunedSegments};
use crate::jws::{self, JwsError};
use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::system::lock::unpoisoned;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::CheckpointFileError;
use crate::tlog::tree::MerkleTree;
use crate::tlog::witness::Witness;
pub use append::Appender;
use append::{end_of, year_of};
pub use grants::HeldByPlaces;
use grants::WithheldGrants;
pub use offers::OfferListener;
use places::PlaceState;
pub use places::{FollowerIdentity, KnownFollower, PlaceQuorum, PlaceStanding};
pub use publish::EVERY;
use startup::{rebuild, stored_checkpoint};
use year::YearEnd;

/// What a log needs beside its store.
pub struct LogParts {
    /// Signs the checkpoints.
    pub key: SigningKey,
    /// The second place: holds the log and its last checkpoint outside the store, as
    /// [`journal`](crate::journal) explains.
    pub second: Option<JournalPlace>,
    /// How many places off this machine must hold an act before it counts as safe, and which.
    pub places: PlaceQuorum,
    /// Those who are asked, when the log is opened, what they have seen of it.
    pub onlookers: Vec<Onlooker>,
    /// A loss after which the log may continue; without it, opening a log with a loss fails.
    pub resume: Option<KnownLoss>,
}

/// A loss that an operator has confirmed, after which the log may continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownLoss {
    /// The store is behind the second place, because it was restored: the log continues in a new
    /// shard.
    AfterRestore,
    /// The second place is empty.
    SecondLost,
    /// The store was restored from a backup that no place goes on from: the log continues in a new
    /// shard, whatever others have seen, and an empty second place begins with it.
    WithoutPlaces,
}

impl KnownLoss {
    /// Whether the log continues in a new shard.
    fn ends_shard(self) -> bool {
        matches!(self, Self::AfterRestore | Self::WithoutPlaces)
    }

    /// Whether the second place may be empty.
    fn empties_second(self) -> bool {
        matches!(self, Self::SecondLost | Self::WithoutPlaces)
    }
}

impl LogParts {
    /// A log that signs with `key`, has no second place and asks nobody.
    pub fn new(key: SigningKey) -> Self {
        Self {
            key,
            second: None,
            places: PlaceQuorum::default(),
            onlookers: vec![],
            resume: None,
        }
    }

    /// Compares the store with what the second place and the onlookers have. Returns the loss after
    /// which the log continues, if there is one.
    fn compare_seen(
        &self,
        own: OwnLog<'_>,
        (last, year): (Shard, u16),
        state: &mut LogState,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let second = self.compare_second(own, state)?;
        let others = seen::furthest_lost(own, &self.onlookers, last, year)?;
        let lost = second
            .into_iter()
            .chain(others)
            .max_by_key(LostCheckpoint::reach);
        match lost {
            Some(lost) if !self.resume.is_some_and(KnownLoss::ends_shard) => Err(lost.refusal()),
            None if self.resume == Some(KnownLoss::WithoutPlaces) => own.end_of(last, &self.key),
            lost => Ok(lost),
        }
    }

    /// Compares the store with the second place, and notes what that holds. Returns what it has and
    /// the store has not.
    fn compare_second(
        &self,
        own: OwnLog<'_>,
        state: &mut LogState,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let Some(second) = self.second.as_ref().map(JournalPlace::checkpoint) else {
            return Ok(None);
        };
        state.second = second.load()?;
        let lost = resume::compare(own, second, state.second.as_deref())?;
        // An empty second place means a first start only if nothing was ever published.
        if let (None, Some((_, last))) = (&state.second, state.published.last_key_value())
            && !self.resume.is_some_and(KnownLoss::empties_second)
        {
            let (origin, published) = (last.checkpoint.origin.clone(), last.checkpoint.size);
            return Err(LogError::SecondLost {
                place: second.path().display().to_string(),
                origin,
                published,
            });
        }
        Ok(lost)
    }

    /// As much of the present shard (`row`) as the checkpoint in the second place covers; `None`
    /// where that is of an earlier shard, or of entries that are lost.
    fn covered_by_second(
        &self,
        owner: &str,
        row: &TreeRow,
        state: &LogState,
        lost: bool,
    ) -> Option<TreeRow> {
        let Some(note) = &state.second else {
            let published = state.published.get(&row.shard);
            return published.map(|published| published.tree);
        };
        let (held, _) = Checkpoint::read(note).ok()?;
        let is_present = !lost && held.origin == origin::origin(owner, row.shard);
        is_present.then_some(TreeRow {
            size: held.size,
            root: held.root,
            ..*row
        })
    }

    /// Makes the second place hold what the store has: the present shard as far as `present` says,
    /// and all others.
    fn complete_second(
        &self,
        store: &Store,
        owner: &str,
        present: Option<TreeRow>,
    ) -> Result<(), LogError> {
        let Some(second) = &self.second else {
            return Ok(());
        };
        let mut older = store.trees()?;
        older.retain(|tree| present.is_none_or(|present| present.shard != tree.shard));
        Ok(second.complete(place_source(store, owner), &older, present)?)
    }
}

/// What is written to the second place: a log in its store.
fn place_source<'s>(store: &'s Store, owner: &'s str) -> PlaceSource<'s> {
    PlaceSource {
        store,
        owner,
        tree_at: |store, row, size| ShardReader::new(store, row, size).tree(),
    }
}

/// A shard of the log.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShardView {
    /// `2026`; its resources are below `/log/2026/`.
    pub shard: String,
    /// The origin of its checkpoints.
    pub origin: String,
    /// The verifier key (C2SP `signed-note`) of its checkpoints.
    pub key: String,
    /// Entries under its last checkpoint.
    pub size: u64,
}

/// The log's shards.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shards {
    /// Oldest first.
    pub shards: Vec<ShardView>,
}

/// The last shard's tree as the store has it. Entries that an older version wrote without a tree
/// get one here.
fn last_tree(
    store: &Store,
    last: Option<&TreeRow>,
    now: Timestamp,
) -> Result<(TreeRow, MerkleTree), StoreError> {
    let next = store.last_audit()?.map_or(0, |(number, _)| number + 1);
    if let Some(row) = last {
        let tree = ShardReader::new(store, row, row.size).tree()?;
        if tree.root() != row.root || row.first + row.size != next {
            return Err(StoreError::Corrupt("audit-tree"));
        }
        return Ok((*row, tree));
    }
    // Entries that older versions wrote in several years stay together in one shard.
    let marked = Timestamp::from_millisecond(store.clock_mark()?).unwrap_or(Timestamp::UNIX_EPOCH);
    let shard = Shard::of(year_of(if next > 0 { marked } else { now }));
    let tree = rebuild(store, shard)?;
    Ok((
        TreeRow {
            shard,
            first: 0,
            size: tree.size(),
            root: tree.root(),
        },
        tree,
    ))
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The second place.
    #[error("the second place of the last checkpoint: {0}")]
    Second(#[from] CheckpointFileError),
    /// The operating system could not start a thread.
    #[error("cannot start the thread that signs checkpoints: {0}")]
    Thread(std::io::Error),
    /// The second place holds a checkpoint that this store's log does not contain.
    #[error(
        "the log in this store is not the one that was published: {by} has a checkpoint over {published} entries of {origin}, \
         and {found}. A store that was restored from a backup must not continue as if nothing had happened"
    )]
    Behind {
        /// Who has the checkpoint.
        by: String,
        /// Its log.
        origin: String,
        /// Entries that it covers.
        published: u64,
        /// How this store differs.
        found: String,
    },
    /// The second place is empty, and this log has published checkpoints.
    #[error(
        "the second place of the last checkpoint, {place}, is empty, but this log has published at least {published} \
         entries of {origin}. First see that its disk is mounted. This store cannot tell whether \
         the log published more before the store was restored from a backup"
    )]
    SecondLost {
        /// Where the checkpoint should be.
        place: String,
        /// The log.
        origin: String,
        /// Entries under the last checkpoint that the store has.
        published: u64,
    },
}

/// A published checkpoint, and the tree that it covers.
#[derive(Debug, Clone)]
pub struct PublishedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The tree: shard, first entry, size, root.
    pub tree: TreeRow,
    /// The signed note, with the cosignatures received so far.
    pub note: String,
}

impl PublishedCheckpoint {
    /// The checkpoint over a tree of an owner's log, signed.
    fn sign(owner: &str, tree: TreeRow, key: &SigningKey) -> Self {
        let checkpoint = Checkpoint {
            origin: origin::origin(owner, tree.shard),
            size: tree.size,
            root: tree.root,
        };
        let note = checkpoint.sign(key);
        Self {
            checkpoint,
            tree,
            note,
        }
    }

    /// Whether it covers an entry.
    pub fn covers(&self, receipt: &AuditReceipt) -> bool {
        self.tree.shard == receipt.shard && receipt.index < self.checkpoint.size
    }
}

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

#[derive(Default)]
struct LogState {
    /// The tree of the last commit, once there was one.
    durable: Option<TreeRow>,
    /// The places, with what they hold.
    places: Vec<PlaceState>,
    /// Whether nobody waits for offers any more.
    offers_end: bool,
    /// By shard: the last checkpoint that is signed and in the second place.
    offered: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// Durable trees that no checkpoint covers yet, at most one a shard, older shards first.
    heads: Vec<TreeRow>,
    /// By shard: the last checkpoint that enough places hold.
    published: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// By shard: the last checkpoint that has a cosignature.
    cosigned: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// Whether the cosigned one is shown where the last one is not cosigned yet.
    prefer_cosigned: bool,
    /// Checkpoints that the store does not have yet.
    unstored: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// The content of the second place.
    second: Option<Vec<u8>>,
    /// Whether a thread waits for a checkpoint.
    wanted: bool,
    ending: bool,
    trouble: Option<String>,
    /// Why the second place could not be reached when it was last looked at.
    away: Option<String>,
    forked: bool,
}

impl LogState {
    /// Publishes all that a shard has before the log leaves it for another one: a kill may have come
    /// before its last checkpoint, and others compare what is kept with that.
    fn publish_kept(&mut self, owner: &str, tree: TreeRow, key: &SigningKey) {
        let last = self.published.get(&tree.shard);
        if tree.size == 0 || last.is_some_and(|last| last.checkpoint.size >= tree.size) {
            return;
        }
        let kept = Arc::new(PublishedCheckpoint::sign(owner, tree, key));
        self.published.insert(tree.shard, kept.clone());
        self.unstored.insert(tree.shard, kept);
    }
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
        let mut state = LogState::default();
        for tree in &trees {
            if let Some(published) = stored_checkpoint(&store, *tree)? {
                state.published.insert(tree.shard, Arc::new(published));
            }
        }
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
        let LogParts {
            key,
            second,
            places: quorum,
            ..
        } = parts;
        state.places = quorum.places(second.is_some());
        let (work, news) = (Condvar::new(), Condvar::new());
        let (state, publishing) = (Mutex::new(state), Mutex::new(()));
        let log = Arc::new(Self {
            store,
            owner: owner.to_owned(),
            key,
            second,
            quorum,
            publishing,
            state,
            work,
            news,
            listener: OnceLock::new(),
            withheld: WithheldGrants::default(),
        });
        log.withhold_unheld()?;
        log.begin_offers(&trees, row.shard);
        let publisher = {
            let log = log.clone();
            std::thread::Builder::new()
                .name("checkpoints".into())
                .spawn(move || log.publish_until_the_end())
        };
        let doubted_since = log.store.year_doubted()?;
        let marked = Timestamp::from_millisecond(log.store.clock_mark()?).unwrap_or(now);
        let last = if row.size > 0 { marked } else { now };
        let ends = end_of(row.shard.year);
        let mut appender = Appender {
            origin: origin::origin(owner, row.shard).into(),
            log: log.clone(),
            shard: row.shard,
            first: row.first,
            tree,
            ends,
            year_end: YearEnd::new(ends, last, doubted_since),
            stored_doubt: doubted_since,
            head: row,
            opening: None,
            publisher: Some(publisher.map_err(LogError::Thread)?),
        };
        if let Some(lost) = lost {
            let (kept, root) = (appender.tree.size(), appender.tree.root());
            let last = lost.shard.max(row.shard);
            appender.begin_shard(Shard {
                part: last.part + 1,
                ..last
            });
            appender.opening = Some(lost.event(row.shard, kept, root));
        }
        Ok((log, appender))
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

    /// The last checkpoint of a shard.
    pub fn published(&self, shard: Shard) -> Option<Arc<PublishedCheckpoint>> {
        self.state().published.get(&shard).cloned()
    }

    /// The last checkpoint of all.
    pub fn latest(&self) -> Option<Arc<PublishedCheckpoint>> {
        self.state()
            .published
            .last_key_value()
            .map(|(_, published)| published.clone())
    }

    /// The last checkpoint of each shard, the first shard first.
    pub fn shards(&self) -> Vec<Arc<PublishedCheckpoint>> {
        self.state().published.values().cloned().collect()
    }

    /// The last checkpoint of the present shard that has a cosignature.
    pub fn cosigned(&self) -> Option<Arc<PublishedCheckpoint>> {
        self.state()
            .cosigned
            .last_key_value()
            .map(|(_, published)| published.clone())
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

    /// Waits for a checkpoint that covers an entry.
    pub fn covering(
        &self,
        receipt: &AuditReceipt,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        self.published_with(receipt.shard, receipt.index + 1, patience)
    }

    /// Whether places off this machine have to hold what grants before it takes effect.
    pub fn asks_for_places(&self) -> bool {
        self.quorum.needed > 0
    }

    /// Compares the log with a checkpoint that somebody shows.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] where this log's key signed it and the store does not contain it:
    /// then the process must end. Other [`StoreError`]s of reading the log.
    pub fn confront(&self, seen: &SeenCheckpoint) -> Result<(), StoreError> {
        let own = OwnLog {
            store: &self.store,
            owner: &self.owner,
            key: &self.key.verifying_key(),
        };
        own.lost(seen)?.map_or(Ok(()), |lost| Err(lost.fault()))
    }

    /// Why no checkpoint can be published at present.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        let away = |why: &String| format!("the second place cannot be reached: {why}");
        state
            .trouble
            .clone()
            .or_else(|| state.away.as_ref().map(away))
    }

    /// Checks that the second place still holds what was last put there. While it cannot be
    /// reached, [`trouble`](Self::trouble) says so, and this is not an error. Called about every
    /// second.
    ///
    /// # Errors
    /// [`StoreError::SecondDisplaced`]
    pub fn look_at_second(&self) -> Result<(), StoreError> {
        let Some(second) = self.second.as_ref().map(JournalPlace::checkpoint) else {
            return Ok(());
        };
        // While it is being changed, the change itself compares.
        let Ok(_changing) = self.publishing.try_lock() else {
            return Ok(());
        };
        let Some(held) = self.state().second.clone() else {
            return Ok(());
        };
        let found = second.still_holds(&held);
        let away = found.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut self.state().away, away.clone());
        match (before, away) {
            (None, Some(why)) => tracing::warn!(why, "the second place cannot be reached"),
            (Some(_), None) => tracing::info!("the second place can be reached again"),
            _ => {}
        }
        match found {
            Ok(true) | Err(_) => Ok(()),
            Ok(false) => Err(StoreError::SecondDisplaced(second.path().to_owned())),
        }
    }

    /// Removes from the second place the segments that lie wholly before `needed`. Waits a little for
    /// what is durable to be there, so that a segment that was to be begun is.
    ///
    /// # Errors
    /// As [`JournalPlace::prune`].
    pub fn prune_second(&self, needed: LogPlace) -> std::io::Result<PrunedSegments> {
        let head = self.state().durable;
        if let Some(head) = head.filter(|_| self.second.is_some()) {
            let _ = self.offered_with(head.shard, head.size, 2 * EVERY);
        }
        let _publishing = unpoisoned(self.publishing.lock());
        let second = self.second.as_ref();
        second.map_or_else(
            || Ok(PrunedSegments::default()),
            |second| second.prune(needed),
        )
    }

    /// Begins a segment in the second place with the next entries.
    pub fn turn_second(&self) {
        self.second.iter().for_each(JournalPlace::turn);
    }

    /// Whether the second place held a checkpoint that this log did not put there.
    pub fn is_forked(&self) -> bool {
        self.state().forked
    }

    /// The checkpoint of a shard (of the present one, unless `shard` names another) that is shown
    /// to others: the last one, or the last cosigned one where cosignatures are required.
    pub fn shown(&self, shard: Option<Shard>) -> Option<Arc<PublishedCheckpoint>> {
        let state = self.state();
        let last = match shard {
            Some(shard) => state.published.get(&shard)?,
            None => state.published.last_key_value()?.1,
        };
        let cosigned = state
            .cosigned
            .get(&last.tree.shard)
            .filter(|_| state.prefer_cosigned);
        Some(cosigned.unwrap_or(last).clone())
    }

    /// Shows cosigned checkpoints rather than newer ones without a cosignature.
    pub fn prefer_cosigned(&self) {
        self.state().prefer_cosigned = true;
    }

    /// The checkpoint as this log publishes it; `None` if it is not of this log, or is beyond
    /// the last one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn restate(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<Option<PublishedCheckpoint>, StoreError> {
        let shard = owner_and_shard(&checkpoint.origin).filter(|(owner, _)| *owner == self.owner);
        let Some(last) = shard.and_then(|(_, shard)| self.published(shard)) else {
            return Ok(None);
        };
        if checkpoint.size > last.checkpoint.size {
            return Ok(None);
        }
        let root = ShardReader::new(&self.store, &last.tree, checkpoint.size)
            .tree()?
            .root();
        let tree = TreeRow {
            size: checkpoint.size,
            root,
            ..last.tree
        };
        let ours = PublishedCheckpoint {
            checkpoint: checkpoint.clone(),
            tree,
            note: checkpoint.sign(&self.key),
        };
        Ok((root == checkpoint.root).then_some(ours))
    }

    /// Adds signature lines (each with its line end) below a checkpoint that was published.
    pub fn add_lines(&self, published: &PublishedCheckpoint, lines: &str) {
        let mut state = self.state();
        let shard = published.tree.shard;
        let known = match state.cosigned.get(&shard) {
            Some(known) if known.checkpoint == published.checkpoint => {
                PublishedCheckpoint::clone(known)
            }
            // A slow witness; others have cosigned a newer one since.
            Some(known) if known.checkpoint.size > published.checkpoint.size => return,
            _ => published.clone(),
        };
        let added = PublishedCheckpoint {
            note: with_lines(&known.note, lines),
            ..known
        };
        let added = Arc::new(added);
        if state
            .published
            .get(&shard)
            .is_some_and(|last| last.checkpoint == added.checkpoint)
        {
            state.published.insert(shard, added.clone());
            state.unstored.insert(shard, added.clone());
        }
        state.cosigned.insert(shard, added);
        self.news.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A note with more signature lines. It keeps the latest line of each name, so that renewed
/// cosignatures do not make it grow.
fn with_lines(note: &str, lines: &str) -> String {
    let name = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let added: Vec<String> = lines.lines().map(name).collect();
    let (text, signatures) = note.rsplit_once("\n\n").unwrap_or((note, ""));
    // The log's own line comes first and stays, even where a cosigner has its name.
    let kept = signatures.split_inclusive('\n').enumerate();
    let kept = kept
        .filter(|(place, line)| *place == 0 || !added.contains(&name(line)))
        .map(|(_, line)| line);
    format!("{text}\n\n{}{lines}", kept.collect::<String>())
}
