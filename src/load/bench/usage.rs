//! CPU time and memory of another process, by the operating system's count.

use std::time::{Duration, Instant};

use crate::terminal::CommandError;

/// How long a process may work on after its last answer before that is an error.
const PATIENCE: Duration = Duration::from_secs(300);
/// A process is idle after this many consecutive looks in which it took less than [`IDLE_CPU`].
const LOOKS: u32 = 4;
const LOOK: Duration = Duration::from_millis(150);
const IDLE_CPU: Duration = Duration::from_millis(2);

/// CPU time that a process took since it began: user and system, all its threads, also those that
/// have ended. The same sum as in `/proc/PID/stat`, in nanoseconds instead of hundredths of a
/// second.
///
/// # Errors
/// When there is no such process.
pub fn cpu(id: u32) -> Result<Duration, CommandError> {
    let gone = || {
        CommandError::new(
            "the vault or its identity source has ended while it was measured",
            "run it by hand to see why",
        )
    };
    crate::system::process::cpu_time(id).ok_or_else(gone)
}

/// Waits until a process has nothing left to do (compaction, above all), and returns its CPU time.
///
/// # Errors
/// When it ended, or is still at work after five minutes.
pub fn cpu_when_idle(id: u32) -> Result<Duration, CommandError> {
    let begun = Instant::now();
    let (mut before, mut quiet) = (cpu(id)?, 0);
    while quiet < LOOKS {
        std::thread::sleep(LOOK);
        let now = cpu(id)?;
        quiet = if now.checked_sub(before).unwrap() < IDLE_CPU {
            quiet + 1
        } else {
            0
        };
        before = now;
        if begun.elapsed() > PATIENCE {
            return Err(CommandError::new(
                "the vault or its identity source is still at work after five minutes",
                "end whatever else loads it, and try again",
            ));
        }
    }
    Ok(before)
}

/// Resident memory of a process, in MiB (`VmRSS`).
///
/// # Errors
/// When there is no such process.
pub fn resident_mib(id: u32) -> Result<f64, CommandError> {
    let path = std::path::PathBuf::from(format!("/proc/{id}/status"));
    let text = std::fs::read_to_string(&path).map_err(|error| CommandError::file(&path, &error))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<f64> =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| {
        CommandError::new(
            "the system does not show VmRSS",
            "bench needs Linux's /proc",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_counts_what_its_threads_did_and_have_ended() {
        let id = std::process::id();
        let before = cpu(id).unwrap();
        let spin = || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(50) {
                std::hint::black_box(0);
            }
        };
        std::thread::spawn(spin).join().unwrap();
        assert!(cpu(id).unwrap().checked_sub(before).unwrap() >= Duration::from_millis(5));
        assert!(resident_mib(id).unwrap() > 1.0);
    }
}
