//! `cloison audit match VAULT IDENTITY…`: what the vault tokenized, and what it had derived.

use std::fmt::Write as _;

use indicatif::HumanCount;

use super::{each_entry, head, unreadable};
use crate::audit::derivations::{DerivationHour, DerivationsCheck, DerivationsReport};
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::source::LogSource;

/// Compares the vault's log with those of its identity sources, if the first of them is one.
///
/// # Errors
/// When a log cannot be read or is of another deployment, or an hour does not fit.
pub(super) fn run(
    vault: &dyn LogSource,
    identities: &[Box<dyn LogSource>],
    json: bool,
) -> Option<Result<(), CommandError>> {
    let first = identities.first()?;
    let first = shards(&**first).ok()?.into_iter().next()?;
    let check = DerivationsCheck::of_identity(&first.1)?;
    Some(compare(check, vault, identities).and_then(|report| show(&report, json)))
}

fn shards(source: &dyn LogSource) -> Result<Vec<(String, String, u64)>, CommandError> {
    let shards = source.shards().map_err(|error| unreadable(&error))?;
    let of_shard = |shard: String| {
        let head = head(source, &shard)?;
        Ok((shard, head.origin, head.size))
    };
    shards.into_iter().map(of_shard).collect()
}

fn compare(
    mut check: DerivationsCheck,
    vault: &dyn LogSource,
    identities: &[Box<dyn LogSource>],
) -> Result<DerivationsReport, CommandError> {
    let wrong = |origin: &str, wanted: &str| {
        CommandError::usage(
            format_args!("{origin} is not the log of {wanted}"),
            "name the vault's log first, then those of its identity sources, all of one deployment",
        )
    };
    for (shard, origin, size) in shards(vault)? {
        if !check.is_vaults(&origin) {
            return Err(wrong(&origin, "this deployment's vault"));
        }
        each_entry(vault, &shard, size, |_, entry| {
            check.vault_entry(entry);
            Ok(())
        })?;
    }
    for identity in identities {
        for (shard, origin, size) in shards(&**identity)? {
            if !check.note_identity(&origin) {
                return Err(wrong(&origin, "one of this deployment's identity sources"));
            }
            each_entry(&**identity, &shard, size, |_, entry| {
                check.identity_entry(entry);
                Ok(())
            })?;
        }
    }
    Ok(check.finish())
}

fn show(report: &DerivationsReport, json: bool) -> Result<(), CommandError> {
    if json {
        print_json(report)?;
    } else {
        print(text(report))?;
    }
    let unfitting = report.unfitting().count();
    if unfitting == 0 {
        return Ok(());
    }
    Err(CommandError::new(
        match unfitting {
            1 => "one hour does not fit".to_owned(),
            more => format!("{more} hours do not fit"),
        },
        "name the log of every identity source, and copies up to the same time; UTIs that are still unexplained \
         belong to requests that came to nothing, as the vault's own log says of its restarts, or are guesses",
    ))
}

/// A line for each hour, organisation and sector, and the sum.
fn text(report: &DerivationsReport) -> String {
    let mut text = String::new();
    for hour in &report.hours {
        let fits = match (hour.unexplained, hour.missing) {
            (0, 0) => "fits".to_owned(),
            (0, missing) => format!(
                "DOES NOT FIT: {} tokenized, and derived by none of these sources",
                HumanCount(missing)
            ),
            (unexplained, _) => format!(
                "DOES NOT FIT: {} derived, and not tokenized",
                HumanCount(unexplained)
            ),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}:00  {}  {}  tokenized {}, derived {}: {fits}",
            hour.hour,
            hour.organisation,
            hour.sector,
            HumanCount(hour.tokenized),
            HumanCount(hour.derived),
        );
    }
    let sum = |of: fn(&DerivationHour) -> u64| HumanCount(report.hours.iter().map(of).sum());
    let identities: Vec<_> = report.identities.iter().map(String::as_str).collect();
    text + &format!(
        "{} identifiers tokenized or migrated, {} UTIs derived by {}",
        sum(|hour| hour.tokenized),
        sum(|hour| hour.derived),
        identities.join(", ")
    )
}
