//! How much of a log a follower took on the present day, over restarts: who owns the log could else fill
//! the follower's disk whenever it starts again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The name of the file: the day of Unix time and the bytes, each as wide as it can be, so that each word
/// is written over the one before at once.
const INTAKE: &str = "intake";

/// What was taken on a day.
#[derive(Debug, Default)]
pub(super) struct DayIntake {
    path: PathBuf,
    day: i64,
    bytes: u64,
}

impl DayIntake {
    /// What a folder has of it. Nothing was taken where it cannot be read: only its user writes there.
    pub(super) fn of(folder: &Path) -> Self {
        let path = folder.join(INTAKE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut numbers = text.split_whitespace();
        let day = numbers.next().and_then(|day| day.parse().ok());
        let bytes = numbers.next().and_then(|bytes| bytes.parse().ok());
        let (day, bytes) = day.zip(bytes).unwrap_or_default();
        Self { path, day, bytes }
    }

    /// Counts that much more, at the time `now`, before it is taken. Returns what was brought on the day
    /// with it, where that is more than `most`: nothing is counted then. The first of a day always goes,
    /// or one long record would bar all that comes behind it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn count(
        &mut self,
        bytes: u64,
        most: u64,
        now: Timestamp,
    ) -> io::Result<Result<(), u64>> {
        let day = now.as_second().div_euclid(86_400);
        let before = if day == self.day { self.bytes } else { 0 };
        let bytes = before.saturating_add(bytes);
        if before > 0 && bytes > most {
            return Ok(Err(bytes));
        }
        // Not synced: a power failure is not in the hands of those who bring entries.
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let options = options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let text = format!("{day:>20} {bytes:>20}\n");
        options.open(&self.path)?.write_all(text.as_bytes())?;
        (self.day, self.bytes) = (day, bytes);
        Ok(Ok(()))
    }
}
