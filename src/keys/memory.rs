//! Keeps a process's keys in its own memory: no swap, no core dump, no access by other processes.

use super::locked;
use crate::system::memory;
pub use crate::system::memory::lock_limit;

/// The protections that hold. `true` is the wanted value of every field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Protection {
    /// The pages with keys are locked: never swapped.
    pub keys_locked: bool,
    /// The pages with keys are left out of core dumps and are empty in forked children.
    pub keys_left_out: bool,
    /// All pages of the process are locked.
    pub process_locked: bool,
    /// No other process of the same user may read the memory (`PR_SET_DUMPABLE` is off).
    pub undumpable: bool,
    /// There will be no core file (`RLIMIT_CORE` is 0).
    pub no_core: bool,
}

impl Protection {
    /// 0: keys may be swapped or dumped; 1: keys may not; 2: nothing of the process may.
    pub fn level(&self) -> u8 {
        let keys_kept = self.keys_locked && self.keys_left_out && self.undumpable && self.no_core;
        match (keys_kept, self.process_locked) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }
}

/// Protects this process as far as the system allows: files for the owner alone, no core dumps, no
/// debugger, keys in locked pages; with `whole` all of its pages, if there is no limit on locked
/// memory. (A vault's index has gigabytes and holds no key; a node is small and holds what it
/// opens.)
pub fn protect(whole: bool) -> Protection {
    memory::close_off();
    // With a limit, the first allocation beyond it would fail in the middle of work.
    let process_locked = whole && lock_limit().is_none() && lock_all();
    Protection {
        process_locked,
        ..protection()
    }
}

fn lock_all() -> bool {
    let locked = memory::lock_all();
    if let Err(error) = &locked {
        tracing::warn!(%error, "the limit on locked memory allows it, and the memory of this process cannot be locked whole");
    }
    locked.is_ok()
}

/// The protections that hold now. `process_locked` is always false here: only the caller of
/// [`protect`] knows it.
pub fn protection() -> Protection {
    locked::probe();
    Protection {
        keys_locked: locked::all_locked(),
        keys_left_out: locked::all_left_out(),
        process_locked: false,
        undumpable: memory::is_undumpable(),
        no_core: memory::has_no_core(),
    }
}
