//! The log that is being written: a tree for each shard, which the writer extends in the commits of
//! the entries themselves, and the checkpoints over it, which a thread of its own signs.
//!
//! A shard is a year's entries; it ends with the year, and the first entry of the next one holds
//! its last checkpoint. A checkpoint is signed only over entries that are durable, and is published
//! only after the second place has it.

mod append;
mod found;
mod publish;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AuditReceipt;
use super::resume::{self, LostCheckpoint};
use super::shard_reader::ShardReader;
use crate::audit::origin::{self, TrustedLogKey, owner_and_shard};
use crate::jws::{self, JwsError};
use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::{CheckpointFile, CheckpointFileError};
use crate::tlog::tree::MerkleTree;
use crate::tlog::witness::Witness;
pub use append::Appender;
use append::{end_of, year_of};
use found::{rebuild, stored};
pub use publish::EVERY;

/// What a log needs beside its store.
pub struct LogParts {
    /// Signs the checkpoints.
    pub key: SigningKey,
    /// Where the last checkpoint is kept beside the store, as
    /// [`checkpoint_file`](crate::tlog::checkpoint_file) says.
    pub second: Option<CheckpointFile>,
    /// A loss from which the log may go on; without it a start refuses.
    pub resume: Option<KnownLoss>,
}

/// A loss that an operator knows of, and from which the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownLoss {
    /// The store is behind the second place, because it was restored: the log goes on in a shard of
    /// its own.
    AfterRestore,
    /// The second place has nothing.
    SecondLost,
}

impl LogParts {
    /// A log that signs with `key` and has no second place.
    pub fn new(key: SigningKey) -> Self {
        Self {
            key,
            second: None,
            resume: None,
        }
    }

    /// Compares the store with the second place, and notes what that holds; the loss that the log
    /// goes on from.
    fn compare_second(
        &self,
        store: &Store,
        owner: &str,
        state: &mut LogState,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let Some(second) = &self.second else {
            return Ok(None);
        };
        state.second = second.load()?;
        let key = self.key.verifying_key();
        let mut lost = resume::compare(store, owner, &key, second, state.second.as_deref())?;
        if let Some(lost) = lost.take_if(|_| self.resume != Some(KnownLoss::AfterRestore)) {
            return Err(lost.refusal(second));
        }
        // Absence is first use only where nothing was ever published.
        if let (None, Some((_, last))) = (&state.second, state.published.last_key_value())
            && self.resume != Some(KnownLoss::SecondLost)
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

/// The last shard's tree as the store has it, or the tree that an older version's entries get now.
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
    // What was written in other years by older versions stays together in one shard.
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

/// Why a log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The second place.
    #[error(transparent)]
    Second(#[from] CheckpointFileError),
    /// The operating system gave no thread.
    #[error("no thread to sign checkpoints in: {0}")]
    Thread(std::io::Error),
    /// The second place has a checkpoint that this store's log does not lead to.
    #[error(
        "the log in this store is not the one that was published: the checkpoint kept at {place} covers {published} entries \
         of {origin}, and {found}. A store that was restored from a backup must not go on as if nothing had happened"
    )]
    Behind {
        /// Where the checkpoint is kept.
        place: String,
        /// Its log.
        origin: String,
        /// Entries that it covers.
        published: u64,
        /// What this store has instead.
        found: String,
    },
    /// The second place has nothing, and this log has published checkpoints.
    #[error(
        "the second place of the last checkpoint, {place}, has nothing, and this log has published at least {published} \
         entries of {origin}. A disk that is not mounted looks like this: see to that first. Whether the log published more, and \
         this store was restored from a backup, nobody here can tell"
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

/// A checkpoint that was published, and the tree that it is over.
#[derive(Debug, Clone)]
pub struct PublishedCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The tree: shard, first entry, size, root.
    pub tree: TreeRow,
    /// The signed note, with the cosignatures that came until now.
    pub note: String,
}

/// A log, as everything but its writer sees it.
pub struct Log {
    store: Arc<Store>,
    owner: String,
    key: SigningKey,
    second: Option<CheckpointFile>,
    /// Held from changing the second place to noting what it has.
    publishing: Mutex<()>,
    state: Mutex<LogState>,
    /// For the thread that signs: something is to be done.
    work: Condvar,
    /// For threads that wait for a checkpoint.
    news: Condvar,
}

#[derive(Default)]
struct LogState {
    /// Durable trees that no checkpoint covers yet, at most one a shard, older shards first.
    heads: Vec<TreeRow>,
    /// By shard: the last checkpoint.
    published: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// By shard: the last checkpoint that has a cosignature.
    cosigned: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// Whether the cosigned one is shown where the last one is not cosigned yet.
    prefer_cosigned: bool,
    /// Checkpoints that the store does not have yet.
    unstored: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// What the second place has.
    second: Option<Vec<u8>>,
    /// A thread waits for a checkpoint.
    wanted: bool,
    ending: bool,
    trouble: Option<String>,
    /// Why the second place could not be reached when it was last looked at.
    away: Option<String>,
    forked: bool,
}

impl Log {
    /// Opens the log in `store`, of `owner` (such as `demo/vault`), and starts the thread that
    /// signs. A store that older versions wrote gets its tree and its index now.
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
        for tree in trees {
            if let Some(published) = stored(&store, tree)? {
                state.published.insert(tree.shard, Arc::new(published));
            }
        }
        let lost = parts.compare_second(&store, owner, &mut state)?;
        let LogParts { key, second, .. } = parts;
        let (work, news) = (Condvar::new(), Condvar::new());
        let (state, publishing) = (Mutex::new(state), Mutex::new(()));
        let log = Arc::new(Self {
            store,
            owner: owner.to_owned(),
            key,
            second,
            publishing,
            state,
            work,
            news,
        });
        let publisher = {
            let log = log.clone();
            std::thread::Builder::new()
                .name("checkpoints".into())
                .spawn(move || log.publish_until_the_end())
        };
        let mut appender = Appender {
            origin: origin::origin(owner, row.shard).into(),
            log: log.clone(),
            shard: row.shard,
            first: row.first,
            tree,
            ends: end_of(row.shard.year),
            head: row,
            opening: None,
            publisher: Some(publisher.map_err(LogError::Thread)?),
        };
        if let Some(lost) = lost {
            let (kept, root) = (appender.tree.size(), appender.tree.root());
            let last = lost.shard.max(row.shard);
            appender.go_on(Shard {
                part: last.part + 1,
                ..last
            });
            appender.opening = Some(lost.event(row.shard, kept, root));
        }
        Ok((log, appender))
    }

    /// The public half of the key that signs.
    pub fn key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// A witness of others' logs that signs with this log's key, under its owner's name. (What a
    /// cosigner signs begins with another line than what a log signs.)
    pub fn witness(&self, logs: Vec<TrustedLogKey>, folder: PathBuf) -> Witness {
        let key = SigningKey::from_bytes(&self.key.to_bytes());
        Witness::new(origin::cosigner_name(&self.owner), key, logs, folder)
    }

    /// Whose log it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The store that it lies in.
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

    /// Signs a statement about this log: JWS of that type, by the key of its checkpoints, under the
    /// name of its entity (`vault`, or the authority's id). What a JWS signs has no line end and
    /// what checkpoints and cosignatures sign has some, so that none can stand for another.
    ///
    /// # Errors
    /// [`JwsError`] when it would be too long.
    pub fn sign_statement(&self, payload: &[u8], typ: &str) -> Result<String, JwsError> {
        let kid = self.owner.rsplit('/').next().unwrap_or_default();
        jws::add_signature(&jws::draft(payload), typ, kid, &self.key)
    }

    /// Waits for a checkpoint that covers an entry.
    pub fn covering(
        &self,
        receipt: &AuditReceipt,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        let end = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let found = state
                .published
                .get(&receipt.shard)
                .filter(|p| p.checkpoint.size > receipt.index);
            if let Some(published) = found {
                return Some(published.clone());
            }
            let left = end.checked_duration_since(Instant::now())?;
            state.wanted = true;
            self.work.notify_one();
            state = self
                .news
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Why no checkpoint can be published at present.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        state.trouble.clone().or_else(|| state.away.clone())
    }

    /// Checks that the second place still holds what was last put there. While it cannot be
    /// reached, that is a
    /// [trouble](Self::trouble) and no error. To be called every second or so.
    ///
    /// # Errors
    /// [`StoreError::SecondDisplaced`]
    pub fn look_at_second(&self) -> Result<(), StoreError> {
        let Some(second) = &self.second else {
            return Ok(());
        };
        // While it is being changed, the change itself looks.
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

    /// Whether the second place was found to hold what this log never put there.
    pub fn is_forked(&self) -> bool {
        self.state().forked
    }

    /// The checkpoint of a shard (of the present one unless named) that is shown to others: the
    /// last one, or the last cosigned one where cosignatures are required.
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

    /// The checkpoint as this log publishes it; `None` where it is not of this log, or is beyond
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
