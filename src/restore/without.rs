//! A restore without places: no place holds the log after the backup, so what came later is lost,
//! and nobody knows what it was. Two operators allow it by a statement that names the backup; from
//! then on the side acts as if the worst had come ([`RestoreLoss`]).
//!
//! | what may have come | what holds |
//! |---|---|
//! | orders were revoked, or used up | orders issued before are over; their copies are destroyed |
//! | a sector left its epoch | every sector is closed until its epoch is confirmed |
//! | persons were erased | nothing is released until that was lodged again |
//! | quotas and look-ups of the day were used | they count as used up until the day (UTC) is over |
//! | entries were published | the log goes on in a new shard, which begins with `resume` |

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::audit::{AuditEvent, StatementNote};
use crate::backup::listed::ListedBackup;
use crate::clock::day_of;
use crate::code::Code;
use crate::commit::Change;
use crate::entity::{EntrySuspension, LostSuspension, RestoreLoss, RestoredBackup, Role};
use crate::epoch::statement::{self, Destruction, DestructionPayload};
use crate::identity;
use crate::quota::QuotaHolder;
use crate::refusal::{Refusal, fault};
use crate::register::{Id, Register};
use crate::statement::{Signed, Statement as _};
use crate::store::{RowBatch, Store, StoreError};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::path::LogResource;
use crate::tlog::source::{LogSource, LogSourceError, read_or_wider, split_bundle};
use crate::tlog::tree::{self, TILE_WIDTH, TileId};

/// A count that no limit allows: the day is used up.
const USED_UP: u64 = i64::MAX as u64;
/// How far sequences of chunks begin above those in the backup, because nobody knows how many were
/// given out since.
pub const UNKNOWN_CHUNKS: u64 = 1 << 26;

/// Permission to lose what a backup, or a copy of a store, lacks. Only [`allow`] and [`allow_copy`]
/// make one.
#[derive(Debug)]
pub struct AllowedLoss {
    /// Absent for a copy.
    backup: Option<RestoredBackup>,
    note: StatementNote,
    case: String,
}

/// Checks that two operators allow to restore this backup of this side without places.
///
/// # Errors
/// [`Code::StatementInvalid`], saying what does not fit.
pub fn allow(
    text: &str,
    register: &Register,
    role: &Role,
    restored: &ListedBackup,
    now: Timestamp,
) -> Result<AllowedLoss, Refusal> {
    let Signed {
        says,
        persons,
        text,
        ..
    } = statement::check(text, register, now)?;
    let wrong = |why: String| Err(DestructionPayload::refuse(why));
    let Destruction::RestoreWithoutPlaces {
        entity,
        backup,
        case,
    } = says.destruction
    else {
        return wrong("the statement is for something else".to_owned());
    };
    if entity != role.local_name() {
        return wrong(format!("the statement is about the store of {entity}"));
    }
    if backup != restored.id().as_str() {
        let id = restored.id();
        return wrong(format!(
            "the statement is about the backup {backup}, and not {id}"
        ));
    }
    Ok(AllowedLoss {
        backup: Some(RestoredBackup {
            id: backup,
            taken: restored.taken(),
            statement: text,
        }),
        note: StatementNote {
            statement: says.id.to_string(),
            signers: persons,
        },
        case,
    })
}

/// Checks that two operators allow the log of `entity` to go on from a copy of its store that ends
/// at `kept`.
///
/// # Errors
/// [`Code::StatementInvalid`], saying what does not fit.
pub fn allow_copy(
    text: &str,
    register: &Register,
    (entity, kept): (&str, &str),
    now: Timestamp,
) -> Result<AllowedLoss, Refusal> {
    let Signed { says, persons, .. } = statement::check(text, register, now)?;
    let Destruction::ResumeFromCopy {
        entity: named,
        kept: end,
        case,
    } = says.destruction
    else {
        return Err(DestructionPayload::refuse(
            "the statement is for something else",
        ));
    };
    if (named.as_str(), end.as_str()) != (entity, kept) {
        let why = format!(
            "the statement is about a copy of {named} that ends at {end}, and not of {entity} at {kept}"
        );
        return Err(DestructionPayload::refuse(why));
    }
    Ok(AllowedLoss {
        backup: None,
        note: StatementNote {
            statement: says.id.to_string(),
            signers: persons,
        },
        case,
    })
}

impl AllowedLoss {
    /// Refuses signers who are suspended: in the restored store, or by the other side's log since.
    ///
    /// # Errors
    /// [`Code::Suspended`], `Internal`.
    pub fn check_signers(&self, store: &Store, other: &OtherSide) -> Result<(), Refusal> {
        let rows = store.suspensions().map_err(fault("suspensions"))?;
        for (_, row) in rows {
            let row: EntrySuspension =
                serde_json::from_slice(&row).map_err(fault("suspensions"))?;
            if row.lifted.is_none() && self.note.signers.contains(&row.entry) {
                return Err(suspended(&row.entry));
            }
        }
        let shut_out = self.note.signers.iter().find(|id| other.suspends(id));
        shut_out.map_or(Ok(()), |id| Err(suspended(id)))
    }
}

fn suspended(signer: &Id) -> Refusal {
    let why = format!("the register entry of {signer}, who signed the statement, is suspended");
    Refusal::new(Code::Suspended, why)
}

/// An erasure that the other side logged after the backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LostErasure {
    /// When, RFC 3339.
    pub time: String,
    /// The id of the rights officers' request.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// The rights officers who signed.
    pub officers: Vec<String>,
}

/// What the other side's log knows of the time after a backup. It is believed as far as it
/// restricts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct OtherSide {
    /// The suspensions and lifts to be brought again, in order.
    pub suspensions: Vec<LostSuspension>,
    /// Sector name → the highest epoch that an entry names.
    pub epochs: BTreeMap<String, u32>,
    /// The erasures to be lodged again.
    pub erasures: Vec<LostErasure>,
    /// Whether its log was read.
    #[serde(skip)]
    is_known: bool,
}

/// How many suspended entries are kept for `restore state`.
const MOST_SUSPENDED: usize = 1_000;

/// The members of entries that this reads.
#[derive(Deserialize)]
struct OtherEntry {
    event: String,
    time: String,
    #[serde(default)]
    sector: String,
    #[serde(default)]
    request: String,
    #[serde(default)]
    officers: Vec<String>,
    #[serde(default)]
    to: Option<u32>,
    #[serde(default)]
    act: String,
    #[serde(default)]
    entry: String,
}

impl OtherSide {
    /// Whether the last that it knows of a register entry is that it was suspended.
    fn suspends(&self, entry: &Id) -> bool {
        let acts = self.suspensions.iter().rev();
        let last = acts.into_iter().find(|one| one.entry == entry.as_str());
        last.is_some_and(|one| one.act == "suspend")
    }

    /// The register entries of which the last that it knows is that they were suspended, and
    /// whether there are more.
    fn suspended(&self) -> (Vec<LostSuspension>, bool) {
        let last = self.suspensions.iter().map(|one| (&one.entry, one));
        let last: BTreeMap<_, _> = last.collect();
        let suspended = last.into_values().filter(|one| one.act == "suspend");
        let mut suspended = suspended.cloned();
        let kept = suspended.by_ref().take(MOST_SUSPENDED).collect();
        (kept, suspended.next().is_some())
    }

    /// Reads the other side's log: a copy, its store, or its server.
    ///
    /// # Errors
    /// [`LogSourceError`]
    pub fn read(source: &dyn LogSource, since: Timestamp) -> Result<Self, LogSourceError> {
        let mut known = Self {
            is_known: true,
            ..Self::default()
        };
        for shard in source.shards()? {
            let size = match source.entries(&shard)? {
                Some(size) => size,
                None => size_of(source, &shard)?,
            };
            for index in 0..size.div_ceil(TILE_WIDTH as u64) {
                let width = tree::width(TileId { level: 0, index }, size);
                let bundle = read_or_wider(source, &shard, LogResource::Entries(index, width))?;
                for entry in split_bundle(&bundle.unwrap_or_default()).unwrap_or_default() {
                    known.count(entry, since);
                }
            }
        }
        Ok(known)
    }

    fn count(&mut self, entry: &[u8], since: Timestamp) {
        let Ok(entry) = serde_json::from_slice::<OtherEntry>(entry) else {
            return;
        };
        let is_later = |time: &str| time.parse().is_ok_and(|time: Timestamp| time >= since);
        match (entry.event.as_str(), entry.to) {
            ("migration-reveal" | "migration-release" | "migrate", Some(to)) => {
                let known = self.epochs.entry(entry.sector).or_default();
                *known = to.max(*known);
            }
            ("suspension", _) if is_later(&entry.time) => {
                self.suspensions.push(LostSuspension {
                    time: entry.time,
                    act: entry.act,
                    entry: entry.entry,
                });
            }
            ("erase", _) if is_later(&entry.time) => {
                self.erasures.push(LostErasure {
                    time: entry.time,
                    request: entry.request,
                    sector: entry.sector,
                    officers: entry.officers,
                });
            }
            _ => {}
        }
    }
}

fn size_of(source: &dyn LogSource, shard: &str) -> Result<u64, LogSourceError> {
    let note = source.read(shard, LogResource::Checkpoint)?;
    let note = note.unwrap_or_default();
    Ok(Checkpoint::read(&note).map_or(0, |(checkpoint, _)| checkpoint.size))
}

/// The entry about a loss, and what its commit changes.
///
/// # Errors
/// [`StoreError`] of reading the store.
pub fn record(
    allowed: AllowedLoss,
    store: &Store,
    register: &Register,
    other: &OtherSide,
    now: Timestamp,
) -> Result<(AuditEvent, Vec<Change>), StoreError> {
    let restored = restored_at(store, allowed.backup.as_ref(), now)?;
    let AllowedLoss { backup, note, case } = allowed;
    let (case, statement) = (Some(case), Some(note));
    let event = AuditEvent::RestoreWithoutPlaces {
        backup: backup.as_ref().map(|backup| backup.id.clone()),
        taken: backup.as_ref().map(|backup| backup.taken.to_string()),
        restored: restored.to_string(),
        case,
        statement,
    };
    let (suspended, more_suspended) = other.suspended();
    let loss = RestoreLoss {
        backup,
        restored,
        epochs: least_epochs(store, register, other)?,
        confirmed: BTreeSet::new(),
        erased_again: false,
        suspended,
        more_suspended,
        other_side: other.is_known,
    };
    let (copied, used) = (store.copied_orders()?, used_up(register));
    let write: Change = Box::new(move |store: &Store, batch: &mut RowBatch| {
        store.put_restore_loss(batch, &loss.to_bytes());
        for (order, _) in &copied {
            store.delete_order_copies(batch, order);
        }
        for day in [day_of(now), day_of(restored)] {
            used.put(store, batch, day);
        }
    });
    Ok((event, vec![write]))
}

/// When the restore is, for orders: not before any time that the store has seen, since a new
/// machine's clock may be behind, and orders that were revoked meanwhile would stand.
fn restored_at(
    store: &Store,
    backup: Option<&RestoredBackup>,
    now: Timestamp,
) -> Result<Timestamp, StoreError> {
    let mark = Timestamp::from_millisecond(store.clock_mark()?).unwrap_or(now);
    let last = store.last_audit()?;
    let last = last.and_then(|(_, entry)| serde_json::from_slice::<EntryTime>(&entry).ok());
    let seen = [
        backup.map(|backup| backup.taken),
        last.map(|last| last.time),
    ];
    let latest = seen
        .into_iter()
        .flatten()
        .fold(now.max(mark), Timestamp::max);
    Ok(Timestamp::from_second(latest.as_second()).unwrap_or(latest))
}

/// The time of an entry.
#[derive(Deserialize)]
struct EntryTime {
    time: Timestamp,
}

/// How many epochs beyond the backup's the other side's log is believed: one that names a far later
/// one would close the sector for good.
const MOST_AHEAD: u32 = 1_000;

/// The least epoch of each sector that can be confirmed: what the backup has, or the other side
/// names.
fn least_epochs(
    store: &Store,
    register: &Register,
    other: &OtherSide,
) -> Result<BTreeMap<uuid::Uuid, u32>, StoreError> {
    let mut least = BTreeMap::new();
    for (sector, _) in store.sector_numbers()? {
        least.extend(store.epochs(sector)?.last().map(|row| (sector, row.epoch)));
    }
    for (name, epoch) in &other.epochs {
        if let Some(sector) = register.sector(name) {
            let known = least.entry(sector.uuid).or_default();
            if epoch.saturating_sub(*known) > MOST_AHEAD {
                tracing::warn!(
                    sector = name,
                    epoch,
                    "the other side's log names an epoch that is not believed"
                );
                continue;
            }
            *known = (*epoch).max(*known);
        }
    }
    Ok(least)
}

/// Those whose counts of the day are used up.
struct UsedUp {
    /// The accounts of the vault are among those of an identity source.
    quotas: Vec<QuotaHolder>,
    rights_officers: Vec<Id>,
}

fn used_up(register: &Register) -> UsedUp {
    UsedUp {
        quotas: identity::accounts(register).collect(),
        rights_officers: register.rights_officers.keys().cloned().collect(),
    }
}

impl UsedUp {
    fn put(&self, store: &Store, batch: &mut RowBatch, day: u32) {
        for holder in &self.quotas {
            store.put_quota_used(batch, holder, day, USED_UP);
        }
        for officer in &self.rights_officers {
            store.put_look_ups(batch, officer.as_str(), day, USED_UP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_knows_epochs_and_later_erasures() {
        let mut known = OtherSide::default();
        let since = "2026-11-28T08:00:00Z".parse().unwrap();
        for entry in [
            r#"{"event":"migration-reveal","time":"2026-11-28T07:00:00Z","sector":"health","from":1,"to":3}"#,
            r#"{"event":"migration-reveal","time":"2026-11-28T07:00:00Z","sector":"health","from":1,"to":2}"#,
            r#"{"event":"erase","time":"2026-11-28T07:59:59Z","sector":"health","request":"a","officers":["x"]}"#,
            r#"{"event":"erase","time":"2026-11-28T08:00:00.5Z","sector":"health","request":"b","officers":["x","y"]}"#,
            r#"{"act":"suspend","entry":"operator","event":"suspension","time":"2026-11-28T08:30:00Z"}"#,
            r#"{"act":"suspend","entry":"officer","event":"suspension","time":"2026-11-28T08:30:00Z"}"#,
            r#"{"act":"lift","entry":"officer","event":"suspension","time":"2026-11-28T08:40:00Z"}"#,
            r#"{"event":"start","time":"2026-11-28T09:00:00Z"}"#,
            "no entry",
        ] {
            known.count(entry.as_bytes(), since);
        }
        assert_eq!(known.epochs, BTreeMap::from([("health".to_owned(), 3)]));
        let requests: Vec<_> = known.erasures.iter().map(|one| &one.request).collect();
        assert_eq!(requests, ["b"]);
        let suspends = |id: &str| known.suspends(&Id::parse(id).unwrap());
        assert!(suspends("operator") && !suspends("officer") && !suspends("auditor"));
    }

    #[test]
    fn a_list_of_suspended_entries_that_was_cut_says_so() {
        let suspended = |count: usize| {
            let suspensions = (0..count).map(|number| LostSuspension {
                time: "2026-11-28T08:30:00Z".to_owned(),
                act: "suspend".to_owned(),
                entry: format!("client-{number}"),
            });
            let known = OtherSide {
                suspensions: suspensions.collect(),
                ..OtherSide::default()
            };
            let (kept, is_cut) = known.suspended();
            (kept.len(), is_cut)
        };
        assert_eq!(suspended(MOST_SUSPENDED), (MOST_SUSPENDED, false));
        assert_eq!(suspended(MOST_SUSPENDED + 1), (MOST_SUSPENDED, true));
    }

    #[test]
    fn a_restore_is_no_earlier_than_what_the_store_has_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-28T08:00:00Z");
        assert_eq!(restored_at(&store, None, now).unwrap(), now);
        let mut batch = RowBatch::default();
        store.put_clock_mark(&mut batch, at("2026-11-28T09:00:00.5Z").as_millisecond());
        store.commit(batch).unwrap();
        let restored = restored_at(&store, None, now).unwrap();
        assert_eq!(restored, at("2026-11-28T09:00:00Z"), "the clock is behind");
    }
}
