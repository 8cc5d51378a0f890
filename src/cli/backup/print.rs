//! What the commands about backups print.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::drill::DrillTimes;
use super::spoken;
use crate::backup::listed::ListedBackup;
use crate::backup::prune::PrunedBackups;
use crate::backup::sealed::SealedManifest;
use crate::backup::verify::GoodBackup;
use crate::backup::view::{BackupJobView, BackupList, BackupView};
use crate::entity::Role;

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1_000.0)
}

/// How far a job is.
pub(super) fn bytes_so_far(job: &BackupJobView) -> String {
    let copied = match job.copied {
        0 => String::new(),
        copied => format!(", {} copied", HumanBytes(copied)),
    };
    format!(
        "{} of {} read{copied}",
        HumanBytes(job.done),
        HumanBytes(job.all)
    )
}

/// A backup that was taken.
pub(super) fn created(job: &BackupJobView) -> String {
    format!(
        "backup {}: {}, of which {} were new to the repository, in {}",
        job.backup.as_deref().unwrap_or("?"),
        HumanBytes(job.all),
        HumanBytes(job.copied),
        seconds(job.milliseconds)
    )
}

/// A backup that a server verified.
pub(super) fn verified_there(job: &BackupJobView) -> String {
    let Some(entries) = job.entries else {
        return format!(
            "backup {} is whole, and sealed: {} compared with what was signed, in {}\n  nothing was opened: a holder of an \
             identity verifies the rest (`cloison backup verify --repository DIR --identity FILE`)",
            job.backup.as_deref().unwrap_or("?"),
            HumanBytes(job.all),
            seconds(job.milliseconds)
        );
    };
    format!(
        "backup {} is good: {}, {} entries of the log, in {}",
        job.backup.as_deref().unwrap_or("?"),
        HumanBytes(job.all),
        HumanCount(entries),
        seconds(job.milliseconds)
    )
}

/// A backup that this program verified.
pub(super) fn verified_here(good: &GoodBackup, took: Duration) -> String {
    let manifest = &good.manifest;
    let chunks = match good.chunks {
        Some(chunks) => format!("all of its {} chunks open, ", HumanCount(chunks)),
        // A node stores no mappings.
        None if stores_no_mappings(&manifest.owner) => String::new(),
        None => "its chunks were not opened (no --config), ".to_owned(),
    };
    format!(
        "backup {} is good: {}, {} entries of the log, {chunks}in {:.1} s\n  of {}, taken {} by cloison {}, register \
         version {}, sector secrets {}",
        manifest.id,
        HumanBytes(manifest.length()),
        HumanCount(good.entries),
        took.as_secs_f64(),
        manifest.owner,
        manifest.taken,
        manifest.program,
        manifest.register.0,
        versions(&manifest.secrets)
    )
}

/// Whether a store's owner is another side than the vault.
fn stores_no_mappings(owner: &str) -> bool {
    Role::of_owner(owner).is_some_and(|role| !role.is_vault())
}

/// A sealed backup of which this program compared the sealed bytes.
pub(super) fn unopened(sealed: &SealedManifest, took: Duration) -> String {
    let length = ListedBackup::Sealed(sealed.clone()).length();
    format!(
        "backup {} is whole, and sealed: {} compared with what was signed, in {:.1} s\n  of {}, taken {}, {} entries of the log; \
         nothing was opened: that takes --identity, with an identity of {}",
        sealed.id,
        HumanBytes(length),
        took.as_secs_f64(),
        sealed.owner,
        sealed.taken,
        HumanCount(sealed.log.size),
        sealed.recipients.join(" or ")
    )
}

/// The same as JSON. It does not say `good`: nobody looked inside.
pub(super) fn unopened_json(sealed: &SealedManifest) -> serde_json::Value {
    json!({
        "whole": true,
        "opened": false,
        "backup": sealed.id.as_str(),
        "entity": sealed.owner,
        "taken": sealed.taken.to_string(),
        "recipients": sealed.recipients,
        "entries": sealed.log.size,
    })
}

/// The same as JSON.
pub(super) fn verified_json(good: &GoodBackup, drill: Option<&DrillTimes>) -> serde_json::Value {
    let manifest = &good.manifest;
    json!({
        "good": true,
        "backup": manifest.id.as_str(),
        "entity": manifest.owner,
        "taken": manifest.taken.to_string(),
        "program": manifest.program,
        "format": manifest.format,
        "register_version": manifest.register.0,
        "secrets": manifest.secrets,
        "bytes": manifest.length(),
        "entries": good.entries,
        "chunks": good.chunks,
        "drill": drill.map(|drill| json!({
            "restored_milliseconds": u64::try_from(drill.restored.as_millis()).unwrap_or(u64::MAX),
            "started_milliseconds": u64::try_from(drill.start.took.as_millis()).unwrap_or(u64::MAX),
            "mappings": drill.start.mappings,
        })),
    })
}

/// What a drill took.
pub(super) fn drilled(drill: &DrillTimes) -> String {
    format!(
        "drill: restored in {:.1} s, started in {:.1} s, {} mappings",
        drill.restored.as_secs_f64(),
        drill.start.took.as_secs_f64(),
        HumanCount(drill.start.mappings)
    )
}

fn versions(versions: &[u32]) -> String {
    match versions {
        [] => "none".to_owned(),
        all => {
            let all: Vec<_> = all.iter().map(u32::to_string).collect();
            all.join(", ")
        }
    }
}

/// The backups, a line each.
pub(super) fn listed(list: &BackupList) -> String {
    let mut lines = vec![];
    if list.backups.is_empty() && list.fault.is_none() {
        lines.push(format!("no backup in {}", list.repository));
    }
    if !list.backups.is_empty() {
        lines.push(format!(
            "{:<26}{:<22}{:>10}{:>12}  {}",
            "BACKUP", "TAKEN (UTC)", "SIZE", "ENTRIES", "LAST FOUND GOOD"
        ));
    }
    lines.extend(list.backups.iter().map(line));
    for name in &list.foreign {
        lines.push(format!("WRONG  {name} among the manifests is none"));
    }
    if let Some(fault) = &list.fault {
        lines.push(format!("WRONG  {fault}"));
    }
    if let Some(job) = &list.running {
        let backup = job.backup.as_deref().unwrap_or_default();
        lines.push(format!(
            "now: {} {backup}, {}, for {}",
            job.kind,
            bytes_so_far(job),
            spoken(i64::try_from(job.milliseconds / 1_000).unwrap_or(i64::MAX))
        ));
    }
    if let Some(why) = list.ended.as_ref().and_then(|job| job.why.as_ref()) {
        lines.push(format!("the last work failed: {why}"));
    }
    lines.join("\n")
}

fn line(backup: &BackupView) -> String {
    if let (Some(fault), None) = (&backup.fault, &backup.taken) {
        return format!("{:<26}WRONG  {fault}", backup.backup);
    }
    let verified = backup.verified.as_deref().unwrap_or("never verified");
    let sealed = match backup.recipients.len() {
        0 => "",
        1 => "  sealed to 1 recipient",
        _ => "  sealed to several recipients",
    };
    let fault = backup.fault.as_ref();
    let mut told = fault.map_or(format!("{verified}{sealed}"), |fault| {
        format!("WRONG  {fault}")
    });
    if backup.other_branch {
        told += "  OF ANOTHER BRANCH of the log: never taken as the last one";
    }
    format!(
        "{:<26}{:<22}{:>10}{:>12}  {told}",
        backup.backup,
        backup.taken.as_deref().unwrap_or_default(),
        HumanBytes(backup.bytes.unwrap_or(0)).to_string(),
        HumanCount(backup.entries.unwrap_or(0)).to_string(),
    )
}

/// What a pruning did.
pub(super) fn pruned(pruned: &PrunedBackups) -> String {
    let mut lines: Vec<String> = pruned
        .removed
        .iter()
        .map(|id| {
            format!(
                "{} {id}",
                if pruned.dry_run {
                    "would remove"
                } else {
                    "removed"
                }
            )
        })
        .collect();
    let verb = if pruned.dry_run {
        "would be freed"
    } else {
        "freed"
    };
    lines.push(format!(
        "{} removed, {} kept, {} {verb}",
        pruned.removed.len(),
        pruned.kept.len(),
        HumanBytes(pruned.bytes)
    ));
    lines.join("\n")
}
