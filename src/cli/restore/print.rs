//! What a restore prints.

use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::next::RestoreWay;
use super::report::table;
use crate::backup::manifest::{BackupLogHead, BackupManifest};
use crate::entity::Role;
use crate::restore::RestoredLog;

/// The result for people.
pub(super) fn text(
    (store, role): (&Path, &Role),
    manifest: &BackupManifest,
    brought: &RestoredLog,
    took: Duration,
) -> String {
    let mut text = format!(
        "{} holds the backup {} of {}: {}, {} entries of {}, in {:.1} s",
        store.display(),
        manifest.id,
        manifest.owner,
        HumanBytes(manifest.length()),
        HumanCount(manifest.log.size),
        manifest.log.origin,
        took.as_secs_f64()
    );
    if brought.replayed.entries == 0 {
        text += &format!("\nnothing that came after {} is in it", manifest.taken);
        return text;
    }
    text + "\nand the log after it: " + &after(role, brought)
}

/// What came after the end of a backup or of a store.
fn after(
    role: &Role,
    RestoredLog {
        replayed, cleared, ..
    }: &RestoredLog,
) -> String {
    format!(
        "{} entries, {} side records. Destroyed again: {} retired epochs, {} erased mappings, {} salts, {} tags, {} pages \
         of pairs, the copies of {} orders\n{}",
        HumanCount(replayed.entries),
        HumanCount(replayed.records),
        cleared.epochs,
        cleared.mappings,
        cleared.salts,
        cleared.tags,
        cleared.pages,
        cleared.orders,
        table(role, &replayed.lost)
    )
}

/// The result of a restore in place, for people.
pub(super) fn in_place(
    (store, role): (&Path, &Role),
    head: &BackupLogHead,
    brought: &RestoredLog,
    took: Duration,
) -> String {
    format!(
        "{} is no longer behind: it had {} entries of {}, and got in {:.1} s {}",
        store.display(),
        HumanCount(head.size),
        head.origin,
        took.as_secs_f64(),
        after(role, brought)
    )
}

/// The same for programs.
pub(super) fn in_place_json(
    store: &Path,
    head: &BackupLogHead,
    brought: &RestoredLog,
    took: Duration,
) -> serde_json::Value {
    let mut said = json!({
        "store": store,
        "log": head.origin,
        "entries": head.size,
        "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    add_after(&mut said, brought);
    said
}

fn add_after(
    said: &mut serde_json::Value,
    RestoredLog {
        replayed, cleared, ..
    }: &RestoredLog,
) {
    let lost: Vec<_> = replayed.lost.rows().collect();
    said["entries_after"] = json!(replayed.entries);
    said["records_after"] = json!(replayed.records);
    said["destroyed"] = json!({
        "epochs": cleared.epochs,
        "mappings": cleared.mappings,
        "salts": cleared.salts,
        "tags": cleared.tags,
        "pages": cleared.pages,
        "orders": cleared.orders,
    });
    said["lost"] = json!(lost);
    said["since"] = json!(replayed.lost.since);
    said["until"] = json!(replayed.lost.until);
}

/// Where the store came from, for the log of its first start.
pub(super) fn origin(manifest: &BackupManifest, way: RestoreWay, brought: &RestoredLog) -> String {
    let base = format!("the backup {}, taken at {}", manifest.id, manifest.taken);
    match way {
        RestoreWay::WithoutPlaces => format!("{base}, without places"),
        RestoreWay::FromPlaces if brought.place.is_none() => {
            format!("{base}; no place held more of the log")
        }
        RestoreWay::FromPlaces => format!("{base}, and {}", origin_in_place(brought)),
    }
}

/// The same where the store was behind.
pub(super) fn origin_in_place(brought: &RestoredLog) -> String {
    let place = brought.place.as_ref();
    format!(
        "{} entries of the place {}",
        brought.replayed.entries,
        place.map_or_else(String::new, |place| place.display().to_string())
    )
}

/// The result for programs.
pub(super) fn json(
    store: &Path,
    manifest: &BackupManifest,
    brought: &RestoredLog,
    took: Duration,
) -> serde_json::Value {
    let mut said = json!({
        "backup": manifest.id.as_str(),
        "entity": manifest.owner,
        "taken": manifest.taken.to_string(),
        "store": store,
        "bytes": manifest.length(),
        "entries": manifest.log.size,
        "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    add_after(&mut said, brought);
    said
}
