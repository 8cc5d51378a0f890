//! The logs that a side keeps for several others: a folder for each.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;

use super::followed::{FollowFault, FollowedPlace, FollowerKey, folder_above};
use super::offer::{JournalHeld, JournalOffer};
use crate::system::lock::unpoisoned;
use crate::tlog::checkpoint_file::CheckpointFileError;

/// Begins what a folder that was opened needs, such as [`FollowedPlace::look_through`] once a day.
pub type PlaceKeeper = fn(&Arc<FollowedPlace>) -> io::Result<()>;

/// The folder of these folders, and the key that vouches.
pub struct FollowedLogs {
    folder: PathBuf,
    key: FollowerKey,
    /// How many bytes of one log are taken in a day (UTC).
    daily: u64,
    keeper: PlaceKeeper,
    logs: Mutex<BTreeMap<String, Arc<KeptLog>>>,
}

/// A log, as far as it was asked for. Its locks are its own, and only `opening` is held while a
/// disk is waited for: a folder on a disk that hangs holds up no other log, and no notice.
#[derive(Default)]
struct KeptLog {
    opening: Mutex<()>,
    place: Mutex<Option<Arc<FollowedPlace>>>,
    /// Why the last offer of it was not taken.
    trouble: Mutex<Option<String>>,
}

impl FollowedLogs {
    /// Logs in subfolders of `folder`, vouched for by `key`; of each, `daily` bytes a day are
    /// taken. `keeper` is called for each folder that is opened.
    pub fn new(folder: PathBuf, key: FollowerKey, daily: u64, keeper: PlaceKeeper) -> Self {
        Self {
            folder,
            key,
            daily,
            keeper,
            logs: Mutex::default(),
        }
    }

    /// Takes what the owner of a log (such as `demo/node/court`) offers, whose checkpoints `signer`
    /// signs, or nothing, and returns what is held then. The owner's name is one of the
    /// configuration's or the register's.
    ///
    /// # Errors
    /// [`FollowFault`]
    pub fn take(
        &self,
        (owner, signer): (&str, &VerifyingKey),
        offer: Option<&JournalOffer>,
        now: Timestamp,
    ) -> Result<JournalHeld, FollowFault> {
        let log = self.log(owner);
        let taken = self.place(owner, &log).and_then(|place| {
            if let Some(offer) = offer {
                place.accept(offer, signer, now)?;
            }
            place.prune(now);
            Ok(place.vouch(now))
        });
        // What was asked without an offer says nothing of the last one.
        if offer.is_some() || taken.is_err() {
            let trouble = taken.as_ref().err().filter(|fault| fault.is_notable());
            *unpoisoned(log.trouble.lock()) = trouble.map(ToString::to_string);
        }
        taken
    }

    /// Why logs are not kept, in words; empty while all are. Waits for no disk.
    pub fn troubles(&self) -> Vec<String> {
        let logs: Vec<_> = unpoisoned(self.logs.lock()).clone().into_iter().collect();
        let of = |(owner, log): (String, Arc<KeptLog>)| {
            let place = unpoisoned(log.place.lock()).clone();
            let found = place.and_then(|place| place.check_reading().err());
            let trouble = found.map(|fault| fault.to_string());
            let trouble = trouble.or_else(|| unpoisoned(log.trouble.lock()).clone())?;
            Some(format!("the log {owner} is not kept: {trouble}"))
        };
        logs.into_iter().filter_map(of).collect()
    }

    fn log(&self, owner: &str) -> Arc<KeptLog> {
        let mut logs = unpoisoned(self.logs.lock());
        logs.entry(owner.to_owned()).or_default().clone()
    }

    /// The folder of a log. One that was moved away, damaged as a rule, is begun anew.
    fn place(&self, owner: &str, log: &KeptLog) -> Result<Arc<FollowedPlace>, FollowFault> {
        let _opening = unpoisoned(log.opening.lock());
        let opened = unpoisoned(log.place.lock()).clone();
        if let Some(place) = opened.filter(|place| place.is_in_place()) {
            return Ok(place);
        }
        let key = FollowerKey {
            name: self.key.name.clone(),
            key: SigningKey::from_bytes(&self.key.key.to_bytes()),
        };
        let folder = self.folder.join(owner);
        self.make_folders(&folder)?;
        let opened = FollowedPlace::open(folder.clone(), owner.to_owned(), Some(key))?;
        let opened = Arc::new(opened.taking(self.daily));
        (self.keeper)(&opened).map_err(|error| CheckpointFileError::Io(folder, error))?;
        *unpoisoned(log.place.lock()) = Some(opened.clone());
        Ok(opened)
    }

    /// Makes the folders between the one of all logs, whose parent must be there, and that of a
    /// log.
    fn make_folders(&self, folder: &Path) -> Result<(), FollowFault> {
        let above = folder_above(&self.folder);
        if !self.folder.is_dir() && !above.is_dir() {
            return Err(FollowFault::Away(above.to_owned()));
        }
        let above = folder_above(folder);
        if above.is_dir() {
            return Ok(());
        }
        let made = DirBuilder::new().mode(0o700).recursive(true).create(above);
        made.and_then(|()| crate::files::sync_folders_above(above))
            .map_err(|error| CheckpointFileError::Io(above.to_owned(), error).into())
    }
}
