//! The memory of the machine, and how this process keeps its own to itself.

use std::io;
use std::mem::MaybeUninit;

use super::process::{LimitedResource, limit};
use super::succeeded;

/// All memory of the machine, in bytes.
pub fn of_machine() -> Option<u64> {
    let mut facts = MaybeUninit::<libc::sysinfo>::uninit();
    // SAFETY: `facts` has room for what sysinfo writes.
    if unsafe { libc::sysinfo(facts.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: sysinfo succeeded, so it wrote all of it.
    let facts = unsafe { facts.assume_init() };
    Some(facts.totalram.saturating_mul(u64::from(facts.mem_unit)))
}

/// Makes new files readable by the owner alone, forbids core dumps, and keeps other processes of
/// the same user from reading the memory: as far as the system allows.
pub fn close_off() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the calls take plain values; `none` outlives its call.
    unsafe {
        libc::umask(0o077);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// Whether no other process of the same user may read the memory.
pub fn is_undumpable() -> bool {
    // SAFETY: takes plain values.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 }
}

/// Whether there will be no core file.
pub fn has_no_core() -> bool {
    limit(LimitedResource::CoreFile).is_ok_and(|limit| limit.present == 0)
}

/// Locks every page of this process, present and future, so that none is swapped.
///
/// # Errors
/// What the operating system says.
pub fn lock_all() -> io::Result<()> {
    // SAFETY: no preconditions.
    succeeded(
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } == 0,
    )
}

/// How many bytes this process may lock; `None`: any number.
pub fn lock_limit() -> Option<u64> {
    match limit(LimitedResource::LockedMemory) {
        Ok(limit) if limit.present == libc::RLIM_INFINITY => None,
        Ok(limit) => Some(limit.present),
        Err(_) => Some(0),
    }
}
