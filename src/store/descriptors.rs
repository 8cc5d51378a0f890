//! How many files RocksDB may keep open. Left to itself it keeps every file of the database open, and a file that it cannot
//! open is to it a failed write, after which it takes no more.

use std::io;

/// What the store takes of the files that this process may have open: one in so many.
pub const SHARE: u64 = 4;

/// The least that RocksDB can work with: what flushes and compactions of a few columns hold at once.
const LEAST: u64 = 64;

/// Files that this process may have open.
///
/// # Errors
/// What the operating system says.
pub fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The store's share of them.
pub(super) fn share() -> i32 {
    let files = limit().map_or(LEAST, |limit| limit.rlim_cur / SHARE).max(LEAST);
    i32::try_from(files).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_and_never_too_few() {
        let own = limit().unwrap().rlim_cur;
        assert_eq!(u64::try_from(share()).unwrap(), (own / SHARE).max(LEAST));
    }
}
