//! The suspensions of register entries that this side has taken: in the store, and in memory for
//! the decision about each request.

use std::collections::HashSet;
use std::sync::{Arc, RwLock};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Grant;
use crate::id::Id;
use crate::register::{Register, SpkiDigest};
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// What ended a suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspensionEnd {
    /// The statement with this id lifted it.
    Statement(Uuid),
    /// The register of this version has neither the entry nor a key that it had.
    Register(u64),
}

/// A suspension as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Suspension)]
pub struct EntrySuspension {
    /// The statement's id.
    #[schema(value_type = String)]
    pub id: Uuid,
    /// The id of the register entry.
    #[schema(value_type = String)]
    pub entry: Id,
    /// Why, as one of the closed list.
    pub reason: String,
    /// Who signed.
    #[schema(value_type = Vec<String>)]
    pub signers: Vec<Id>,
    /// When it was taken here, RFC 3339.
    #[schema(value_type = String)]
    pub received: Timestamp,
    /// The statement as it was signed.
    pub text: String,
    /// The certificates' keys that the entry had then (SHA-256 of the SubjectPublicKeyInfo, hex),
    /// so that they stay out under another id too. In the store only, and not in its rows of
    /// earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub keys: Vec<String>,
    /// When it ended here, RFC 3339; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lifted: Option<Timestamp>,
    /// What ended it. In the store only, and not in its rows of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub lifted_by: Option<SuspensionEnd>,
}

impl EntrySuspension {
    /// Whether it shuts out this entry, as long as it lasts: by its id, or by a key that the entry
    /// had.
    pub(crate) fn shuts_out(&self, entry: &str, key: SpkiDigest) -> bool {
        self.entry.as_str() == entry || self.has_key(key)
    }

    /// Whether it lasts: it was not ended, or its end is among what is withheld
    /// ([`Log::withheld_now`](crate::audit::log::Log::withheld_now)).
    pub(crate) fn lasts(&self, withheld: &HashSet<Grant>) -> bool {
        if self.lifted.is_none() {
            return true;
        }
        match &self.lifted_by {
            Some(SuspensionEnd::Statement(id)) if !withheld.is_empty() => {
                withheld.contains(&Grant::Lift(id.to_string()))
            }
            _ => false,
        }
    }

    /// Whether the entry had this key when it was suspended.
    pub(crate) fn has_key(&self, key: SpkiDigest) -> bool {
        !self.keys.is_empty() && self.keys.contains(&HEXLOWER.encode(&key.0))
    }

    /// Whether a register has an entry of its id, or one with a key that it shuts out.
    fn concerns(&self, register: &Register) -> bool {
        let mut callers = register.callers();
        callers.any(|(id, key)| *id == self.entry || self.has_key(key))
    }

    /// The row's value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and times are JSON")
    }
}

/// All suspensions of a side.
pub(crate) struct EntrySuspensions(RwLock<Arc<Vec<EntrySuspension>>>);

impl EntrySuspensions {
    /// Those of the store, under a register. One that a later register ended lasts.
    pub(super) fn load(store: &Store, register: &Register) -> Result<Self, StoreError> {
        let read = |(_, value): (Uuid, Vec<u8>)| {
            let mut row: EntrySuspension = serde_json::from_slice(&value)
                .map_err(|_| StoreError::Corrupt("state-suspension"))?;
            if matches!(row.lifted_by, Some(SuspensionEnd::Register(by)) if by > register.version) {
                (row.lifted, row.lifted_by) = (None, None);
            }
            Ok(row)
        };
        let all = store.suspensions()?.into_iter().map(read);
        let all = all.collect::<Result<_, _>>()?;
        Ok(Self(RwLock::new(Arc::new(all))))
    }

    /// Those that end because a register has neither the entry nor a key that it had.
    pub(super) fn ended_by(&self, register: &Register, now: Timestamp) -> Vec<EntrySuspension> {
        let all = self.all();
        let ended = all
            .iter()
            .filter(|row| row.lifted.is_none() && !row.concerns(register));
        ended
            .cloned()
            .map(|row| EntrySuspension {
                lifted: Some(now),
                lifted_by: Some(SuspensionEnd::Register(register.version)),
                ..row
            })
            .collect()
    }

    /// All that were ever taken, also those that ended.
    pub(crate) fn all(&self) -> Arc<Vec<EntrySuspension>> {
        unpoisoned(self.0.read()).clone()
    }

    /// Takes rows that are durable: each in the place of the one with its id, or as a new one.
    pub(crate) fn put(&self, changed: Vec<EntrySuspension>) {
        let mut all = unpoisoned(self.0.write());
        let mut next = all.as_ref().clone();
        for row in changed {
            match next.iter_mut().find(|known| known.id == row.id) {
                Some(known) => *known = row,
                None => next.push(row),
            }
        }
        *all = Arc::new(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_withheld_is_none() {
        let id = Uuid::from_u128(7);
        let row = |lifted: Option<SuspensionEnd>| EntrySuspension {
            id: Uuid::from_u128(1),
            entry: Id::parse("bank").unwrap(),
            reason: "misuse".to_owned(),
            signers: vec![],
            received: Timestamp::UNIX_EPOCH,
            text: String::new(),
            keys: vec![],
            lifted: lifted.is_some().then_some(Timestamp::UNIX_EPOCH),
            lifted_by: lifted,
        };
        let (nothing, other) = (HashSet::new(), HashSet::from([Grant::Register(2)]));
        let this = HashSet::from([Grant::Lift(id.to_string())]);
        let lifted = row(Some(SuspensionEnd::Statement(id)));
        let lasts = [&nothing, &other, &this].map(|withheld| lifted.lasts(withheld));
        assert_eq!(lasts, [false, false, true]);
        assert!(!row(Some(SuspensionEnd::Register(2))).lasts(&this));
        assert!(row(None).lasts(&nothing));
    }
}
