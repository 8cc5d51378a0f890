//! Checks the folders that a server will write in, before it makes anything: on a read-only file
//! system, or in another user's folder, the start ends before it leaves half a store.

use std::io;
use std::path::Path;

use crate::config::LogConfig;
use crate::system;
use crate::terminal::CommandError;

const HINT: &str = "nothing was made. Name a folder that this user may write in: the units in ops/ write below /var/lib only \
                    (docs/operations.md, \"As a service\")";

/// Checks the store's folder, the second place of the last checkpoint, and where the other side's
/// checkpoints are kept.
///
/// # Errors
/// For the first place that cannot be written.
pub(super) fn check(store: &Path, log: &LogConfig) -> Result<(), CommandError> {
    may_fill("[store] path", store)?;
    may_fill("[audit] cosigned", &log.cosigned_in(store))?;
    match &log.second {
        Some(second) if second.is_dir() => may_write("[audit] second", second),
        // The folder that it lies in must exist. Without it the other disk is not mounted, and a
        // new folder would look like a first start.
        Some(second) => may_write("[audit] second", folder_of(second)),
        None => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Checks a folder, or its closest parent that exists.
fn may_fill(what: &str, folder: &Path) -> Result<(), CommandError> {
    let mut there = folder;
    while !there.exists() && there != Path::new(".") {
        there = folder_of(there);
    }
    may_write(what, there)
}

fn may_write(what: &str, folder: &Path) -> Result<(), CommandError> {
    system::may_write_in(folder).map_err(|error| {
        let message = format_args!(
            "{what}: nothing can be written in {}: {error}",
            folder.display()
        );
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory => CommandError::new(message, HINT),
            // A disk or a remote machine may come back.
            _ => CommandError::temporary(message, HINT),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn log(second: Option<PathBuf>) -> LogConfig {
        LogConfig {
            second,
            ..LogConfig::default()
        }
    }

    #[test]
    fn what_is_missing_is_looked_for_above_but_not_the_second_places_folder() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("data/vault");
        check(&store, &log(None)).unwrap();
        check(&store, &log(Some(place.path().join("checkpoint")))).unwrap();
        let refused = check(&store, &log(Some(place.path().join("other/checkpoint")))).unwrap_err();
        assert!(
            refused
                .message()
                .starts_with("[audit] second: nothing can be written in"),
            "{refused}"
        );
        std::fs::write(place.path().join("data"), "a file").unwrap();
        assert!(
            check(&store, &log(None))
                .unwrap_err()
                .message()
                .starts_with("[store] path")
        );
        std::fs::remove_file(place.path().join("data")).unwrap();
        assert_eq!(
            place.path().read_dir().unwrap().count(),
            0,
            "nothing was made"
        );
    }
}
