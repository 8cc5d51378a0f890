//! The figures of an inspection: the events in its sectors, counted from the log entry by entry, so
//! that everyone with a copy of the log counts the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::object::InspectionObject;
use crate::audit::counted::CountedMembers;

/// The figures of one sector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorFigures {
    /// Tokenization requests.
    pub batches: u64,
    /// Identifiers that were answered.
    pub items: u64,
    /// Identifiers that were rejected.
    pub rejected: u64,
    /// Re-identification, by `authority/order`: an order's id names it only within its authority.
    pub orders: BTreeMap<String, OrderFigures>,
    /// Look-ups by rights officers.
    pub look_ups: u64,
    /// Requests to erase that were carried out.
    pub erasures: u64,
}

/// The figures of one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFigures {
    /// Its id.
    pub order: String,
    /// Its authority.
    pub authority: String,
    /// `judicial`, `statutory` or `force-majeure`; empty in entries of versions that did not log
    /// it.
    pub basis: String,
    /// Case reference.
    pub case: String,
    /// Requests of officers.
    pub requests: u64,
    /// Pseudonyms asked for.
    pub items: u64,
    /// Mappings handed out (vault) or received (node).
    pub mappings: u64,
}

/// Refusals of one actor with one code.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefusalGroup {
    /// Who was refused.
    pub actor: String,
    /// What for.
    pub operation: String,
    /// Why.
    pub code: String,
}

/// The figures of an inspection's object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectionFigures {
    /// Entries counted.
    pub entries: u64,
    /// By sector.
    pub sectors: BTreeMap<String, SectorFigures>,
    /// Refusals with their number. Refusals name no sector, so these are those of the object's
    /// actors, or of its sectors' clients.
    pub refusals: Vec<(RefusalGroup, u64)>,
}

/// Counts entries.
#[derive(Default)]
pub struct FigureCounter {
    figures: InspectionFigures,
    refusals: BTreeMap<RefusalGroup, u64>,
}

impl FigureCounter {
    /// Counts an entry, if it is of the object.
    pub fn add(&mut self, object: &InspectionObject, entry: &[u8]) {
        if !object.covers(entry) {
            return;
        }
        // The object covers entries only, and an entry with members of other types counts nothing.
        let Some(found) = CountedMembers::read(entry) else {
            return;
        };
        self.figures.entries += 1;
        if found.event == "refuse" {
            let refused = RefusalGroup {
                actor: found.actor,
                operation: found.operation,
                code: found.code,
            };
            *self.refusals.entry(refused).or_default() += found.count;
            return;
        }
        if found.sector.is_empty() {
            return;
        }
        let sector = self.figures.sectors.entry(found.sector).or_default();
        match found.event.as_str() {
            "tokenize" => {
                sector.batches += found.requests;
                sector.items += found.accepted;
                sector.rejected += found.rejected;
            }
            "release" | "reveal" => {
                let order = found.order.unwrap_or_default();
                let of_order = sector
                    .orders
                    .entry(format!("{}/{order}", found.authority))
                    .or_default();
                of_order.order = order;
                of_order.requests += 1;
                of_order.items += found.items;
                of_order.mappings += found.mappings;
                (of_order.authority, of_order.basis, of_order.case) =
                    (found.authority, found.basis, found.case);
            }
            "look-up" => sector.look_ups += 1,
            "erase" => sector.erasures += 1,
            _ => {}
        }
    }

    /// The figures so far.
    pub fn figures(self) -> InspectionFigures {
        InspectionFigures {
            refusals: self.refusals.into_iter().collect(),
            ..self.figures
        }
    }
}
