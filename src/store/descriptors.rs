//! How many files RocksDB may keep open. Without a limit it keeps every file of the database open.
//! If one does not open, RocksDB treats that as a failed write and refuses all later ones.

use crate::system::process::{LimitedResource, limit};

/// The store's share of the files that this process may have open: one in `SHARE`.
pub const SHARE: u64 = 4;

/// The least that RocksDB can work with: what flushes and compactions of a few columns hold at
/// once.
const LEAST: u64 = 64;

/// The store's share of the files that this process may have open.
pub(super) fn share() -> i32 {
    let files = limit(LimitedResource::OpenFiles)
        .map_or(LEAST, |limit| limit.present / SHARE)
        .max(LEAST);
    i32::try_from(files).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_and_never_too_few() {
        let own = limit(LimitedResource::OpenFiles).unwrap().present;
        assert_eq!(u64::try_from(share()).unwrap(), (own / SHARE).max(LEAST));
    }
}
