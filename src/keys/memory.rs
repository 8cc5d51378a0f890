//! What a process does so that its keys stay in its memory: no swap, no core dump, no look from outside.

use super::locked;

/// What was reached. Every field is what one wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Protection {
    /// The pages with keys are locked: never swapped.
    pub keys_locked: bool,
    /// The pages with keys are left out of core dumps and are empty in forked children.
    pub keys_left_out: bool,
    /// All pages of the process are.
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

/// Protects this process as far as the system allows: files for the owner alone, no core dumps, no debugger, keys in locked
/// pages; with `whole` all of its pages, where the limit on locked memory leaves room for any number of them. (A vault's index
/// has gigabytes and holds no key; a node is small and holds what it opens.)
pub fn protect(whole: bool) -> Protection {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls take plain values; `none` outlives its call.
    unsafe {
        libc::umask(0o077);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    // With a limit, the first allocation beyond it would fail in the midst of work.
    let process_locked = whole && lock_limit().is_none() && lock_all();
    Protection { process_locked, ..protection() }
}

fn lock_all() -> bool {
    // SAFETY: no preconditions.
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) == 0 };
    if !locked {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "the limit on locked memory allows it, and the memory of this process cannot be locked whole");
    }
    locked
}

/// What holds at present, but for `process_locked`, which only the one who did it knows.
pub fn protection() -> Protection {
    let mut core = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the calls take plain values; `core` outlives its call.
    let (undumpable, known) = unsafe {
        (libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, libc::getrlimit(libc::RLIMIT_CORE, &raw mut core) == 0)
    };
    locked::probe();
    Protection {
        keys_locked: locked::all_locked(),
        keys_left_out: locked::all_left_out(),
        process_locked: false,
        undumpable,
        no_core: known && core.rlim_cur == 0,
    }
}

/// How many bytes this process may lock; `None`: any number.
pub fn lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives its call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 };
    if known && limit.rlim_cur == libc::RLIM_INFINITY { None } else { Some(limit.rlim_cur) }
}
