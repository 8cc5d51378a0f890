//! `cloison audit match VAULT IDENTITY…`: what the vault tokenized, and what it had derived.

use std::fmt::Write as _;

use indicatif::HumanCount;

use super::{each_entry, head};
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
    let first = match first_origin(&**identities.first()?) {
        Ok(first) => first?,
        Err(error) => return Some(Err(error)),
    };
    let check = DerivationsCheck::of_identity(&first)?;
    Some(compare(check, vault, identities).and_then(|report| show(&report, json)))
}

/// The origin of a log's first shard; `None` if it has none.
fn first_origin(source: &dyn LogSource) -> Result<Option<String>, CommandError> {
    let shards = super::shards(source, None)?;
    let first = shards
        .first()
        .map(|shard| head(source, shard))
        .transpose()?;
    Ok(first.map(|head| head.origin))
}

/// Each shard with its origin and how many entries it has.
fn heads(source: &dyn LogSource) -> Result<Vec<(String, String, u64)>, CommandError> {
    let shards = super::shards(source, None)?;
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
    for (shard, origin, size) in heads(vault)? {
        if !check.is_vaults(&origin) {
            return Err(wrong(&origin, "this deployment's vault"));
        }
        each_entry(vault, &shard, size, |_, entry| {
            check.vault_entry(entry);
            Ok(())
        })?;
    }
    for identity in identities {
        for (shard, origin, size) in heads(&**identity)? {
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
    if report.unreadable > 0 {
        return Err(CommandError::new(
            format_args!(
                "entries that cannot be read: {}; so nothing says that the logs fit",
                HumanCount(report.unreadable)
            ),
            "verify both logs: `cloison audit verify LOG --register register.toml`",
        ));
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
    let sum = |of: fn(&DerivationHour) -> u64| {
        HumanCount(report.hours.iter().map(of).fold(0, u64::saturating_add))
    };
    let identities: Vec<_> = report.identities.iter().map(String::as_str).collect();
    text + &format!(
        "{} identifiers tokenized or migrated, {} UTIs derived by {}",
        sum(|hour| hour.tokenized),
        sum(|hour| hour.derived),
        identities.join(", ")
    )
}
