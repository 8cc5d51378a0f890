//! Lowers the priority of threads that work on batches. A request for one pseudonym, and the writer
//! that all wait for, must not wait behind a batch that takes milliseconds.

use std::io;
use std::sync::Once;
use std::time::Duration;

use crate::system::process::{set_thread_niceness, set_thread_slice};

/// The niceness of threads that work on batches.
const BATCH_NICENESS: i32 = 10;
/// Their time slice. Every other thread has a shorter one and so interrupts them when it wakes
/// (from Linux 6.12 on; older ones ignore it).
const BATCH_SLICE: Duration = Duration::from_millis(100);

/// Lets other threads of the process go first while this one lives. If the system forbids it, the
/// log says so once; single requests beside batches then take longer.
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

fn set_slice() -> io::Result<()> {
    set_thread_slice(BATCH_NICENESS, BATCH_SLICE)
}

fn set_nice() -> io::Result<()> {
    set_thread_niceness(BATCH_NICENESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::thread_niceness;

    #[test]
    fn either_call_steps_back_and_only_this_thread() {
        let before = thread_niceness();
        for step in [set_slice, set_nice] {
            std::thread::spawn(move || {
                step().unwrap();
                assert_eq!(thread_niceness(), BATCH_NICENESS);
            })
            .join()
            .unwrap();
        }
        assert_eq!(thread_niceness(), before);
    }
}
