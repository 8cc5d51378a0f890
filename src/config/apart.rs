//! What a process writes lies apart: no folder in another. A restore, a pruning or a lost disk
//! would otherwise take the copy with the original.

use std::path::{Component, Path, PathBuf};

use super::LogConfig;
use crate::backup::BackupPlan;
use crate::register::read::Faults;

/// Finds folders that a side's configuration puts into one another.
pub(super) fn check_entity(
    store: &Path,
    log: &LogConfig,
    backup: Option<&BackupPlan>,
    line: usize,
    faults: &mut Faults,
) {
    let cosigned = log.cosigned_in(store);
    let remembers = if log.cosigned.is_some() {
        "`[audit] cosigned`"
    } else {
        "`[audit] cosigned` (beside the store unless named)"
    };
    let named = [
        ("`[store] path`", Some(store)),
        ("`[backup] path`", backup.map(|plan| &*plan.path)),
        ("`[audit] second`", log.second.as_deref()),
        ("`[audit] followed`", log.followed.as_deref()),
        (remembers, Some(&*cosigned)),
    ];
    check(&named, line, faults);
}

/// Finds folders, each beside its name, that lie in one another.
pub(super) fn check(named: &[(&str, Option<&Path>)], line: usize, faults: &mut Faults) {
    let folders = named
        .iter()
        .filter_map(|(name, path)| Some((*name, plain((*path)?))));
    let folders: Vec<_> = folders.collect();
    for (place, (name, path)) in folders.iter().enumerate() {
        for (other, around) in &folders[..place] {
            let what = if path == around {
                format!("{name} and {other} are the same folder")
            } else if path.starts_with(around) {
                format!("{name} lies in {other}")
            } else if around.starts_with(path) {
                format!("{other} lies in {name}")
            } else {
                continue;
            };
            faults.push(line, what, "a folder of its own for each, beside the other");
        }
    }
}

/// The path without `.` and `..`, by its names alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
