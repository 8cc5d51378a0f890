//! The lines of a status, from what a server tells.

use std::collections::BTreeMap;
use std::path::Path;

use indicatif::HumanCount;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{StatusFact, called};
use crate::clock::{Clock as _, SystemClock};
use crate::config::RegisterFiles;
use crate::entity::UnconfirmedRestore;
use crate::http::tls::Validity;
use crate::serve::open_register;
use crate::status::{
    IdentitySourceStatus, IdentityStatus, LogStatus, QuotaStatus, RegisterStatus, SectorStatus,
    StatusReport, SuspendedEntry,
};

/// From so many days before its end on a key is warned about.
const SOON: i64 = 30;

/// What a server tells a caller, a line each.
pub(super) fn of_report(base: &str, key: StatusFact, report: &StatusReport) -> Vec<StatusFact> {
    let (server, caller) = (&report.server, &report.caller);
    let kind = match &server.authority {
        Some(authority) => format!("{} of {authority}", server.kind),
        None if server.kind == "identity" => "identity source".to_owned(),
        None => server.kind.clone(),
    };
    let mut facts = vec![
        StatusFact::ok(
            "server",
            format!(
                "{kind} of the deployment {} at {base}, cloison {}, {}",
                server.deployment, server.version, server.time
            ),
        ),
        StatusFact::ok("caller", who(report)),
        key,
    ];
    if !caller.operations.is_empty() {
        facts.push(StatusFact::ok("operations", caller.operations.join(", ")));
    }
    facts.extend(report.restored.as_ref().map(restored));
    facts.extend(
        report
            .sectors
            .iter()
            .map(|one| sector(one, report.restored.as_ref())),
    );
    facts.extend(report.quota.as_ref().map(quota));
    facts.push(StatusFact::ok(
        "register",
        format!(
            "version {}, sha256 {}",
            report.register.version,
            short(&report.register.digest)
        ),
    ));
    if let Some(custody) = &report.custody {
        facts.push(if custody.sealed {
            let keys = custody.sealed_keys.join(", ");
            StatusFact::critical(
                "keys",
                format!("sealed: {keys}; their custodians unseal them"),
            )
        } else {
            StatusFact::ok("keys", "unsealed")
        });
    }
    facts.extend(report.identity.as_ref().map(identity));
    facts.extend(report.log.as_ref().map(|head| log(head, &server.time)));
    facts.extend(step(report));
    facts.extend(report.suspended.iter().flatten().map(suspended));
    let mut notices = report.notices.clone();
    if report.suspended.is_some() {
        // Each has its own line.
        notices.remove("suspended");
    }
    if report.restored.is_some() {
        notices.remove("restored");
    }
    facts.extend(readiness(&report.reasons, &notices));
    facts
}

fn who(report: &StatusReport) -> String {
    let caller = &report.caller;
    let of = caller.organisation.as_ref().or(caller.authority.as_ref());
    match of {
        Some(of) if *of != caller.id => format!("{}, {} of {of}", caller.id, caller.role),
        _ => format!("{}, {}", caller.id, caller.role),
    }
}

/// What still holds since a restore without places.
fn restored(restore: &UnconfirmedRestore) -> StatusFact {
    StatusFact::warning("restored", restore.to_string())
}

fn sector(sector: &SectorStatus, restore: Option<&UnconfirmedRestore>) -> StatusFact {
    let mut says = sector.sector.clone();
    if restore.is_some_and(|restore| restore.closed.contains(&sector.sector)) {
        says += ", closed until its epoch is confirmed";
    }
    if let Some(epoch) = sector.epoch {
        says += &format!(", epoch {epoch}");
    }
    if let Some(until) = &sector.overlap_until {
        says += &format!(" (the one before is answered until {until})");
    }
    if let Some(period) = &sector.period {
        says += &format!(", period {period}");
    }
    if !sector.schemes.is_empty() {
        says += &format!(", schemes {}", sector.schemes.join(", "));
    }
    StatusFact::ok("sector", says)
}

/// Where the vault's identity secret lies, and which of its sources do not answer.
fn identity(identity: &IdentityStatus) -> StatusFact {
    let about = "identity";
    if identity.sources.is_empty() {
        return StatusFact::ok(about, "the identity secret lies with the vault");
    }
    let source = |source: &IdentitySourceStatus| match &source.fault {
        None => format!("{} answers", source.url),
        Some(fault) => format!("{}: {fault}", source.url),
    };
    let sources: Vec<String> = identity.sources.iter().map(source).collect();
    let says = format!(
        "the identity secret lies with an identity source: {}",
        sources.join("; ")
    );
    let answering = identity
        .sources
        .iter()
        .filter(|source| source.fault.is_none());
    match answering.count() {
        0 => StatusFact::critical(about, says),
        all if all == identity.sources.len() => StatusFact::ok(about, says),
        _ => StatusFact::warning(about, says),
    }
}

fn quota(quota: &QuotaStatus) -> StatusFact {
    let says = format!(
        "{} of {} items left today (until 00:00 UTC), {} of {} at once",
        HumanCount(quota.today),
        HumanCount(quota.items_per_day),
        HumanCount(quota.at_once),
        HumanCount(quota.at_once_most)
    );
    if quota.today == 0 {
        StatusFact::warning("quota", says)
    } else {
        StatusFact::ok("quota", says)
    }
}

fn log(log: &LogStatus, now: &str) -> StatusFact {
    let entries = if log.entries == 1 { "entry" } else { "entries" };
    let mut says = format!("{}, {} {entries}", log.origin, HumanCount(log.entries));
    let now = now.parse::<Timestamp>().ok();
    let cosigned: Vec<String> = log
        .cosigners
        .iter()
        .map(|cosigner| {
            let last = cosigner.last.as_ref().and_then(|time| time.parse().ok());
            match (now, last) {
                (Some(now), Some(last)) => format!("{} {}", cosigner.name, ago(now, last)),
                _ => format!("{} not yet", cosigner.name),
            }
        })
        .collect();
    if !cosigned.is_empty() {
        says += &format!("; cosigned by {}", cosigned.join(", "));
    }
    let held: Vec<String> = log
        .places
        .iter()
        .map(|place| {
            let entries = place.entries.map_or("nothing yet".to_owned(), |entries| {
                format!("{} entries", HumanCount(entries))
            });
            let counts = if place.counts { "" } else { ", does not count" };
            match place.behind_seconds {
                Some(behind @ 2..) => {
                    format!("{} ({entries}, {behind} s behind{counts})", place.name)
                }
                _ => format!("{} ({entries}{counts})", place.name),
            }
        })
        .collect();
    if !held.is_empty() {
        says += &format!("; held by {}", held.join(", "));
    }
    if !log.waiting.is_empty() {
        says += &format!("; waits for places: {}", log.waiting.join(", "));
        return StatusFact::warning("log", says);
    }
    let nobody = log.cosigners.iter().all(|cosigner| cosigner.last.is_none());
    if nobody {
        StatusFact::warning("log", says)
    } else {
        StatusFact::ok("log", says)
    }
}

/// How long ago something was.
fn ago(now: Timestamp, then: Timestamp) -> String {
    match now.duration_since(then).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

/// Whether vault and nodes hold the same acts upon orders.
pub(super) fn step(report: &StatusReport) -> Option<StatusFact> {
    Some(match report.out_of_step.as_deref()? {
        [] => StatusFact::ok("step", "vault and node hold the same acts upon orders"),
        apart => {
            let apart = apart.join(", ");
            let says = format!("vault and node do not hold the same acts upon orders: {apart}");
            StatusFact::warning("step", says)
        }
    })
}

fn suspended(entry: &SuspendedEntry) -> StatusFact {
    let SuspendedEntry {
        entry,
        reason,
        since,
    } = entry;
    StatusFact::warning("suspended", format!("{entry} since {since} ({reason})"))
}

/// Whether it is ready, and what to look into.
pub(super) fn readiness(
    reasons: &BTreeMap<String, String>,
    notices: &BTreeMap<String, String>,
) -> Vec<StatusFact> {
    let ready = if reasons.is_empty() {
        StatusFact::ok("ready", "yes")
    } else {
        StatusFact::critical("ready", not_ready(reasons))
    };
    let notice = |(about, what): (&String, &String)| {
        StatusFact::warning("notice", format!("{about}: {what}"))
    };
    let mut facts: Vec<_> = notices.iter().map(notice).collect();
    facts.push(ready);
    facts
}

/// Why it is not ready, in one line.
pub(super) fn not_ready(reasons: &BTreeMap<String, String>) -> String {
    let words: Vec<String> = reasons
        .iter()
        .map(|(about, why)| match why.as_str() {
            "" => about.clone(),
            why => format!("{about} ({why})"),
        })
        .collect();
    format!("not ready: {}", words.join("; "))
}

/// The other side's register beside our own.
pub(super) fn other_register(own: Option<&RegisterFiles>, other: &RegisterStatus) -> StatusFact {
    let says = format!("the vault's is version {}", other.version);
    let own = own.and_then(|files| open_register(files).ok());
    match own {
        Some(own) if crate::id::hex(&own.digest) != other.digest => {
            let newer = if own.version > other.version {
                "ours is newer"
            } else {
                "the vault's is newer"
            };
            StatusFact::warning("register", format!("{says}, not the one here: {newer}"))
        }
        _ => StatusFact::ok("register", says),
    }
}

/// A certificate and its key: how long they are good. The register's day binds; the certificate's
/// own dates are only seen by others.
pub(super) fn key_fact(
    about: &'static str,
    file: &Path,
    validity: Option<Validity>,
    entry_ends: Option<Date>,
) -> StatusFact {
    let (now, file) = (SystemClock.now(), called(file));
    let today = now.to_zoned(TimeZone::UTC).date();
    if let Some(day) = entry_ends {
        let left = i64::from((day - today).get_days());
        let says = format!("{file}, by the register until {day} ({left} days)");
        return if left <= SOON {
            StatusFact::warning(about, format!("{says}: have another one entered"))
        } else {
            StatusFact::ok(about, says)
        };
    }
    let Some(validity) = validity else {
        return StatusFact::warning(about, format!("{file}: its dates cannot be read"));
    };
    let day = validity.until.to_zoned(TimeZone::UTC).date();
    let left = validity.until.duration_since(now).as_hours() / 24;
    if left < 0 || validity.until < now {
        return StatusFact::warning(about, format!("{file}: its certificate ended on {day}"));
    }
    let says = format!("{file}, its certificate until {day} ({left} days)");
    if left <= SOON {
        StatusFact::warning(about, format!("{says}: renew it"))
    } else {
        StatusFact::ok(about, says)
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::FactState;

    #[test]
    fn a_key_is_warned_about_before_it_ends() {
        let file = Path::new("tls/x.pem");
        let now = SystemClock.now();
        let until = |hours: i64| Validity {
            from: now,
            until: now + jiff::SignedDuration::from_hours(hours),
        };
        for (hours, state) in [
            (24 * 400, FactState::Ok),
            (24 * 30, FactState::Warning),
            (1, FactState::Warning),
            (-1, FactState::Warning),
        ] {
            let fact = key_fact("key", file, Some(until(hours)), None);
            assert_eq!(fact.state, state, "{}", fact.says);
        }
    }

    #[test]
    fn reasons_are_said_in_one_line() {
        let reasons = BTreeMap::from([
            ("sealed".to_owned(), "court-2026".to_owned()),
            ("audit".to_owned(), String::new()),
        ]);
        assert_eq!(not_ready(&reasons), "not ready: audit; sealed (court-2026)");
    }
}
