//! `[audit]`: who watches over the log beside the store. All of it is optional, the log itself is not.

use std::path::{Path, PathBuf};

use super::value::Place;
use crate::register::read::{Faults, Table};

/// `[audit]` of a vault or a node.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// A file on another disk than the store's that always holds the last checkpoint.
    pub second: Option<PathBuf>,
}

/// Reads the section; absent is all defaults.
pub(super) fn read(root: &mut Table<'_, '_>, folder: &Path, faults: &mut Faults) -> Option<LogConfig> {
    if !root.has("audit") {
        root.optional::<bool>("audit", faults); // makes the name a known one
        return Some(LogConfig::default());
    }
    let mut table = root.table("audit", faults)?;
    let second = table.optional::<Place>("second", faults);
    table.finish(faults);
    Some(LogConfig { second: second.map(|place| place.within(folder)) })
}
