//! Threads that work on batches step back: whoever waits for one pseudonym, and the writer that all wait for, must not stand
//! behind a batch that takes milliseconds.

use std::io;
use std::sync::Once;

/// How far threads that work on batches step back (`nice`).
const BATCH_NICENESS: libc::c_int = 10;
/// Their time slice in nanoseconds: a thread with a shorter one, and every other thread has, interrupts them when it wakes
/// (Linux 6.12; older ones pass over it).
const BATCH_SLICE: u64 = 100_000_000;

/// Lets other threads of the process go first for as long as this one lives. Where the system forbids it, the log says so
/// once: single requests beside batches take longer then.
pub(super) fn step_back() {
    static SAID: Once = Once::new();
    thread_local! {
        static DONE: () = if let Err(error) = set_slice().or_else(|_| set_nice()) {
            let hint = "allow sched_setattr in the unit's SystemCallFilter, or single requests wait for batches";
            SAID.call_once(|| tracing::warn!(%error, hint, "threads that work on batches cannot step back"));
        };
    }
    DONE.with(|()| ());
}

/// Niceness and time slice of this thread.
fn set_slice() -> io::Result<()> {
    // SAFETY: a plain structure, for which zeros are the defaults (`SCHED_OTHER`).
    let mut wanted: libc::sched_attr = unsafe { std::mem::zeroed() };
    wanted.size = size_of_val(&wanted) as u32;
    wanted.sched_nice = BATCH_NICENESS;
    wanted.sched_runtime = BATCH_SLICE;
    // SAFETY: the structure lives through the call.
    succeeded(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) } == 0)
}

/// Its niceness alone: on Linux a `who` of zero is the calling thread. Some filters take this call and not the other.
fn set_nice() -> io::Result<()> {
    // SAFETY: takes plain values.
    succeeded(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BATCH_NICENESS) } == 0)
}

fn succeeded(done: bool) -> io::Result<()> {
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The niceness of this thread, by what the kernel says.
    fn niceness() -> libc::c_int {
        // SAFETY: takes plain values.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn either_call_steps_back_and_only_this_thread() {
        let before = niceness();
        for step in [set_slice, set_nice] {
            std::thread::spawn(move || {
                step().unwrap();
                assert_eq!(niceness(), BATCH_NICENESS);
            })
            .join()
            .unwrap();
        }
        assert_eq!(niceness(), before);
    }
}
