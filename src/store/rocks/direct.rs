//! Whether RocksDB can write past the system's page cache.
//!
//! RocksDB reads what it flushed rarely, and late. The page cache would copy each byte once more,
//! into pages that cached something else. That was measured to cost more than the write itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file that is written to find out. RocksDB does not know this ending.
const PROBE: &str = "direct.probe";

/// A block of a size and alignment that every disk takes.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Whether the file system of a store's folder takes direct writes. Makes the folder if it is
/// missing. Some file systems do not (tmpfs before Linux 6.6), and RocksDB would not open there.
pub(super) fn is_possible(folder: &Path) -> bool {
    // If it cannot be made, RocksDB reports why.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let probe = folder.join(PROBE);
    // A crash may have left one behind.
    let _ = fs::remove_file(&probe);
    let written = write(&probe);
    let _ = fs::remove_file(&probe);
    if let Err(error) = &written {
        tracing::info!(%error, "the store cannot be written directly: what is flushed goes through the system's page cache");
    }
    written.is_ok()
}

fn write(probe: &Path) -> io::Result<()> {
    let mut how = OpenOptions::new();
    how.write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_DIRECT | libc::O_NOFOLLOW);
    let mut file = how.open(probe)?;
    file.write_all(&Block([0; 4096]).0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        is_possible(&store);
        assert_eq!(fs::read_dir(store).unwrap().count(), 0);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(
            !is_possible(&folder.path().join("file/store")),
            "no folder can be there"
        );
    }
}
