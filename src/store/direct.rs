//! Writing past the system's page cache.
//!
//! What RocksDB flushes is read again rarely, and late. Through the page cache each byte of it would be copied once more, into
//! pages that something else was cached in: that cost more than the write itself.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file that is opened to see; no ending that RocksDB knows.
const PROBE: &str = "direct.probe";

/// Whether the file system of a store's folder, which is made where it is not there, takes files that are written directly.
/// Some do not (tmpfs before Linux 6.6), and then RocksDB would not open.
pub(super) fn is_possible(folder: &Path) -> bool {
    // Where it cannot be made, RocksDB says why.
    let _ = fs::create_dir(folder);
    let probe = folder.join(PROBE);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(&probe);
    let _ = fs::remove_file(&probe);
    opened.is_ok()
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
        assert!(!is_possible(&folder.path().join("no/such/folder")));
    }
}
