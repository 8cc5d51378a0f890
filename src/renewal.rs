//! Renewal: stored segments are sealed to the keys that the register lists *now*.
//!
//! The signed register says to which keys a sector's segments are sealed: every key of every
//! competent authority ([`crate::register::Register::recipients`]). A new key, a change of suite, a
//! further authority, one that leaves: each is a register whose keys differ from the segments'
//! recipients. Three tasks close the difference. Each works page by page and can be repeated at any
//! time: the store itself says what is done.
//!
//! 1. **rewrap** (node and vault). A node opens a segment's data key with one of its keys and seals
//!    it to the keys that are lacking. The vault checks each new recipient against its own
//!    register, adds it to the record and signs the record again. Nothing else in the record
//!    changes, and its commitment proves that the data key is the same.
//! 2. **prove** (node and vault). Each authority's node opens every segment with each of its own
//!    keys and proves that the data key is the one committed to. The vault keeps which entry was
//!    proved.
//! 3. **drop** (vault alone). The vault takes out recipients that the register no longer lists,
//!    once a recipient that it lists was proved.
//!
//! No segment is ever deleted. An order's copy of an erased mapping names its segment, and so is
//! renewed with all others.
//!
//! Mappings and pseudonyms do not change. The vault hands out sealed data keys only, and no
//! mapping.

pub mod node;
pub mod vault;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::id::from_hex;
use crate::link::VaultQuestion;
use crate::refusal::Refusal;
use crate::seal::segment::SegmentId;

/// Most segments that one page hands out.
pub const MOST_SEGMENTS: usize = 256;
/// Most recipients that one page asks for: the node's answer has to fit into one request.
pub const MOST_RECIPIENTS: usize = 1_024;
/// Most segments that are looked at for one page.
pub const MOST_EXAMINED: usize = 4_096;

/// A task upon segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RenewalTask {
    /// Seal them to keys that are lacking.
    Rewrap,
    /// Prove that they open with the authority's own keys.
    Prove,
}

/// A request of a custodian or an officer to work on one page of a task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// What to do.
    pub task: RenewalTask,
    /// The segment after which to go on: `next` of the step before; absent at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The result of one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewalStep {
    /// Segments looked at.
    pub examined: u64,
    /// At the beginning: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Recipients added, or proved.
    pub recipients: u64,
    /// Segments that lack a recipient and are sealed to no key of this authority: another
    /// authority's node has to renew them.
    pub beyond: u64,
    /// Segments that no unsealed key of the node opens: its other keys have to be unsealed first.
    pub sealed: u64,
    /// Recipients that did not open and were taken out: the task `rewrap` makes them again.
    pub discarded: u64,
    /// Segments whose proofs could not be checked ([`SegmentPage::unprovable`]).
    #[serde(default)]
    pub unprovable: u64,
    /// Segments that no key known to vault and node signed, or that stand under another id or
    /// sector. Nothing was done to them.
    pub refused: u64,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A node's request to the vault for segments to work on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentQuestion {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The task.
    pub task: RenewalTask,
    /// The segment after which to go on (its id, hex).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Segments that a node of this authority has to work on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentPage {
    /// SHA-256 of the vault's register, hex.
    pub register: String,
    /// Records, base64url, in the order of their ids.
    pub segments: Vec<String>,
    /// Segments looked at.
    pub examined: u64,
    /// At the beginning: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Segments that lack a recipient and are sealed to no key of this authority.
    pub beyond: u64,
    /// Segments that an earlier version made without the digest that checks proofs: no proof of
    /// them is believed, and they keep every recipient.
    #[serde(default)]
    pub unprovable: u64,
    /// Segments that the vault itself did not sign.
    pub refused: u64,
    /// Where to go on (a segment's id, hex); absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The result of a node's work on a page.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentAnswer {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// Recipients to add.
    pub added: Vec<NewRecipient>,
    /// Recipients that were proved.
    pub proved: Vec<RecipientProof>,
    /// Recipients that do not open.
    pub broken: Vec<RecipientProof>,
}

/// A segment's data key, sealed to a further key.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecipient {
    /// The segment's id, hex.
    pub segment: String,
    /// The suite's number.
    pub suite: u8,
    /// The authority key's id.
    pub key: String,
    /// HPKE's `enc`, base64url.
    pub enc: String,
    /// The sealed data key, base64url.
    pub ct: String,
}

/// States whether a recipient opens, which only its authority's node can tell. Never printed,
/// because `opening` makes the statement believed.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientProof {
    /// The segment's id, hex.
    pub segment: String,
    /// The authority key's id.
    pub key: String,
    /// SHA-256 of the entry in the record, hex.
    pub entry: String,
    /// Shows that the node opened the segment, hex (32 bytes). The vault believes no statement
    /// without it.
    pub opening: String,
}

/// What the vault changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientsTaken {
    /// Recipients that were added, without those that were there already.
    pub added: u64,
    /// Recipients that are proved from now on.
    pub proved: u64,
    /// Recipients that were taken out because they do not open.
    pub discarded: u64,
}

/// A request to drop old recipients of one page of segments.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// SHA-256 of the node's register, hex; absent when an operator asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// The segment after which to go on: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The result of dropping old recipients of one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropReport {
    /// Segments looked at.
    pub examined: u64,
    /// At the beginning: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Recipients that were taken out.
    pub recipients: u64,
    /// Segments that kept old recipients because no recipient that the register lists was proved.
    pub unproved: u64,
    /// Segments that the vault itself did not sign. Nothing was done to them.
    pub refused: u64,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl VaultQuestion for SegmentQuestion {
    type Answer = SegmentPage;
    const PATH: &'static str = "/v1/segments";
}

impl VaultQuestion for SegmentAnswer {
    type Answer = RecipientsTaken;
    const PATH: &'static str = "/v1/segments/recipients";
}

impl VaultQuestion for DropRequest {
    type Answer = DropReport;
    const PATH: &'static str = "/v1/segments/drop";
}

fn segment_id(text: &str) -> Result<SegmentId, Refusal> {
    from_hex(text).ok_or_else(|| {
        Refusal::new(
            Code::MalformedBody,
            "a segment's id is 32 hexadecimal digits",
        )
    })
}

/// The context of an internal error in the log.
const FAILED: &str = "segments could not be renewed";
