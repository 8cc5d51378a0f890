//! Migration under an order for continuity: a sector that keeps only pseudonyms gets those of the
//! next epoch, and nobody sees an identifier.
//!
//! An officer asks for one page after the other and signs a request for each. So every page is
//! checked like a re-identification, and the migration stops when the order is stopped.
//! [`crate::execution`] holds the steps that the two share. For each page
//!
//! 1. [`hand_out`] (vault): checks, counts, logs durably, and hands out the records of the old
//!    epoch's next chunks, still sealed to the authority;
//! 2. [`at_node`] (node): checks, logs durably, opens, and hands the identifiers back to the vault;
//! 3. [`take`] (vault): derives the old pseudonyms again, so that it need not believe the node, and
//!    derives the new ones; stores the new mappings, the pairs sealed to the sector system and the
//!    progress in one commit.
//!
//! The node and the officer learn counts only. The sector fetches the pairs ([`pairs`]).
//!
//! **Each mapping once.** The migration reads the epoch's chunks in the order of their sequences,
//! and from the first page on no merge moves a record to another sequence. Each step commits the
//! order's progress. If a side is killed in between, the officer asks again: a page that was handed
//! out and not taken is handed out again, and not counted again.

pub mod at_node;
pub mod hand_out;
pub mod pairs;
pub mod take;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::{Domain, LogPosition, MigrationPageDetails};
use crate::code::Code;
use crate::execution::at_node::{VaultHandout, VaultStatement};
use crate::execution::opening::WipedText;
use crate::execution::{self, FAILED, PresentedRequest, VerifiedRequest};
use crate::id::hex;
use crate::identifier::MAX_CANONICAL;
use crate::link::VaultQuestion;
use crate::order::book::Book;
use crate::order::{ActiveOrder, Continuity};
use crate::refusal::{Refusal, fault};
use crate::register::Id;
use crate::seal::chunk::Chunk;
use crate::store::ChunkKey;
use crate::vault::stored::open_chunk;
use crate::vault::{Epoch, SectorState, StartError, Vault};

/// Most mappings in one page.
pub const PAGE: usize = 10_000;

/// Refuses a page while the vault's disk is nearly full or its writer is stalled.
fn check_room(vault: &Vault) -> Result<(), Refusal> {
    if vault.is_short_of_space() {
        return Err(Refusal::unavailable(Code::AuditUnavailable));
    }
    vault.committer().admit().map_err(Refusal::unavailable)
}

/// An officer's request to the node: the order, the signed request (over an empty list), and the
/// sector.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// The order: JWS General JSON, as text.
    pub order: String,
    /// The officer's request: JWS General JSON, as text.
    pub request: String,
    /// Sector name.
    pub sector: String,
}

/// The node's request to the vault for a page.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EpochPageRequest {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The digest of all acts upon the authority's orders that the node holds.
    pub acts: String,
    /// What the node holds of the vault's log, as in a request for a release.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<String>,
    /// The officer's request.
    #[serde(deserialize_with = "crate::json::object")]
    pub asked: MigrateRequest,
}

impl VaultQuestion for EpochPageRequest {
    type Answer = EpochPage;
    const PATH: &'static str = "/v1/migrations/pages";
    const HANDS_OUT_MAPPINGS: bool = true;
}

/// A page of an epoch, its mappings still sealed to the authority.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EpochPage {
    /// SHA-256 of the vault's register, hex.
    pub register: String,
    /// Where the vault's entry about this page stands in its log.
    #[schema(value_type = Object)]
    pub entry: LogPosition,
    /// That entry, with the proof that it is in the vault's log (C2SP `tlog-proof`).
    pub proof: String,
    /// How many mappings were handed out under the order so far.
    pub used: u64,
    /// Which page it is, from 1.
    pub page: u32,
    /// Its records; empty when nothing is left to migrate.
    pub runs: Vec<RecordRun>,
    /// The segment records that the runs name, base64url.
    pub segments: Vec<String>,
    /// What the node lacks of the vault's log, as in a release.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tail: Option<String>,
}

impl std::fmt::Debug for EpochPage {
    /// Counts only: records begin with their pseudonym.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("entry", &self.entry)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

impl VaultHandout for EpochPage {
    fn statement(&self) -> VaultStatement<'_> {
        let Self {
            register,
            entry,
            proof,
            used,
            tail,
            ..
        } = self;
        VaultStatement {
            register,
            entry,
            proof,
            tail: tail.as_deref(),
            used: *used,
        }
    }
}

/// Records of one domain and segment.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRun {
    /// Their domain.
    pub domain: Domain,
    /// Which of the page's segments they are sealed under.
    pub segment: usize,
    /// The records, base64url.
    pub records: Vec<String>,
}

/// The identifiers that the node sends back: who is behind each record, in the order of the page.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenedPage {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The order's id.
    #[schema(value_type = String)]
    pub order: Uuid,
    /// The id of the request under which the page was handed out.
    #[schema(value_type = String)]
    pub request: Uuid,
    /// The page.
    pub page: u32,
    /// One for each record; `null` if it did not open.
    pub identifiers: Vec<Option<MigratedIdentifier>>,
}

impl VaultQuestion for OpenedPage {
    type Answer = MigrationProgress;
    const PATH: &'static str = "/v1/migrations/identifiers";

    fn capacity(&self) -> usize {
        // For each: scheme, canonical value, and the JSON around them.
        1_024 + self.identifiers.len() * (64 + MAX_CANONICAL + 32)
    }
}

/// An identifier on its way back into the vault. Never printed.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigratedIdentifier {
    /// Scheme id.
    pub scheme: String,
    /// Canonical value.
    #[schema(value_type = String)]
    pub value: WipedText,
}

/// How far a migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationProgress {
    /// Pairs made of this page.
    pub migrated: u64,
    /// Mappings of this page that did not open.
    pub skipped: u64,
    /// Mappings gone through under the order so far.
    pub seen: u64,
    /// Mappings that the epoch has.
    pub total: u64,
    /// Whether there is nothing left.
    pub done: bool,
}

/// The answer to an officer about one page.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateResponse {
    /// Order id.
    pub order: String,
    /// Sector name.
    pub sector: String,
    /// The old epoch.
    pub from: u32,
    /// The new epoch.
    pub to: u32,
    /// The page.
    pub page: u32,
    /// The number of the node's log entry about it; absent if there was nothing to open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entry: Option<u64>,
    /// How far it has come.
    pub progress: MigrationProgress,
}

/// The old and the new epoch of a migration, checked.
struct EpochPair {
    state: Arc<SectorState>,
    from: Arc<Epoch>,
    to: Arc<Epoch>,
}

impl EpochPair {
    /// # Errors
    /// [`Code::DomainClosed`] if the old epoch does not exist, the new one is not current, their
    /// granularities differ, or the old epoch's secret was destroyed; [`Code::EpochRetired`];
    /// [`Code::Irreversible`].
    fn open(vault: &Vault, sector: &str, epochs: Continuity) -> Result<Self, Refusal> {
        let closed = |why: &'static str| Refusal::new(Code::DomainClosed, why);
        let state = vault
            .sector(sector)
            .ok_or("a sector of the register has no state")
            .map_err(fault(FAILED))?
            .clone();
        let from = state
            .epoch(epochs.from)
            .ok_or_else(|| closed("the sector has no such epoch to leave"))?;
        let to = state.current();
        if to.row.epoch != epochs.to {
            return Err(closed("the epoch to go to is not the sector's current one"));
        }
        if from.is_retired() {
            return Err(Refusal::new(
                Code::EpochRetired,
                "its sector has retired the epoch to leave",
            ));
        }
        if !from.terms.reversible {
            return Err(Refusal::new(
                Code::Irreversible,
                "the epoch to leave stores no mapping",
            ));
        }
        if from.terms.granularity != to.terms.granularity {
            return Err(closed(
                "the two epochs separate domains otherwise, so that no pair belongs together",
            ));
        }
        if from.key.is_none() {
            return Err(closed("the secret of the epoch to leave was destroyed"));
        }
        Ok(Self { state, from, to })
    }

    fn id(&self) -> (u32, u32) {
        (self.state.number, self.from.row.epoch)
    }

    /// Reads whole chunks from `next` on, up to `until` and at most `most` records. If the first
    /// chunk alone, or the last chunk before `until`, exceeds `most`, only its first records count.
    fn read(
        &self,
        vault: &Vault,
        next: u32,
        until: Option<u32>,
        most: usize,
    ) -> Result<EpochSlice, Refusal> {
        let (sector, epoch) = self.id();
        let mut slice = EpochSlice {
            chunks: vec![],
            items: 0,
            until: next,
            is_cut: false,
        };
        let each = |key: ChunkKey, row: Vec<u8>| -> Result<bool, StartError> {
            if until.is_some_and(|until| key.sequence >= until) || slice.items == most {
                return Ok(false);
            }
            let chunk = open_chunk(vault.cipher(), key, row)?;
            let room = most - slice.items;
            if chunk.count() > room && slice.items > 0 && until.is_none() {
                return Ok(false);
            }
            let count = chunk.count().min(room);
            slice.items += count;
            slice.is_cut = count < chunk.count();
            slice.until = key.sequence.saturating_add(1);
            slice.chunks.push((chunk, count));
            Ok(true)
        };
        vault
            .store()
            .chunks_from(
                ChunkKey {
                    sector,
                    epoch,
                    sequence: next,
                },
                each,
            )
            .map_err(fault(FAILED))?;
        Ok(slice)
    }
}

/// Chunks of a page, and how many records of each belong to it.
struct EpochSlice {
    chunks: Vec<(Chunk, usize)>,
    items: usize,
    /// The sequence after the last chunk.
    until: u32,
    /// Whether only some records of the last chunk belong to the page, because the order allows no
    /// more.
    is_cut: bool,
}

/// The epochs of an order for continuity.
///
/// # Errors
/// [`Code::OrderRule`] for any other order.
fn epochs(order: &ActiveOrder) -> Result<Continuity, Refusal> {
    let other = || Refusal::new(Code::OrderRule, "only an order for continuity migrates");
    order.continuity().ok_or_else(other)
}

/// The checks that both sides make.
///
/// # Errors
/// Those of [`execution::verify`] and of [`epochs`].
fn verify(
    asked: &MigrateRequest,
    authority: &Id,
    book: &Book<'_>,
    clock_mark: i64,
) -> Result<VerifiedRequest, Refusal> {
    let MigrateRequest {
        order,
        request,
        sector,
    } = asked;
    let presented = PresentedRequest {
        order,
        request,
        sector,
        pseudonyms: &[],
    };
    let verified = execution::verify(&presented, authority, book, clock_mark)?;
    epochs(&verified.order)?;
    Ok(verified)
}

/// What both sides log about a page; the node adds where the vault's entry stands.
fn entry(
    verified: &VerifiedRequest,
    epochs: Continuity,
    page: u32,
    items: u64,
) -> MigrationPageDetails {
    MigrationPageDetails {
        authority: verified.order.authority().clone(),
        officer: verified.request.officer().clone(),
        order: verified.order.id().to_string(),
        order_digest: hex(verified.order.digest()),
        request: verified.request.id().to_string(),
        case: verified.order.case().to_owned(),
        sector: verified.sector.name.clone(),
        from: epochs.from,
        to: epochs.to,
        page,
        items,
        vault_entry: None,
        vault_path: vec![],
        vault_checkpoint: None,
    }
}
