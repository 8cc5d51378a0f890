//! System calls that the standard library lacks, as safe functions with plain arguments; and how
//! locks are taken.
#![expect(
    unsafe_code,
    reason = "the one room for system calls: each is one call, and says why it is sound"
)]

pub mod echo;
pub mod lock;
pub mod memory;
pub mod process;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes free for this user on the disk where `path` lies.
///
/// # Errors
/// What the operating system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut facts = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `facts` has room for what statvfs writes.
    succeeded(unsafe { libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) } == 0)?;
    // SAFETY: statvfs succeeded, so it wrote all of it.
    let facts = unsafe { facts.assume_init() };
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Writes a part of a file to the disk and waits for it. Unlike `fsync` this makes nothing durable:
/// it writes no metadata, so that the `fsync`s of other files do not wait for it.
///
/// # Errors
/// What the operating system says; some file systems cannot do this.
pub fn write_back(file: &File, from: u64, length: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let (from, length) = (
        i64::try_from(from).map_err(too_large)?,
        i64::try_from(length).map_err(too_large)?,
    );
    let how = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: takes plain values and a descriptor that is open.
    succeeded(unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, how) } == 0)
}

/// Checks, without writing anything, that this user may make files in a folder. On a file system
/// that is mounted read-only, root may not either.
///
/// # Errors
/// Why not.
pub fn may_write_in(folder: &Path) -> io::Result<()> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: `path` ends with a zero byte and outlives the call.
    succeeded(unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } == 0)?;
    if folder.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// Exchanges what two paths of one file system name, at once: at no moment is either of them free.
///
/// # Errors
/// What the operating system says: one is a mount point, or the file system cannot do it.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let one = CString::new(one.as_os_str().as_bytes())?;
    let other = CString::new(other.as_os_str().as_bytes())?;
    let (here, how) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: both paths end with a zero byte and outlive the call.
    succeeded(unsafe { libc::renameat2(here, one.as_ptr(), here, other.as_ptr(), how) } == 0)
}

/// The effective user of this process.
pub fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// Waits until no other open file of the same file holds its lock (`flock`), and takes it until
/// `file` is closed.
///
/// # Errors
/// What the operating system says; [`io::ErrorKind::Interrupted`] when a signal came.
pub fn wait_for_lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` lives.
    succeeded(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } == 0)
}

/// Takes a lock of a whole file that belongs to the open file and conflicts with those of processes
/// (`fcntl`).
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when another holds it; else what the operating system says.
pub fn lock_record(file: &File) -> io::Result<()> {
    set_record_lock(file, libc::F_WRLCK)
}

/// Gives such a lock back. Closing the file alone would not: a child that is just being started has
/// it open, too.
///
/// # Errors
/// What the operating system says.
pub fn unlock_record(file: &File) -> io::Result<()> {
    set_record_lock(file, libc::F_UNLCK)
}

fn set_record_lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: zeros are a lock of the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and the lock outlives the call.
    succeeded(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0)
}

fn succeeded(done: bool) -> io::Result<()> {
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
