//! Renewal: stored segments are sealed to the keys that the register lists *now*.
//!
//! The signed register says to which keys a sector's segments are sealed: every key of every
//! competent authority ([`crate::register::Register::recipients`]). A new key, a change of suite, a
//! further authority, one that leaves: each is a register that lists other keys than the segments
//! have recipients. Three tasks make up the difference, each page by page, each again as often as
//! one likes; what is done is what lies in the store.
//!
//! 1. **rewrap** (node and vault). A node opens the data key of a segment with a key that it has,
//!    and seals it to the keys that are lacking; the vault checks each against its own register,
//!    adds it to the record, signs that anew. Nothing else in a record changes, and its commitment
//!    proves that it is still the same data key.
//! 2. **prove** (node and vault). Each authority's node reads every segment back and proves with
//!    each of its own keys that it opens and is the one committed to. The vault notes which entry
//!    was proved.
//! 3. **drop** (vault alone). Recipients that the register no longer lists are taken out, where one
//!    that it lists was proved.
//!
//! No segment is ever taken away: orders' copies of erased mappings name theirs, and so are renewed
//! like everything else.
//!
//! Mappings are not touched, and no pseudonym changes. What the vault hands out are sealed data
//! keys without a single mapping.

pub mod node;
pub mod vault;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::link::VaultQuestion;
use crate::refusal::Refusal;
use crate::seal::segment::SegmentId;

/// Most segments that one page hands out.
pub const MOST_SEGMENTS: usize = 256;
/// Most recipients that one page asks for: what a node brings for it has to fit one request.
pub const MOST_RECIPIENTS: usize = 1_024;
/// Most segments that are looked at for one page.
pub const MOST_EXAMINED: usize = 4_096;

/// What is to be done with segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RenewalTask {
    /// Seal them to keys that are lacking.
    Rewrap,
    /// Prove that they open with the authority's own keys.
    Prove,
}

/// What a custodian, an officer or an operator asks for: one page of a task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// What to do.
    pub task: RenewalTask,
    /// Behind which segment to go on: `next` of the step before; absent at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What came of a page.
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
    /// Segments that lack a recipient and are sealed to no key of this authority: another one's
    /// node has to do it.
    pub beyond: u64,
    /// Segments that open with none of the keys that the node holds: others of its keys have to be
    /// unsealed first.
    pub sealed: u64,
    /// Recipients that did not open and were taken out: the task `rewrap` makes them anew.
    pub discarded: u64,
    /// Segments of which nothing could show that somebody opened them
    /// ([`SegmentPage::unprovable`]).
    #[serde(default)]
    pub unprovable: u64,
    /// Segments that are not signed by a key that vault and node know, or do not belong where they
    /// lie. Nothing was done to them.
    pub refused: u64,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a node asks of the vault: segments to work on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentQuestion {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// What the node is to do.
    pub task: RenewalTask,
    /// Behind which segment to go on (its id, hex).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Segments that a node of this authority has something to do with.
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
    /// Segments that an earlier version made, without the digest by which a proof is told from a
    /// claim: no proof of them is believed, and they keep every recipient.
    #[serde(default)]
    pub unprovable: u64,
    /// Segments that the vault itself did not sign.
    pub refused: u64,
    /// Where to go on (a segment's id, hex); absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a node did with a page.
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

/// Whether a recipient opens, which only its authority's node can tell. Never printed: `opening` is
/// what makes it believed.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientProof {
    /// The segment's id, hex.
    pub segment: String,
    /// The authority key's id.
    pub key: String,
    /// SHA-256 of the entry in the record, hex.
    pub entry: String,
    /// What shows that the node opened the segment, hex (32 bytes): nobody is believed who cannot.
    pub opening: String,
}

/// What the vault made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientsTaken {
    /// Recipients that were added; those that were there already do not count.
    pub added: u64,
    /// Recipients that are proved from now on.
    pub proved: u64,
    /// Recipients that were taken out because they do not open.
    pub discarded: u64,
}

/// What to drop: a page of segments from there on.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// SHA-256 of the node's register, hex; an operator has none to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// Behind which segment to go on: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What was dropped of a page.
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
    /// Segments that kept recipients which the register no longer lists, because none that it lists
    /// was proved.
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
    let bytes = HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        Refusal::new(
            Code::MalformedBody,
            "a segment's id is 32 hexadecimal digits",
        )
    })
}

/// What the log says of a fault of ours here.
const FAILED: &str = "segments could not be renewed";
