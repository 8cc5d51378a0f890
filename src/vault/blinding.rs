//! Hides pseudonyms in the index that the store keeps: the store sees tags under a key that only
//! the vault has.

use crate::keys::IndexKey;
use crate::store::index::{IndexBlinding, PartitionId};

/// The key of one version of the storage secret.
pub(super) struct KeyedBlinding {
    pub(super) version: u32,
    pub(super) key: IndexKey,
}

impl IndexBlinding for KeyedBlinding {
    fn version(&self) -> u32 {
        self.version
    }

    fn places(&self, (sector, epoch): PartitionId) -> [u8; 256] {
        self.key.places(sector, epoch)
    }

    fn tags(
        &self,
        (sector, epoch): PartitionId,
        pseudonyms: &mut dyn Iterator<Item = &[u8; 16]>,
    ) -> Vec<[u8; 16]> {
        let mut tags = Vec::with_capacity(pseudonyms.size_hint().0);
        self.key
            .tags(sector, epoch, pseudonyms, |tag| tags.push(tag));
        tags
    }
}
