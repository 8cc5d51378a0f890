//! Watches the free space of the store's disk, which admitted requests and the log need.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Store;

/// Whether the disk has less free space than a reserve.
#[derive(Debug, Default)]
pub struct DiskSpace(AtomicBool);

impl DiskSpace {
    /// Whether the disk had less room than the reserve when it was last looked at.
    pub fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Checks whether a store's disk has less than `reserve` bytes free. Call it about once a
    /// second.
    pub fn watch(&self, store: &Store, reserve: u64) {
        let short = store.free_bytes().is_ok_and(|free| free < reserve);
        if short != self.0.swap(short, Ordering::Relaxed) {
            if short {
                tracing::error!("less than {} MiB free: requests are refused", reserve >> 20);
            } else {
                tracing::info!("there is room on the disk again: requests are served");
            }
        }
    }
}
