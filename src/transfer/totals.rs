//! What became of the items so far.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many places of rejected items are kept for each code.
const PLACES: usize = 5;

/// What became of the items so far, in all runs together.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferTotals {
    /// Items answered.
    pub items: u64,
    /// Code → the items that were answered with it.
    pub rejected: BTreeMap<String, RejectedItems>,
    /// Time since the first item of this run was sent.
    #[serde(skip)]
    pub elapsed: Duration,
    /// Items answered in this run.
    #[serde(skip)]
    pub this_run: u64,
}

/// The items that were answered with one code.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedItems {
    /// How many.
    pub count: u64,
    /// The lines of the first ones in the input, from 1.
    pub lines: Vec<u64>,
}

impl TransferTotals {
    /// Items answered with a code.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().map(|items| items.count).sum()
    }

    /// Items answered with what was asked for.
    pub fn accepted(&self) -> u64 {
        self.items - self.rejections()
    }

    /// Whether no more items were rejected than answered: a file may say anything.
    pub(super) fn add_up(&self) -> bool {
        let mut counts = self.rejected.values().map(|items| items.count);
        let rejected = counts.try_fold(0, |sum: u64, count| sum.checked_add(count));
        rejected.is_some_and(|rejected| rejected <= self.items)
    }

    /// Notes an item that was answered with `code`, in line `line`.
    pub(super) fn reject(&mut self, code: &str, line: u64) {
        if !self.rejected.contains_key(code) {
            self.rejected
                .insert(code.to_owned(), RejectedItems::default());
        }
        if let Some(items) = self.rejected.get_mut(code) {
            items.count += 1;
            if items.lines.len() < PLACES {
                items.lines.push(line);
            }
        }
    }
}
