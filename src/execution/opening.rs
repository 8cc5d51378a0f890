//! The one place where a sealed mapping becomes an identifier.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::at_node::sealed;
use crate::audit::{AuditReceipt, Domain};
use crate::node::Node;
use crate::order::ActiveOrder;
use crate::refusal::Refusal;
use crate::register::Sector;
use crate::seal::mapping::{Location, Mapping, RecordView};
use crate::seal::record::Record;
use crate::seal::segment::{AuthorityPrivateKey, OpenedSegment};

/// The opened segments of the mappings that the vault handed out under one order.
///
/// It takes by value the order and the receipt of the node's own durable log entry. So nobody opens
/// a mapping without a valid order and an entry, and each order and each entry serves once:
///
/// ```
/// # use std::sync::Arc;
/// # use cloison::{audit::AuditReceipt, execution::opening::MappingOpener, node::Node};
/// # use cloison::{order::ActiveOrder, refusal::Refusal, register::Sector};
/// fn open(node: &Node, order: ActiveOrder, receipt: AuditReceipt, sector: Arc<Sector>) -> Result<MappingOpener, Refusal> {
///     MappingOpener::new(node, order, receipt, sector, &[])
/// }
/// ```
///
/// Without the entry it does not compile:
///
/// ```compile_fail,E0061
/// # use std::sync::Arc;
/// # use cloison::{audit::AuditReceipt, execution::opening::MappingOpener, node::Node};
/// # use cloison::{order::ActiveOrder, refusal::Refusal, register::Sector};
/// fn open(node: &Node, order: ActiveOrder, sector: Arc<Sector>) -> Result<MappingOpener, Refusal> {
///     MappingOpener::new(node, order, sector, &[])
/// }
/// ```
///
/// Nor does it with an entry that has served already:
///
/// ```compile_fail,E0382
/// # use std::sync::Arc;
/// # use cloison::{audit::AuditReceipt, execution::opening::MappingOpener, node::Node};
/// # use cloison::{order::ActiveOrder, refusal::Refusal, register::Sector};
/// fn open(node: &Node, orders: [ActiveOrder; 2], receipt: AuditReceipt, sector: Arc<Sector>) -> Result<MappingOpener, Refusal> {
///     let [first, second] = orders;
///     MappingOpener::new(node, first, receipt, sector.clone(), &[])?;
///     MappingOpener::new(node, second, receipt, sector, &[])
/// }
/// ```
pub struct MappingOpener {
    order: ActiveOrder,
    entry: u64,
    sector: Arc<Sector>,
    segments: Vec<Option<OpenedSegment>>,
}

impl MappingOpener {
    /// Opens the segment records (base64url). Mappings under a record that does not open stay
    /// closed.
    ///
    /// # Errors
    /// [`Code::Sealed`](crate::code::Code::Sealed) if the node was sealed while it asked the vault.
    pub fn new(
        node: &Node,
        order: ActiveOrder,
        receipt: AuditReceipt,
        sector: Arc<Sector>,
        segments: &[String],
    ) -> Result<Self, Refusal> {
        let segments = node.safe().open(node.now(), |keys| {
            let open = |text: &String| open_segment(node, keys, &sector, text);
            (!keys.is_empty()).then(|| segments.iter().map(open).collect())
        });
        Ok(Self {
            segments: segments.ok_or_else(sealed)?,
            order,
            entry: receipt.index(),
            sector,
        })
    }

    /// The order.
    pub(crate) fn order(&self) -> &ActiveOrder {
        &self.order
    }

    /// The number of the node's log entry about it.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }

    /// The sector.
    pub(crate) fn sector(&self) -> &Sector {
        &self.sector
    }

    /// Opens a record (base64url) of a domain that is sealed under one of the segments, if
    /// `is_asked` accepts it.
    pub(crate) fn mapping(
        &self,
        segment: usize,
        domain: &Domain,
        record: &str,
        is_asked: impl FnOnce(&RecordView<'_>) -> bool,
    ) -> Option<Mapping> {
        let segment = self.segments.get(segment)?.as_ref()?;
        let bytes = BASE64URL_NOPAD.decode(record.as_bytes()).ok()?;
        let record = RecordView::parse(&bytes).ok().filter(is_asked)?;
        record
            .open(
                segment,
                Location::new(self.sector.uuid, domain.epoch, &domain.scope()),
            )
            .ok()
    }
}

/// Opens a segment that a pinned key signed, that is committed to its data key, sealed to this
/// authority, and of this sector.
fn open_segment(
    node: &Node,
    keys: &[&AuthorityPrivateKey],
    sector: &Sector,
    text: &str,
) -> Option<OpenedSegment> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let record = Record::read(&bytes, node.segment_keys()).ok();
    let opened = record.and_then(|record| {
        keys.iter()
            .find_map(|key| OpenedSegment::of(&record, key).ok())
    });
    if opened.is_none() {
        tracing::warn!("a released segment did not open");
    }
    opened.filter(|segment| segment.sector() == sector.uuid)
}

/// An identifier's value: wiped on drop, never printed.
pub struct WipedText(pub Zeroizing<String>);

impl Serialize for WipedText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WipedText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| WipedText(Zeroizing::new(text)))
    }
}
