//! The logs that a side keeps for several others: a folder for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;

use super::followed::{FollowFault, FollowedPlace, FollowerKey};
use crate::system::lock::unpoisoned;

/// The folder of these folders, and the key that vouches.
pub struct FollowedLogs {
    folder: PathBuf,
    key: FollowerKey,
    open: Mutex<BTreeMap<String, Arc<FollowedPlace>>>,
}

impl FollowedLogs {
    /// Logs in subfolders of `folder`, vouched for by `key`.
    pub fn new(folder: PathBuf, key: FollowerKey) -> Self {
        let open = Mutex::default();
        Self { folder, key, open }
    }

    /// The place of the log of an owner (such as `demo/node/court`), whose name is one of the
    /// configuration's or the register's.
    ///
    /// # Errors
    /// [`FollowFault`]
    pub fn of(&self, owner: &str) -> Result<Arc<FollowedPlace>, FollowFault> {
        let mut open = unpoisoned(self.open.lock());
        if let Some(place) = open.get(owner) {
            return Ok(place.clone());
        }
        let key = FollowerKey {
            name: self.key.name.clone(),
            key: SigningKey::from_bytes(&self.key.key.to_bytes()),
        };
        let folder = self.folder.join(owner);
        let place = Arc::new(FollowedPlace::open(folder, owner.to_owned(), Some(key))?);
        open.insert(owner.to_owned(), place.clone());
        Ok(place)
    }
}
