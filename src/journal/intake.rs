//! How much of a log a follower took on the present day, over restarts: who owns the log could else
//! fill the follower's disk whenever it starts again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::clock::day_of;

/// The name of the file: the day of Unix time and the bytes, each as wide as it can be, so that
/// each word is written over the one before at once.
const INTAKE: &str = "intake";

/// Bytes that were taken on a day (of Unix time).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct DayBytes {
    day: u32,
    bytes: u64,
}

/// What was taken on the last day on which anything was, and the file that keeps it.
#[derive(Debug, Default)]
pub(super) struct DayIntake {
    path: PathBuf,
    taken: DayBytes,
}

impl DayIntake {
    /// What a folder has of it. Nothing was taken where it cannot be read: only its user writes
    /// there.
    pub(super) fn of(folder: &Path) -> Self {
        let path = folder.join(INTAKE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut numbers = text.split_whitespace();
        let day = numbers.next().and_then(|day| day.parse().ok());
        let bytes = numbers.next().and_then(|bytes| bytes.parse().ok());
        let taken = day.zip(bytes).map(|(day, bytes)| DayBytes { day, bytes });
        let taken = taken.unwrap_or_default();
        Self { path, taken }
    }

    /// What is taken on the day with that much more, at the time `now`. The first of a day always
    /// goes, or one long record would bar all that comes behind it.
    ///
    /// # Errors
    /// What was brought on the day with it, where that is more than `most`.
    pub(super) fn with(&self, bytes: u64, most: u64, now: Timestamp) -> Result<DayBytes, u64> {
        let day = day_of(now);
        let before = if day == self.taken.day {
            self.taken.bytes
        } else {
            0
        };
        let bytes = before.saturating_add(bytes);
        if before > 0 && bytes > most {
            return Err(bytes);
        }
        Ok(DayBytes { day, bytes })
    }

    /// Counts what was taken. Where it cannot be written, only this process knows it.
    pub(super) fn take(&mut self, taken: DayBytes) {
        self.taken = taken;
        if let Err(error) = self.write() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "what was taken of a log today is not kept over a restart");
        }
    }

    /// Not synced: a power failure is not in the hands of those who bring entries.
    fn write(&self) -> io::Result<()> {
        let DayBytes { day, bytes } = self.taken;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let options = options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let text = format!("{day:>20} {bytes:>20}\n");
        options.open(&self.path)?.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_uses_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-28T08:15:00Z".parse().unwrap();
        let mut intake = DayIntake::of(folder.path());
        for _ in 0..3 {
            assert!(intake.with(90, 100, now).is_ok(), "the disk failed before");
        }
        intake.take(intake.with(90, 100, now).unwrap());
        assert_eq!(intake.with(11, 100, now), Err(101));
        let again = DayIntake::of(folder.path());
        assert_eq!(again.with(11, 100, now), Err(101), "over a restart");
        assert!(again.with(10, 100, now).is_ok());
    }
}
