//! Where UTIs come from ([`UtiSource`]), and what a vault and an identity source say to one
//! another, version 1: the bytes of `POST /v1/utis`, in both directions. No I/O.
//!
//! ```text
//! request = version(1) ‖ nonce(16 random) ‖ parts(u16be) ‖ part…
//! part    = kind(1) ‖ sector UUID(16) ‖ LP(by) ‖ LP(scheme) ‖ values(u32be) ‖ LP(canonical value)…
//! answer  = version(1) ‖ the request's nonce(16) ‖ parts(u16be) ‖ outcome…
//! outcome = 0 ‖ count(u32be) ‖ 32 bytes each          one for each value, in order
//!         | 1 ‖ LP(code) ‖ retry-after(u32be)         seconds; 0 where waiting does not help
//! ```
//!
//! | kind | part | `by` | answered |
//! |---:|---|---|---|
//! | 1 | tokenize | the client | UTIs |
//! | 2 | migrate | the authority of the order | UTIs |
//! | 3, 4, 5 | reseal, rights, link | the officer | UTIs |
//! | 6 | probe: sector nil, no scheme, no values | empty | the check value, once |
//! | 7 | person key of the sector: no scheme, no values | empty | `K_person`, once |
//!
//! Parts are refused one by one, so that the refusal of one client does not refuse the others whose
//! requests travelled with it. Bytes that are not of this form are refused whole, on either side.
//! Canonical values, UTIs and keys lie in buffers that never grow and are wiped; `docs/spec.md`
//! says where libraries hold copies.

mod answer;
mod request;
mod source;

pub use answer::{AnswerWriter, PartOutcome, UtiAnswer};
pub use request::{EncodedPart, PartValues, UtiPart, UtiRequest, request_head};
pub use source::{PendingUtis, SourceView, UtiBatch, UtiContext, UtiKind, UtiSource};

use crate::code::Code;
use crate::identifier::MAX_CANONICAL;
use crate::refusal::Refusal;
use crate::seal::SealError;

/// The media type of request and answer.
pub const CONTENT: &str = "application/vnd.cloison.utis";
/// The path to which a request is posted.
pub const PATH: &str = "/v1/utis";
/// The version of the form.
pub const VERSION: u8 = 1;
/// Most values in one request, over all its parts.
pub const MAX_VALUES: usize = 100_000;
/// Most parts of one request.
pub const MAX_PARTS: usize = 1_000;
/// Most bytes of a request.
pub const MAX_REQUEST: usize = HEAD + MAX_PARTS * MAX_PART_HEAD + MAX_VALUES * (2 + MAX_CANONICAL);
/// Bytes of a UTI, a person key and a check value.
const ANSWER_LEN: usize = 32;
/// Version, nonce and number of parts.
const HEAD: usize = 1 + NONCE_LEN + 2;
/// Bytes of a nonce.
const NONCE_LEN: usize = 16;
/// Most bytes of an id.
const MAX_ID: usize = 64;
/// Kind, sector, by, scheme and number of values.
const MAX_PART_HEAD: usize = 1 + 16 + 2 * (2 + MAX_ID) + 4;

/// Binds an answer to its request: 16 random bytes.
pub type RequestNonce = [u8; NONCE_LEN];

/// Why bytes are not a request or an answer. It never repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UtisError {
    /// Another version of the form.
    #[error(
        "version {0} of the exchange of UTIs, and this side speaks version {VERSION}; use versions of cloison that speak the same"
    )]
    Version(u8),
    /// More than a request may have.
    #[error(
        "more than {MAX_VALUES} values or {MAX_PARTS} parts in one request; send several requests"
    )]
    TooLarge,
    /// A field that is cut, too long, not of its form, or left over.
    #[error("not in the form of the exchange of UTIs (docs/spec.md)")]
    Form,
    /// The answer is another request's, or has other parts or counts than the request.
    #[error("the answer is not the one to this request")]
    OtherRequest,
}

impl From<SealError> for UtisError {
    fn from(_: SealError) -> Self {
        Self::Form
    }
}

/// How the identity source refuses a request that it cannot read.
impl From<UtisError> for Refusal {
    fn from(error: UtisError) -> Self {
        let code = match error {
            UtisError::Version(_) => Code::WireVersion,
            UtisError::TooLarge => Code::TooLarge,
            UtisError::Form | UtisError::OtherRequest => Code::MalformedBody,
        };
        Self::new(code, error.to_string())
    }
}
