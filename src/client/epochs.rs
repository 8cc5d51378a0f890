//! Lists and advances a sector's epochs.

use serde::{Deserialize, Serialize};

use super::{Client, ClientError, path};
use crate::epoch::AdvanceEpochRequest;

/// A sector's epochs, as the vault lists them.
#[derive(Debug, Deserialize, Serialize)]
pub struct SectorEpochs {
    /// The sector's name.
    pub sector: String,
    /// Oldest first.
    pub epochs: Vec<SectorEpoch>,
    /// Epochs that are stored and take effect as soon as enough places hold them, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// One epoch of a sector. (Its JSON has `overlap_until` also where there is no overlap; the vault's
/// answer leaves it out.)
#[derive(Debug, Deserialize, Serialize)]
pub struct SectorEpoch {
    /// Its number.
    pub epoch: u32,
    /// `current`, `overlap`, `closed` or `retired`.
    pub state: String,
    /// When it was opened, RFC 3339.
    pub opened_at: String,
    /// Until when it is still answered beside its successor, RFC 3339.
    pub overlap_until: Option<String>,
    /// The version of the sector secret that it derives from.
    pub secret_version: u32,
    /// Whether no other epoch derives from that version.
    pub own_secret: bool,
}

impl SectorEpochs {
    /// The epoch in which new answers are given.
    pub fn current(&self) -> u32 {
        self.epochs
            .iter()
            .map(|epoch| epoch.epoch)
            .max()
            .unwrap_or_default()
    }
}

impl Client {
    /// Asks the vault for a sector's epochs.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn epochs(&self, sector: &str) -> Result<SectorEpochs, ClientError> {
        self.get_json(&epochs_path(sector))
    }

    /// Has the vault begin a new epoch.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn advance_epoch(
        &self,
        sector: &str,
        how: &AdvanceEpochRequest,
    ) -> Result<SectorEpochs, ClientError> {
        self.post_json(&epochs_path(sector), how)
    }
}

fn epochs_path(sector: &str) -> String {
    path(&["v1", "sectors", sector, "epochs"])
}
