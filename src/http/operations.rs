//! What each operation of the control listeners may take: the most bytes of its body, and the lane
//! that it goes in. In one table, by the name that the operation has in the log.

use super::admission::Lane;

/// The bounds of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct OperationBounds {
    /// The most bytes of its body.
    pub(super) body: usize,
    /// Its lane.
    pub(super) lane: Lane,
}

/// An order may have a megabyte ([`crate::jws::MAX_TEXT`]); with it come the officer's request and
/// the list of 10 000 pseudonyms.
const WITH_AN_ORDER: usize = 2 << 20;
/// A page of migrations is 10 000 identifiers, one of segments 1 024 sealed keys.
const PAGE: usize = 4 << 20;

/// The bounds of an operation.
pub(super) fn bounds(operation: &str) -> OperationBounds {
    let (body, lane) = match operation {
        "unseal" | "drill" => (8 << 10, Lane::Work),
        "seal" | "seal-status" => (0, Lane::Stops),
        // `order::act::MAX_ACT`, as a string in JSON.
        "order-act" => (24 << 10, Lane::Acts),
        // A thousand digests, and `order::book::step::MOST_BYTES` of acts, as strings in JSON.
        "exchange" => (512 << 10, Lane::Acts),
        "reidentify" | "release" | "migrate" | "migration-page" | "order-lodge" => {
            (WITH_AN_ORDER, Lane::Work)
        }
        "migration-take" | "segments" => (PAGE, Lane::Work),
        // A list of 1 000 pseudonyms.
        "look-up" => (256 << 10, Lane::Work),
        // `inspection::decision::MAX_STATEMENT`, as a string in JSON.
        "inspection-enter" | "inspection-close" => (128 << 10, Lane::Work),
        _ => (64 << 10, Lane::Work),
    };
    OperationBounds { body, lane }
}
