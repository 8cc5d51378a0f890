//! What a restore prints.

use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::report::table;
use crate::backup::manifest::BackupManifest;
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
    let RestoredLog { replayed, cleared } = brought;
    if replayed.entries == 0 {
        text += &format!(
            "\nnothing that came after {} is in it; before the start read docs/operations.md#backups",
            manifest.taken
        );
        return text;
    }
    text += &format!(
        "\nand the log after it: {} entries, {} side records. Destroyed again: {} retired epochs, {} erased mappings, {} \
         salts, {} pages of pairs\n{}",
        HumanCount(replayed.entries),
        HumanCount(replayed.records),
        cleared.epochs,
        cleared.mappings,
        cleared.salts,
        cleared.pages,
        table(&replayed.lost)
    );
    text
}

/// The result for programs.
pub(super) fn json(
    store: &Path,
    manifest: &BackupManifest,
    brought: &RestoredLog,
    took: Duration,
) -> serde_json::Value {
    let RestoredLog { replayed, cleared } = brought;
    let lost: Vec<_> = replayed.lost.rows().collect();
    json!({
        "backup": manifest.id.as_str(),
        "entity": manifest.owner,
        "taken": manifest.taken.to_string(),
        "store": store,
        "bytes": manifest.length(),
        "entries": manifest.log.size,
        "entries_after": replayed.entries,
        "records_after": replayed.records,
        "destroyed": {
            "epochs": cleared.epochs,
            "mappings": cleared.mappings,
            "salts": cleared.salts,
            "pages": cleared.pages,
        },
        "lost": lost,
        "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}
