//! `[backup]`: where backups of the store go, how often, and which are kept.

use std::path::Path;

use super::optional_section;
use super::value::{Interval, Place};
use crate::backup::{BackupPlan, BackupRetention};
use crate::register::read::{Faults, TomlTable};

/// Backups that are kept where the configuration does not say.
const KEEP_LAST: u64 = 24;
/// Days for which one backup each is kept where the configuration does not say.
const KEEP_DAYS: u64 = 30;

/// Reads the section. Without it the server takes no backups.
pub(super) fn read(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<Option<BackupPlan>> {
    optional_section(root, "backup", faults, |table, faults| {
        let path = table.required::<Place>("path", faults);
        let every = table.optional::<Interval>("every", faults);
        let keep_last = table.or("keep-last", KEEP_LAST, faults);
        let keep_days = table.or("keep-days", KEEP_DAYS, faults);
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Some(BackupPlan {
            path: path?.within(folder),
            every: every.map(|at| at.value.0),
            retention: BackupRetention {
                keep_last: number(keep_last?.value) as usize,
                keep_days: number(keep_days?.value),
                longest: None,
                erased: None,
            },
        })
    })
}
