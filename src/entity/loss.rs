//! What holds at a side whose log lost entries for good: it was restored without places, or went on
//! from a copy of its store (`audit resume --after-restore`). Its store lacks what came later, and
//! no log says what that was.
//!
//! So the side acts as if the worst had come: every order that it may have known as revoked or used
//! up is over, every sector may have left its epoch, every erasure may be missing. People end each
//! of these by a statement of two operators ([`crate::losses`]). The row is state, so it is in the
//! log's side record and in each later backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Grant;
use crate::code::Code;
use crate::refusal::Refusal;
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// What holds since the last restore without places, as the store keeps it (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreLoss {
    /// The backup that was restored; absent where a copy of the store was brought back by other
    /// means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<RestoredBackup>,
    /// When the store was restored; whole seconds. Orders that were not issued later are over.
    pub restored: Timestamp,
    /// Sector → the highest epoch that the backup or the other side's log names. No lower one is
    /// confirmed.
    #[serde(default)]
    pub epochs: BTreeMap<Uuid, u32>,
    /// The sectors whose epoch was confirmed since; every other one is closed, also one that a
    /// later register brings.
    #[serde(default)]
    pub confirmed: BTreeSet<Uuid>,
    /// Whether lost erasures were lodged again; nothing is released before.
    #[serde(default)]
    pub erased_again: bool,
    /// The register entries that the other side's log names as suspended after the backup; at most
    /// a thousand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspended: Vec<LostSuspension>,
    /// Whether it names more than those.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_suspended: bool,
    /// Whether the other side's log was named at the restore.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_side: bool,
}

/// A suspension of a register entry, or its lift, that the other side logged after the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LostSuspension {
    /// When, RFC 3339.
    pub time: String,
    /// `suspend` or `lift`.
    pub act: String,
    /// The id of the register entry.
    pub entry: String,
}

/// The backup that was restored, and who allowed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredBackup {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// The statement that allowed to restore it, as it was signed.
    pub statement: String,
}

impl RestoreLoss {
    /// The row of a store, if it was ever restored without places.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn of(store: &Store) -> Result<Option<Self>, StoreError> {
        let read = |value: Vec<u8>| {
            serde_json::from_slice(&value).map_err(|_| StoreError::Corrupt("state-meta"))
        };
        store.restore_loss()?.map(read).transpose()
    }

    /// The row's value.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and times are JSON")
    }

    /// Refuses an order that was not issued after the restore, or does not say when.
    ///
    /// # Errors
    /// [`Code::OrderBeforeRestore`].
    pub(crate) fn check_order(&self, issued: Option<Timestamp>) -> Result<(), Refusal> {
        if issued.is_some_and(|issued| issued > self.restored) {
            return Ok(());
        }
        let why = format!(
            "this side was restored at {}, and no longer knows what was done under or upon earlier orders: its authority \
             has to sign a new one (`cloison order new` states when it is issued)",
            self.restored
        );
        Err(Refusal::new(Code::OrderBeforeRestore, why))
    }

    fn check_sector(&self, sector: Uuid) -> Result<(), Refusal> {
        if self.confirmed.contains(&sector) {
            return Ok(());
        }
        let why = "the vault was restored, and may have left this epoch before: two operators have to confirm it";
        Err(Refusal::new(Code::EpochUnconfirmed, why).come_back_in(60))
    }

    fn check_erasures(&self) -> Result<(), Refusal> {
        if self.erased_again {
            return Ok(());
        }
        let why = "this side was restored, and erasures since the backup are lost: two operators have to say that they \
                   were lodged again";
        Err(Refusal::new(Code::ErasuresMissing, why).come_back_in(60))
    }
}

/// That row in memory, for the decision about each request.
pub(super) struct CurrentLoss(RwLock<Option<Arc<RestoreLoss>>>);

impl CurrentLoss {
    /// That of the store.
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(RwLock::new(RestoreLoss::of(store)?.map(Arc::new))))
    }
}

impl super::Entity {
    /// What holds since the last restore without places, if there was one. A confirmation counts
    /// once enough places hold its entry.
    pub fn restore_loss(&self) -> Option<Arc<RestoreLoss>> {
        let loss = unpoisoned(self.core.loss.0.read()).clone()?;
        if self.log().withholds_nothing() {
            return Some(loss);
        }
        let mut held = RestoreLoss::clone(&loss);
        let withheld = |sector| self.log().withholds(&Grant::Confirmation(sector));
        for sector in self.register().sectors.values() {
            if withheld(Some(sector.name.clone())) {
                held.confirmed.remove(&sector.uuid);
            }
        }
        held.erased_again &= !withheld(None);
        Some(Arc::new(held))
    }

    /// Takes a row that is durable.
    pub(crate) fn put_restore_loss(&self, loss: RestoreLoss) {
        *unpoisoned(self.core.loss.0.write()) = Some(Arc::new(loss));
    }

    /// Refuses to answer in a sector whose epoch nobody has confirmed after a restore without
    /// places.
    ///
    /// # Errors
    /// [`Code::EpochUnconfirmed`].
    pub(crate) fn check_confirmed(&self, sector: Uuid) -> Result<(), Refusal> {
        let loss = self.restore_loss();
        loss.map_or(Ok(()), |loss| loss.check_sector(sector))
    }

    /// Refuses to release and to open while erasures may be missing after a restore without places.
    ///
    /// # Errors
    /// [`Code::ErasuresMissing`].
    pub(crate) fn check_erasures(&self) -> Result<(), Refusal> {
        let loss = self.restore_loss();
        loss.map_or(Ok(()), |loss| loss.check_erasures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss() -> RestoreLoss {
        RestoreLoss {
            backup: Some(RestoredBackup {
                id: "20261128T081500Z-1f3a9c07".to_owned(),
                taken: "2026-11-28T08:15:00Z".parse().unwrap(),
                statement: "{}".to_owned(),
            }),
            restored: "2026-11-28T09:00:00Z".parse().unwrap(),
            epochs: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            erased_again: false,
            suspended: vec![],
            more_suspended: false,
            other_side: false,
        }
    }

    #[test]
    fn only_orders_that_were_issued_later_stand() {
        let check = |issued: Option<&str>| {
            let issued = issued.map(|time| time.parse().unwrap());
            loss().check_order(issued).map_err(|refusal| refusal.code())
        };
        let over = Err(Code::OrderBeforeRestore);
        assert_eq!(check(None), over);
        assert_eq!(check(Some("2026-11-28T08:59:59Z")), over);
        assert_eq!(check(Some("2026-11-28T09:00:00Z")), over);
        assert_eq!(check(Some("2026-11-28T09:00:01Z")), Ok(()));
    }

    #[test]
    fn a_sector_is_closed_until_it_is_confirmed_and_releases_wait_for_erasures() {
        let (mut loss, sector) = (loss(), Uuid::from_u128(7));
        assert!(loss.check_sector(sector).is_err() && loss.check_erasures().is_err());
        loss.confirmed.insert(sector);
        loss.erased_again = true;
        assert!(loss.check_sector(sector).is_ok() && loss.check_erasures().is_ok());
        assert!(loss.check_sector(Uuid::from_u128(8)).is_err());
        let written = r#"{"backup":{"id":"20261128T081500Z-1f3a9c07","taken":"2026-11-28T08:15:00Z","statement":"{}"},"restored":"2026-11-28T09:00:00Z","epochs":{},"confirmed":["00000000-0000-0000-0000-000000000007"],"erased_again":true}"#;
        assert_eq!(String::from_utf8(loss.to_bytes()).unwrap(), written);
        let read: RestoreLoss = serde_json::from_slice(&loss.to_bytes()).unwrap();
        assert_eq!(read, loss);
    }
}
