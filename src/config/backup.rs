//! `[backup]`: where backups of the store go, how often, and which are kept.

use std::path::Path;

use super::optional_section;
use super::value::{Interval, Place};
use crate::backup::envelope::BackupRecipients;
use crate::backup::{BackupPlan, BackupRetention};
use crate::register::AgeRecipient;
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
        let recipients = recipients(table, faults);
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
            recipients: recipients?,
        })
    })
}

/// To whom the repository is sealed. The repository is in clear only where nothing is said: a list
/// that names nobody is a fault.
fn recipients(
    table: &mut TomlTable<'_, '_>,
    faults: &mut Faults,
) -> Option<Option<BackupRecipients>> {
    const NAME: &str = "recipients";
    if !table.has(NAME) {
        return Some(None);
    }
    let known = faults.count();
    let list = table.list::<AgeRecipient>(NAME, faults);
    let line = list.first().map_or(table.line, |at| at.line);
    let texts: Vec<_> = list.into_iter().map(|at| at.value.0).collect();
    match BackupRecipients::read(&texts) {
        Ok(recipients) if faults.count() == known => Some(Some(recipients)),
        Ok(_) => None,
        Err(why) => {
            if faults.count() == known {
                let what = format!("{}: `{NAME}` {why}", table.called());
                faults.push(
                    line,
                    what,
                    "recipients = [\"age1…\"], as `age-keygen` prints",
                );
            }
            None
        }
    }
}
