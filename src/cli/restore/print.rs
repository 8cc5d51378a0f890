//! What a restore prints.

use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::report::table;
use crate::backup::manifest::{BackupLogHead, BackupManifest};
use crate::restore::RestoredLog;

/// The result for people.
pub(super) fn text(
    store: &Path,
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
    text + "\nand the log after it: " + &after(brought)
}

/// What came after the end of a backup or of a store.
fn after(RestoredLog { replayed, cleared }: &RestoredLog) -> String {
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
        table(&replayed.lost)
    )
}

/// The result of a restore in place, for people.
pub(super) fn in_place(
    store: &Path,
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
        after(brought)
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

fn add_after(said: &mut serde_json::Value, RestoredLog { replayed, cleared }: &RestoredLog) {
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
