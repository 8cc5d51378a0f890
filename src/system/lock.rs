//! How locks are taken: in two ways, by what they guard.

use std::sync::LockResult;

/// The guard of a lock, also after a thread panicked while it held the lock.
///
/// Every caller keeps what its lock guards whole between any two steps that can panic, or ends the
/// process when its thread panics, as the writer and the keeper do. So a panic in one request does
/// not refuse all later ones.
pub fn unpoisoned<T>(taken: LockResult<T>) -> T {
    taken.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The guard of a lock over what a panic may have left half changed.
///
/// # Panics
/// If a thread panicked while it held the lock: no answer is better than one from half a change.
pub fn intact<T>(taken: LockResult<T>) -> T {
    taken.expect("a thread panicked while it changed what this lock guards")
}
