//! The keeper: a thread that keeps the index within its bound of memory and merges small chunks.
//!
//! No other thread freezes and moves tables, and the keeper does not do so while it merges. So a
//! merge never meets an entry that is being moved.

mod merge;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::entity::Entity;
use crate::seal::chunk::ChunkCipher;
use crate::store::index::Index;
use crate::system::lock::unpoisoned;

/// How often it looks for work.
const LOOK: Duration = Duration::from_millis(100);
/// The rest after a merge, in multiples of the time that it took: merging takes at most a tenth of
/// a processor.
const REST: u32 = 9;
/// Longest rest.
const LONGEST: Duration = Duration::from_secs(1);
/// How often it looks for disk space to reclaim.
const RECLAIM: Duration = Duration::from_secs(10);

/// What the keeper works on.
pub(super) struct KeeperParts {
    pub(super) entity: Arc<Entity>,
    pub(super) index: Arc<Index>,
    pub(super) cipher: Arc<ChunkCipher>,
}

/// What the keeper has done since the start.
#[derive(Debug, Default)]
pub struct KeeperCounts {
    /// Index entries moved from memory to the store.
    pub moved: AtomicU64,
    /// Chunks that were merged into others.
    pub merged: AtomicU64,
}

/// The keeper's thread, which ends when this is dropped.
pub(super) struct Keeper {
    index: Arc<Index>,
    /// Held while entries are moved or chunks merged.
    busy: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    counts: Arc<KeeperCounts>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(parts: KeeperParts) -> Self {
        let (index, stop, counts) = (
            parts.index.clone(),
            Arc::new(AtomicBool::new(false)),
            Arc::new(KeeperCounts::default()),
        );
        index.set_has_keeper(true);
        let busy = Arc::new(Mutex::new(()));
        let work = KeeperThread {
            parts,
            busy: busy.clone(),
            stop: stop.clone(),
            counts: counts.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || work.run())
            .expect("the operating system starts a thread");
        Self {
            index,
            busy,
            stop,
            counts,
            thread: Some(thread),
        }
    }

    pub(super) fn pause(&self) -> PauseGuard<'_> {
        let busy = unpoisoned(self.busy.lock());
        // The writer must not wait for the keeper now, because the holder of this guard waits for
        // the writer.
        self.index.set_has_keeper(false);
        PauseGuard {
            index: &self.index,
            _busy: busy,
        }
    }

    pub(super) fn counts(&self) -> &KeeperCounts {
        &self.counts
    }
}

/// The keeper moves and merges nothing while this guard lives.
pub(crate) struct PauseGuard<'k> {
    index: &'k Index,
    _busy: MutexGuard<'k, ()>,
}

impl Drop for PauseGuard<'_> {
    fn drop(&mut self) {
        self.index.set_has_keeper(true);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.index.wake_keeper();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct KeeperThread {
    parts: KeeperParts,
    busy: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    counts: Arc<KeeperCounts>,
}

/// Tells the writer that the keeper is gone, however it ended.
impl Drop for KeeperThread {
    fn drop(&mut self) {
        self.parts.index.set_has_keeper(false);
        if std::thread::panicking() {
            self.parts
                .entity
                .committer()
                .poison(&crate::store::StoreError::KeeperEnded);
        }
    }
}

impl KeeperThread {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn run(&self) {
        let KeeperParts { entity, index, .. } = &self.parts;
        let (store, committer) = (entity.store(), entity.committer());
        let (mut rest, mut reclaimed) = (LOOK, Instant::now());
        while !self.stops() {
            index.sleep_keeper(rest);
            rest = LOOK;
            let _busy = unpoisoned(self.busy.lock());
            if index.is_over() {
                match index.relieve(store, || !self.stops() && committer.settled()) {
                    Ok(moved) => drop(self.counts.moved.fetch_add(moved, Ordering::Relaxed)),
                    Err(error) => return committer.poison(&error),
                }
            }
            if reclaimed.elapsed() > RECLAIM {
                reclaimed = Instant::now();
                if let Err(error) = store.reclaim() {
                    tracing::error!(%error, "the disk space of deleted chunks could not be reclaimed");
                }
            }
            let Some((kind, chunks)) = committer.small().take().filter(|_| !self.stops()) else {
                continue;
            };
            let begun = Instant::now();
            // The writer must not wait for the keeper now, because the merge waits for the writer.
            index.set_has_keeper(false);
            let merged = merge::merge(&self.parts, &kind, &chunks);
            index.set_has_keeper(true);
            match merged {
                Ok(merged) => drop(self.counts.merged.fetch_add(merged, Ordering::Relaxed)),
                Err(error) => {
                    tracing::error!(%error, "small chunks could not be merged; they stay as they are");
                }
            }
            rest = (begun.elapsed() * REST).min(LONGEST);
        }
    }
}
