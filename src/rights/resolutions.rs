//! A person's view: who had a pseudonym resolved, when and on what ground. It is found by the tags
//! beside the vault's `release` entries, so that the log itself names nobody. If an order delays
//! the notice, its resolutions are left out until then without a hint.
//!
//! An index leads from a tag, and from an order, to its entries. So the cost of a look-up depends
//! on what it finds, and not on the size of the log or on earlier look-ups.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FAILED;
use crate::access::RightsPermit;
use crate::audit::{AuditEvent, LookUpDetails, origin, salted, tags_root};
use crate::clock::day_of;
use crate::code::Code;
use crate::commit::Change;
use crate::order::book::Book;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, Sector};
use crate::store::{OrderKey, Store, TagKind, TreeRow};
use crate::vault::Vault;

/// Pseudonyms in one look-up, at most.
pub const MOST_ASKED: usize = 1_000;
/// Look-ups of one officer on one day (UTC), at most: an officer looks up persons who ask, and must
/// not browse.
pub const MOST_LOOK_UPS: u64 = 50;

/// A rights officer's question about pseudonyms, or about an order.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolutionQuestion {
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form, or in one that it had in an earlier epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pseudonyms: Vec<String>,
    /// The id of an order, in place of pseudonyms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub order: Option<Uuid>,
}

impl std::fmt::Debug for ResolutionQuestion {
    /// Counts only: a pseudonym has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResolutionQuestion")
            .field("items", &self.pseudonyms.len())
            .finish_non_exhaustive()
    }
}

/// A resolution: a release of the vault to an authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// When, RFC 3339.
    pub time: String,
    /// The order's authority.
    pub authority: String,
    /// The officer who asked.
    pub officer: String,
    /// The order's id.
    pub order: String,
    /// `judicial`, `statutory` or `force-majeure`; empty in entries of versions that did not log
    /// it.
    pub basis: String,
    /// Case reference.
    pub case: String,
    /// The log that holds the entry: the origin of its checkpoints.
    pub log: String,
    /// The entry's number in it, for `cloison audit prove`.
    pub index: u64,
}

/// The resolutions of one pseudonym, or under one order.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemResolutions {
    /// The pseudonym as it was asked about; absent if the question was about an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<Code>,
    /// Oldest first.
    pub resolutions: Vec<Resolution>,
}

impl ItemResolutions {
    fn new(pseudonym: Option<String>, found: Result<Vec<Resolution>, Code>) -> Self {
        match found {
            Ok(resolutions) => Self {
                pseudonym,
                code: None,
                resolutions,
            },
            Err(code) => Self {
                pseudonym,
                code: Some(code),
                resolutions: vec![],
            },
        }
    }
}

/// The answer to a rights officer.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonResolutions {
    /// Sector name.
    pub sector: String,
    /// One for each pseudonym asked about, in order; or one for the order.
    pub items: Vec<ItemResolutions>,
}

/// Finds who had the pseudonyms resolved, or what was resolved under the order. The look-up is
/// logged before it is answered.
///
/// # Errors
/// [`Code::UnknownSector`] also for a sector that is not the officer's; [`Code::EmptyBatch`],
/// [`Code::TooLarge`]; [`Code::LookUpLimit`]; [`Code::ClockBehind`]; [`Code::AuditUnavailable`].
pub fn look_up(
    vault: &Vault,
    permit: &RightsPermit,
    asked: &ResolutionQuestion,
) -> Result<PersonResolutions, Refusal> {
    let sector = check_question(vault, permit, asked)?;
    // A used-up day must not come back when the clock is set back.
    let (officer, now) = (&permit.officer.id, vault.steady_time()?);
    // Held from reading the count to the commit that raises it.
    let _alone = vault.lock_look_ups();
    let count = count_look_up(vault, officer, now)?;
    let reader = ResolutionReader {
        vault,
        book: Book::from(vault),
        trees: vault.store().trees().map_err(fault(FAILED))?,
    };
    let (items, tags) = match asked.order {
        Some(order) => (
            vec![ItemResolutions::new(
                None,
                Ok(reader.under(order, &asked.sector)?),
            )],
            vec![],
        ),
        None => reader.about(sector, &asked.pseudonyms)?,
    };
    let tags = salted(tags);
    let entry = LookUpDetails {
        actor: officer.clone(),
        sector: asked.sector.clone(),
        order: asked.order.map(|id| id.to_string()),
        items: asked.pseudonyms.len() as u64,
        found: items.iter().map(|item| item.resolutions.len() as u64).sum(),
        tags: tags_root(&tags),
    };
    let recorded =
        vault
            .committer()
            .record(now, AuditEvent::LookUp(Box::new(entry)), tags, vec![count]);
    recorded.map_err(not_logged("nothing is shown"))?;
    Ok(PersonResolutions {
        sector: asked.sector.clone(),
        items,
    })
}

/// The sector of the question, if the question is valid and the sector is the officer's.
fn check_question<'v>(
    vault: &'v Vault,
    permit: &RightsPermit,
    asked: &ResolutionQuestion,
) -> Result<&'v Arc<Sector>, Refusal> {
    let own = permit.officer.sectors.contains(&asked.sector);
    let sector = vault.register().sector(&asked.sector).filter(|_| own);
    let sector = sector.ok_or_else(|| {
        Refusal::new(
            Code::UnknownSector,
            "there is no such sector for this officer",
        )
    })?;
    match (asked.pseudonyms.len(), asked.order) {
        (0, None) => {
            return Err(Refusal::new(
                Code::EmptyBatch,
                "name pseudonyms, or an order",
            ));
        }
        (1.., Some(_)) => {
            return Err(Refusal::new(
                Code::MalformedBody,
                "either pseudonyms or an order, not both",
            ));
        }
        (MOST_ASKED.., _) if asked.pseudonyms.len() > MOST_ASKED => {
            return Err(Refusal::new(
                Code::TooLarge,
                "at most 1000 pseudonyms a request",
            ));
        }
        _ => {}
    }
    Ok(sector)
}

/// Counts one more look-up of an officer on that day. Just after midnight it stays the new day,
/// even if the clock steps back.
fn count_look_up(vault: &Vault, officer: &Id, now: Timestamp) -> Result<Change, Refusal> {
    let (day, officer) = (
        day_of(now.max(vault.committer().mark().time())),
        officer.to_string(),
    );
    let made = vault
        .store()
        .look_ups(&officer, day)
        .map_err(fault(FAILED))?;
    if made >= MOST_LOOK_UPS {
        let tomorrow = (i64::from(day) + 1) * 86_400;
        let wait = u32::try_from(tomorrow - now.as_second())
            .unwrap_or(1)
            .max(1);
        let why = format!("at most {MOST_LOOK_UPS} look-ups a day");
        return Err(Refusal::new(Code::LookUpLimit, why).come_back_in(wait));
    }
    Ok(Box::new(move |store, batch| {
        store.put_look_ups(batch, &officer, day, made + 1);
    }))
}

struct ResolutionReader<'a> {
    vault: &'a Vault,
    book: Book<'a>,
    trees: Vec<TreeRow>,
}

/// The members of a `release` entry that are shown.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ReleaseEntry {
    event: String,
    time: String,
    authority: String,
    officer: String,
    order: String,
    basis: String,
    case: String,
    sector: String,
}

impl ResolutionReader<'_> {
    /// The resolutions of pseudonyms, in order, and the tags of the valid ones.
    fn about(
        &self,
        sector: &Sector,
        pseudonyms: &[String],
    ) -> Result<(Vec<ItemResolutions>, Vec<[u8; 16]>), Refusal> {
        let (mut items, mut tags) = (vec![], vec![]);
        for text in pseudonyms {
            let found = match sector.parse_pseudonym(text) {
                Ok(parsed) => {
                    let tag = self.vault.audit_key().tag(sector.uuid, &parsed.pseudonym);
                    tags.push(tag);
                    let places = self
                        .vault
                        .store()
                        .tag_places(TagKind::Resolution, &tag)
                        .map_err(fault(FAILED))?;
                    // A person whom a request names twice was resolved once.
                    let entries: BTreeSet<u64> = places.iter().map(|place| place.entry).collect();
                    Ok(self.resolutions(entries, &sector.name)?)
                }
                Err(code) => Err(code),
            };
            items.push(ItemResolutions::new(Some(text.clone()), found));
        }
        Ok((items, tags))
    }

    /// All resolutions in a sector under orders of that id.
    fn under(&self, order: Uuid, sector: &str) -> Result<Vec<Resolution>, Refusal> {
        self.resolutions(
            self.vault
                .store()
                .order_entries(order)
                .map_err(fault(FAILED))?,
            sector,
        )
    }

    fn resolutions(
        &self,
        entries: impl IntoIterator<Item = u64>,
        sector: &str,
    ) -> Result<Vec<Resolution>, Refusal> {
        let found = entries
            .into_iter()
            .map(|number| self.resolution(number, sector));
        found.filter_map(Result::transpose).collect()
    }

    /// The resolution that an entry states, if it is of that sector and may be told.
    fn resolution(&self, number: u64, sector: &str) -> Result<Option<Resolution>, Refusal> {
        let found = self
            .vault
            .store()
            .audit_from(number, 1)
            .map_err(fault(FAILED))?
            .pop();
        match found.filter(|(found, _)| *found == number) {
            Some((_, entry)) => self.read(number, &entry, sector),
            None => Ok(None),
        }
    }

    fn read(&self, number: u64, entry: &[u8], sector: &str) -> Result<Option<Resolution>, Refusal> {
        let Ok(found) = serde_json::from_slice::<ReleaseEntry>(entry) else {
            return Ok(None);
        };
        if found.event != "release"
            || found.sector != sector
            || self.is_delayed(&found.authority, &found.order)?
        {
            return Ok(None);
        }
        // Trees of earlier shards come first; entries of the latest one may be newer than its row
        // was when it was read.
        let tree = self.trees.iter().rev().find(|tree| tree.first <= number);
        let owner = self.vault.log().owner();
        Ok(Some(Resolution {
            log: tree
                .map(|tree| origin::origin(owner, tree.shard))
                .unwrap_or_default(),
            index: number - tree.map_or(0, |tree| tree.first),
            time: found.time,
            authority: found.authority,
            officer: found.officer,
            order: found.order,
            basis: found.basis,
            case: found.case,
        }))
    }

    /// Whether an order delays the notice at this time.
    fn is_delayed(&self, authority: &str, order: &str) -> Result<bool, Refusal> {
        let Ok(order) = Uuid::try_parse(order) else {
            return Ok(false);
        };
        let inform_after = self
            .book
            .life(&OrderKey::new(authority, order))?
            .and_then(|life| life.inform_after);
        Ok(inform_after.is_some_and(|time: Timestamp| self.book.now() < time))
    }
}

/// How far the times of neighbouring entries may be out of order, in minutes: an entry has the time
/// when its request arrived.
const SLACK_MINUTES: i64 = 60;

/// The number of an entry before which all entries are older than `since`.
pub(crate) fn first_since(store: &Store, since: Timestamp) -> Result<u64, Refusal> {
    #[derive(Deserialize)]
    struct EntryTime {
        time: Timestamp,
    }
    let since = since - jiff::SignedDuration::from_mins(SLACK_MINUTES);
    let (mut low, mut high) = (
        0,
        store
            .last_audit()
            .map_err(fault(FAILED))?
            .map_or(0, |(number, _)| number + 1),
    );
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = store.audit_from(middle, 1).map_err(fault(FAILED))?.pop();
        let time = entry.and_then(|(_, entry)| serde_json::from_slice::<EntryTime>(&entry).ok());
        if time.is_some_and(|entry| entry.time < since) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
