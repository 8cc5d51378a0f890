//! The bound on the tables' memory, and how the keeper holds it.
//!
//! One thread, the keeper, moves tables to the store when they exceed the bound. If entries come
//! faster than they can be moved, the writer waits. So the memory stays bounded, the writer's queue
//! fills, and requests are turned away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{Index, Partition, PartitionId};
use crate::store::{Store, StoreError};
use crate::system::lock::intact;

/// Most bytes of tables that are moved at once: while they are sorted they are in memory twice.
const STEP: u64 = 32 << 20;
/// Least bytes that are worth a file.
const LEAST: u64 = 64 << 10;

/// The bound, and how the keeper and the writer wait for each other.
pub(super) struct MemoryBound {
    /// Bytes that all tables may take.
    bytes: u64,
    /// Whether the keeper is there to move tables.
    has_keeper: AtomicBool,
    /// Whether the keeper was woken since it last fell asleep.
    woken: Mutex<bool>,
    /// Wakes the keeper: the tables exceed the bound.
    over: Condvar,
    /// Wakes the writer: the tables may be within the bound again.
    under: Condvar,
}

impl MemoryBound {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            has_keeper: AtomicBool::new(false),
            woken: Mutex::default(),
            over: Condvar::new(),
            under: Condvar::new(),
        }
    }
}

impl Index {
    /// Bytes that the tables may take.
    pub fn bound(&self) -> u64 {
        self.bound.bytes
    }

    /// Whether the tables take more than that.
    pub fn is_over(&self) -> bool {
        self.bytes() > self.bound.bytes
    }

    /// Tells whether the keeper can move tables. If not, the writer does not wait for room.
    pub fn set_has_keeper(&self, has_keeper: bool) {
        self.bound.has_keeper.store(has_keeper, Ordering::Release);
        self.bound.under.notify_all();
    }

    /// For the keeper: sleeps until it is woken or `longest` has passed.
    pub fn sleep_keeper(&self, longest: Duration) {
        let woken = intact(self.bound.woken.lock());
        let slept = self
            .bound
            .over
            .wait_timeout_while(woken, longest, |woken| !*woken);
        *intact(slept).0 = false;
    }

    /// Wakes the keeper, also if it falls asleep a moment later.
    pub fn wake_keeper(&self) {
        *intact(self.bound.woken.lock()) = true;
        self.bound.over.notify_all();
    }

    /// How many insertions may pass until the bound is checked again.
    pub fn stride(&self) -> u64 {
        self.bound.bytes / 64 / 32
    }

    /// For the writer, between two commits: waits while the tables are far over the bound and the
    /// keeper moves them.
    pub fn hold_back(&self) {
        let most = self.bound.bytes.saturating_add(self.bound.bytes / 16);
        if !self.is_over() {
            return;
        }
        self.wake_keeper();
        while self.bytes() > most && self.bound.has_keeper.load(Ordering::Acquire) {
            let lock = intact(self.bound.woken.lock());
            drop(
                self.bound
                    .under
                    .wait_timeout(lock, Duration::from_millis(2)),
            );
        }
    }

    /// Moves tables to the store until they are a little under the bound: those of older epochs
    /// first, then those of the largest partition. `settled` waits until every entry in the tables
    /// is durable, and returns false if that can no longer happen. Returns how many entries were
    /// moved.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn relieve(&self, store: &Store, settled: impl Fn() -> bool) -> Result<u64, StoreError> {
        let least = self.bound.bytes - self.bound.bytes / 16;
        let step = (self.bound.bytes / 32).clamp(LEAST, STEP);
        let mut moved = 0;
        while self.bytes() > least {
            let Some(partition) = self.next_to_move() else {
                break;
            };
            if !partition.freeze(step) || !settled() {
                break;
            }
            moved += partition.move_frozen(store)?;
            self.bound.under.notify_all();
        }
        Ok(moved)
    }

    fn next_to_move(&self) -> Option<Arc<Partition>> {
        let partitions = intact(self.partitions.read());
        let is_older = |id: &PartitionId| {
            partitions
                .keys()
                .any(|other| other.0 == id.0 && other.1 > id.1)
        };
        let all = partitions
            .iter()
            .filter(|(_, partition)| partition.bytes() > 0);
        all.max_by_key(|(id, partition)| (is_older(id), partition.bytes()))
            .map(|(_, partition)| partition.clone())
    }
}
