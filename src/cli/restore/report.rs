//! `cloison restore report`: what the interval after a backup had acknowledged.

use indicatif::HumanCount;
use serde_json::json;

use super::{RestoreSourceArgs, place_fault};
use crate::restore::lost_since;
use crate::restore::report::LostInterval;
use crate::terminal::{CommandError, print, print_json, voice};

/// The arguments of `report`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison restore report /mnt/backup/vault --config vault.toml\n  \
    cloison restore report /mnt/backup/vault --config vault.toml --from /mnt/other/vault-journal\n\n\
    Reads the places' entries after the backup; restores nothing. The mappings of these identifiers are lost until the \
    clients send them again; they get the same pseudonyms then.")]
pub(super) struct RestoreReportArgs {
    #[command(flatten)]
    from: RestoreSourceArgs,
}

/// Runs the command.
///
/// # Errors
/// When the backup or the place cannot be used.
pub(super) fn run(args: &RestoreReportArgs) -> Result<(), CommandError> {
    let source = args.from.open()?;
    let most = source
        .places
        .iter()
        .max_by_key(|place| (place.shards.last().map(|s| s.shard), place.checkpoint.size));
    let place = most.ok_or_else(|| {
        CommandError::usage(
            "no place is there that holds the log after the backup",
            "name one with --from PLACE",
        )
    })?;
    let lost = lost_since(place, &source.manifest.log).map_err(place_fault)?;
    if voice().json {
        let rows: Vec<_> = lost.rows().collect();
        return print_json(&json!({
            "backup": source.manifest.id.as_str(),
            "rows": rows,
            "total": lost.total(),
        }));
    }
    print(table(&lost))
}

/// A line for each client, sector and hour.
pub(super) fn table(lost: &LostInterval) -> String {
    let total = lost.total();
    if total.requests == 0 {
        return "no request was acknowledged after the backup: nothing has to be sent again"
            .to_owned();
    }
    let mut lines = vec![format!(
        "{:<24}{:<28}{:<16}{:>10}{:>13}",
        "CLIENT", "SECTOR", "HOUR (UTC)", "REQUESTS", "IDENTIFIERS"
    )];
    lines.extend(lost.rows().map(|row| {
        format!(
            "{:<24}{:<28}{:<16}{:>10}{:>13}",
            row.of.client,
            row.of.sector,
            row.of.hour,
            HumanCount(row.count.requests).to_string(),
            HumanCount(row.count.identifiers).to_string()
        )
    }));
    lines.push(format!(
        "{} identifiers of {} requests: their mappings are lost until they are sent again",
        HumanCount(total.identifiers),
        HumanCount(total.requests)
    ));
    lines.join("\n")
}
