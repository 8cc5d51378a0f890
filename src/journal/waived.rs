//! What the owner of a followed log said that it no longer needs, and since when.
//!
//! A thief of the owner's machine could destroy its store and backups, and by one word what its
//! followers hold. So a follower acts on such a word a week after it came, by its own clock: so
//! long people have to notice. The words are kept in the folder, over restarts.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::prune::LogPlace;
use crate::files::put_in_place;
use crate::store::Shard;

/// The name of the file: a line for each word, `<shard> <index> <Unix seconds>`, oldest first.
const WAIVED: &str = "waived";
/// How long after a word it is acted upon, in seconds.
const BRAKE: i64 = 7 * 24 * 3_600;
/// Words that come sooner after one another are not kept: the next one counts.
const APART: i64 = 12 * 3_600;

/// The owner's words.
#[derive(Debug, Default)]
pub(super) struct WaivedEntries {
    path: PathBuf,
    words: Vec<WaivedWord>,
}

/// What lies before an entry is no longer needed.
#[derive(Debug, Clone, Copy)]
struct WaivedWord {
    before: LogPlace,
    since: i64,
}

impl WaivedWord {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let shard = Shard::parse(fields.next()?)?;
        let index = fields.next()?.parse().ok()?;
        let since = fields.next()?.parse().ok()?;
        let before = LogPlace { shard, index };
        fields.next().is_none().then_some(Self { before, since })
    }
}

impl WaivedEntries {
    /// What a folder has of them. A line that cannot be read counts for nothing.
    pub(super) fn of(folder: &Path) -> Self {
        let path = folder.join(WAIVED);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let words = text.lines().filter_map(WaivedWord::read).collect();
        Self { path, words }
    }

    /// Keeps a word, durably. Returns whether it is kept: it says more than the last one, which
    /// came long enough ago.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn note(&mut self, before: LogPlace, now: Timestamp) -> io::Result<bool> {
        let since = now.as_second();
        let is_kept = self
            .words
            .last()
            .is_none_or(|last| last.before < before && !(0..APART).contains(&(since - last.since)));
        if is_kept {
            self.words.push(WaivedWord { before, since });
            self.write()?;
        }
        Ok(is_kept)
    }

    /// Takes the last word that is a week old; those before it are forgotten with it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn take_due(&mut self, now: Timestamp) -> io::Result<Option<LogPlace>> {
        let is_due = |word: &WaivedWord| now.as_second() - word.since >= BRAKE;
        // The last one stays, so that the same word is not kept anew.
        let Some(last) = self.words.iter().rposition(is_due) else {
            return Ok(None);
        };
        let due = self.words[last].before;
        if last > 0 {
            self.words.drain(..last);
            self.write()?;
        }
        Ok(Some(due))
    }

    fn write(&self) -> io::Result<()> {
        let mut text = String::new();
        for WaivedWord { before, since } in &self.words {
            let _ = writeln!(text, "{} {} {since}", before.shard, before.index);
        }
        let beside = self.path.with_extension("new");
        put_in_place(&beside, &self.path, text.as_bytes(), 0o600)
    }
}
