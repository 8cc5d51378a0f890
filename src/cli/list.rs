//! Lists that commands take: one entry a line, from a file or from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::lines;
use crate::terminal::CommandError;

/// The most bytes of a list: enough for more pseudonyms than a request may have.
const MOST: u64 = 64 << 20;

/// An entry of a list.
pub(super) struct ListEntry {
    /// Its place, for messages: `pseudonyms.txt:7`.
    pub(super) place: String,
    /// The entry itself.
    pub(super) text: String,
}

/// Reads a list; `-` is standard input.
///
/// # Errors
/// When it cannot be read, is too long, or has a line that is not UTF-8, which is named.
pub(super) fn read(path: &Path) -> Result<Vec<ListEntry>, CommandError> {
    if path == Path::new("-") {
        return read_from(io::stdin().lock(), Path::new("standard input"));
    }
    let file = File::open(path).map_err(|error| CommandError::file(path, &error))?;
    read_from(file, path)
}

fn read_from(input: impl Read, path: &Path) -> Result<Vec<ListEntry>, CommandError> {
    let called = path.display();
    let mut bytes = Vec::new();
    input
        .take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::file(path, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(CommandError::new(
            format_args!("{called}: is longer than 64 MiB"),
            "send less at once",
        ));
    }
    let entries = lines::entries(&bytes).map_err(|fault| {
        CommandError::new(
            format_args!("{called}: {fault}"),
            "write one entry a line and save the file as UTF-8",
        )
    })?;
    let owned = |entry: &lines::ListLine<'_>| ListEntry {
        place: format!("{called}:{}", entry.line),
        text: entry.text.to_owned(),
    };
    Ok(entries.iter().map(owned).collect())
}
