//! Writing past the system's page cache.
//!
//! What RocksDB flushes is read again rarely, and late. Through the page cache each byte of it
//! would be copied once more, into pages that something else was cached in: that cost more than the
//! write itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file that is written to see; no ending that RocksDB knows.
const PROBE: &str = "direct.probe";

/// As much as every disk writes at once, aligned as it wants it.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Whether the file system of a store's folder, which is made where it is not there, takes files
/// that are written directly. Some do not (tmpfs before Linux 6.6), and then RocksDB would not
/// open.
pub(super) fn is_possible(folder: &Path) -> bool {
    // Where it cannot be made, RocksDB says why.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let probe = folder.join(PROBE);
    // One that a crash left behind.
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
