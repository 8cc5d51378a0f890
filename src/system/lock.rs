//! How locks are taken: the same everywhere.

use std::sync::LockResult;

/// The guard of a lock, also after a thread panicked while it held the lock.
///
/// Every caller keeps what its lock guards whole between any two steps that can panic, or ends the
/// process when its thread panics, as the writer and the keeper do. So a panic in one request does
/// not refuse all later ones.
pub fn unpoisoned<T>(taken: LockResult<T>) -> T {
    taken.unwrap_or_else(std::sync::PoisonError::into_inner)
}
