//! `cloison restore report`: what the interval after a backup had acknowledged.

use std::path::PathBuf;

use indicatif::HumanCount;
use jiff::Timestamp;
use serde_json::json;

use super::without::{other_side, refuse_stale};
use super::{RestoreSourceArgs, place_fault};
use crate::backup::listed::ListedBackup;
use crate::entity::{LostSuspension, Role};
use crate::restore::lost_since;
use crate::restore::places::furthest;
use crate::restore::report::LostInterval;
use crate::restore::without::{LostErasure, OtherSide};
use crate::terminal::{CommandError, print, print_json, voice};

/// The arguments of `report`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison restore report /mnt/backup/vault --config vault.toml\n  \
    cloison restore report /mnt/backup/vault --config vault.toml --from /mnt/other/vault-journal\n\n\
    Reads the places' entries after the backup; restores nothing. The mappings of these identifiers are lost until the \
    clients send them again; in the same epoch they get the same pseudonyms.")]
pub(super) struct RestoreReportArgs {
    #[command(flatten)]
    from: RestoreSourceArgs,
    /// The other side's log (a copy, or its store): lists the erasures that were lodged there after
    /// the backup, for a restore without places
    #[arg(long, value_name = "LOG")]
    other_log: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the backup or the place cannot be used.
pub(super) fn run(args: &RestoreReportArgs) -> Result<(), CommandError> {
    let source = args.from.open()?;
    let other = other_side(args.other_log.as_ref(), &source)?;
    if let ListedBackup::Clear(manifest) = &source.backup {
        refuse_stale(&source.places, manifest)?;
    }
    let most = furthest(&source.places);
    let lost = match most {
        Some(place) => lost_since(place, source.backup.log()).map_err(place_fault)?,
        // Only the other side's log can tell anything then.
        None if args.other_log.is_some() => LostInterval::default(),
        None => {
            return Err(CommandError::usage(
                "no place is there that holds the log after the backup",
                "name one with --from PLACE, or the other side's log with --other-log LOG",
            ));
        }
    };
    if voice().json {
        let rows: Vec<_> = lost.rows().collect();
        return print_json(&json!({
            "backup": source.backup.id().as_str(),
            "rows": rows,
            "total": lost.total(),
            "since": lost.since,
            "until": lost.until,
            "erasures": other.erasures,
            "suspensions": other.suspensions,
            "epochs": other.epochs,
        }));
    }
    let role = &source.side.role;
    print(match most {
        Some(_) => table(role, &lost),
        None => unknown(role, source.backup.taken()),
    })?;
    if args.other_log.is_some() {
        print(erasures(&other))?;
        print(suspensions(&other))?;
    }
    Ok(())
}

/// What a restore without places would lose, of which nothing is known.
fn unknown(role: &Role, taken: Timestamp) -> String {
    if let Some(lost) = lost_beside_the_vault(role, &taken.to_string()) {
        lost
    } else {
        format!(
            "no place is there, so nobody knows which requests were acknowledged after the backup: clients send again all that \
             was answered since {taken}"
        )
    }
}

/// A line for each suspension and lift that the other side knows of, and what it cannot know.
fn suspensions(other: &OtherSide) -> String {
    let lines = other.suspensions.iter().map(|one| {
        let LostSuspension { time, act, entry } = one;
        format!("{time}  {act}  {entry}")
    });
    let head = if other.suspensions.is_empty() {
        "the other side's log knows of no suspension or lift after the backup"
    } else {
        "suspensions and lifts that the other side's log knows of, to be brought again before anybody else is let in:"
    };
    let beyond =
        "it does not know which epochs were retired, nor who was suspended at this side alone";
    let head = std::iter::once(head.to_owned());
    let lines: Vec<_> = head.chain(lines).chain([beyond.to_owned()]).collect();
    lines.join("\n")
}

/// A line for each erasure that the other side knows of.
fn erasures(other: &OtherSide) -> String {
    if other.erasures.is_empty() {
        return "the other side's log knows of no erasure after the backup".to_owned();
    }
    let head = "erasures that the other side's log knows of, to be lodged again after a restore without places:";
    let lines = other.erasures.iter().map(|erasure| {
        let LostErasure {
            time,
            request,
            sector,
            officers,
        } = erasure;
        let officers = officers.join(", ");
        format!("{time}  {sector}  request {request}, signed by {officers}")
    });
    let lines: Vec<_> = std::iter::once(head.to_owned()).chain(lines).collect();
    lines.join("\n")
}

/// A place holds the log up to its last checkpoint, so batches of the last half second are in none.
fn what_to_send(role: &Role, lost: &LostInterval) -> String {
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "an unknown time".to_owned());
    if let Some(lost) = lost_beside_the_vault(role, &time(&lost.since)) {
        return lost;
    }
    format!(
        "Clients send again all that was answered since {}; what was answered after {} is counted nowhere. Where the sector's epoch was \
         advanced since, they send again with --previous, too, while the epoch before is open: only that brings back a mapping of it.",
        time(&lost.since),
        time(lost.until.as_ref().map_or(&lost.since, |_| &lost.until))
    )
}

/// What a side loses that has neither clients nor mappings; `None` for the vault.
fn lost_beside_the_vault(role: &Role, since: &str) -> Option<String> {
    match role {
        Role::Vault => None,
        Role::Node(_) => Some(format!(
            "A node holds no mappings and clients send it nothing, so they have nothing to send again. The tags beside its entries \
             since {since} are lost: a search for a person finds none of those"
        )),
        Role::Identity(_) => Some(format!(
            "An identity source holds no mappings and clients send it nothing, so they have nothing to send again. What no place \
             holds of its log since {since} is lost, with what that says of quotas: without places the day counts as used up"
        )),
    }
}

/// A line for each client, sector and hour.
pub(super) fn table(role: &Role, lost: &LostInterval) -> String {
    let total = lost.total();
    if !role.is_vault() {
        return what_to_send(role, lost);
    }
    if total.requests == 0 {
        return format!(
            "no request is known that was acknowledged in the time that is lost. {}",
            what_to_send(role, lost)
        );
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
    lines.push(what_to_send(role, lost));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn a_node_has_no_clients_who_send_anything_again() {
        let node = Role::Node(Id::parse("court").unwrap());
        let taken = "2026-11-28T08:15:00Z".parse().unwrap();
        for said in [
            table(&node, &LostInterval::default()),
            unknown(&node, taken),
        ] {
            assert!(said.contains("nothing to send again"), "{said}");
        }
        let vault = unknown(&Role::Vault, taken);
        assert!(
            vault.contains("send again all that was answered since 2026-11-28T08:15:00Z"),
            "{vault}"
        );
    }

    #[test]
    fn nothing_that_the_other_side_knows_is_said_without_a_count() {
        let said = suspensions(&OtherSide::default());
        assert!(
            said.starts_with("the other side's log knows of no suspension"),
            "{said}"
        );
        assert!(!said.contains('0'), "{said}");
    }
}
