//! What an authority must have so that its orders mean something: enough approvers, of two bodies,
//! and officers who act.

use std::collections::BTreeSet;

use super::file::{AuthorityEntry, KeyEntry, RegisterFile};
use super::read::Faults;
use super::unique::Unique;
use super::validate::within;
use super::{LEAST_BODIES, LEAST_PERSONS, Suite};

/// The longest validity that an authority may be given: a leap year, in hours.
const MOST_HOURS: u64 = 366 * 24;

/// The most pseudonyms that an authority may be allowed to ask for in an hour: a larger limit would
/// limit nothing.
const MOST_RELEASES: u64 = 100_000_000;

pub(super) fn check(file: &RegisterFile, faults: &mut Faults) {
    // A segment names the key and not the authority, so both must be unique over all authorities.
    let (mut key_ids, mut keys) = (
        Unique::new("authority key id"),
        Unique::new("authority key"),
    );
    for authority in &file.authorities {
        for key in &authority.keys {
            key_ids.note(&key.id, "an authority", faults);
            keys.note(&key.public, "an authority", faults);
            suite(key, faults);
        }
        check_authority(authority, faults);
    }
}

/// The stated suite must exist, and must be the suite of the key.
fn suite(key: &KeyEntry, faults: &mut Faults) {
    let Some(stated) = &key.suite else { return };
    let Some(suite) = Suite::from_number(stated.value) else {
        let what = format!("the `suite` of an authority's key is {}", stated.value);
        return faults.push(stated.line, what, "1 (X25519) or 2 (X-Wing)");
    };
    if let Some(public) = &key.public
        && public.suite != suite
    {
        let what = format!(
            "the `suite` of an authority's key is {} ({suite}), and its `public` is of the other",
            stated.value
        );
        faults.push(
            stated.line,
            what,
            format!("suite = {}", public.suite.number()),
        );
    }
}

/// Checks one authority by itself.
fn check_authority(authority: &AuthorityEntry, faults: &mut Faults) {
    let called = authority.id.as_ref().map_or("an authority".into(), |id| {
        format!("authority `{}`", id.value)
    });
    people(authority, &called, faults);
    quorums(authority, &called, faults);
    within(
        &authority.max_hours,
        1,
        MOST_HOURS,
        &format!("{called}: `max-hours`"),
        faults,
    );
    within(
        &authority.releases_per_hour,
        1,
        MOST_RELEASES,
        &format!("{called}: `releases-per-hour`"),
        faults,
    );
    within(
        &authority.migrations_per_hour,
        1,
        MOST_RELEASES,
        &format!("{called}: `migrations-per-hour`"),
        faults,
    );
    within(
        &authority.statutory_limit,
        1,
        u64::MAX,
        &format!("{called}: `statutory-limit`"),
        faults,
    );
}

/// An authority has a key, officers, and approvers of two bodies.
fn people(authority: &AuthorityEntry, called: &str, faults: &mut Faults) {
    for (missing, header, fields) in [
        (authority.keys.is_empty(), "key", "id, suite and public"),
        (
            authority.approvers.is_empty(),
            "approver",
            "id, name, body and key",
        ),
        (
            authority.officers.is_empty(),
            "officer",
            "id, name, key and certificate",
        ),
    ] {
        if missing {
            let instead = format!("[[authority.{header}]] with {fields}");
            faults.push(authority.line, format!("{called} has no {header}"), instead);
        }
    }
    let bodies: BTreeSet<_> = authority
        .approvers
        .iter()
        .filter_map(|approver| Some(&approver.body.as_ref()?.value))
        .collect();
    let all_known = authority
        .approvers
        .iter()
        .all(|approver| approver.body.is_some());
    if !authority.approvers.is_empty() && all_known && bodies.len() < LEAST_BODIES {
        let what = format!("all approvers of {called} are of one body");
        faults.push(authority.line, what, "approvers of at least two bodies");
    }
}

/// A quorum is more than one approver, and not more than there are.
fn quorums(authority: &AuthorityEntry, called: &str, faults: &mut Faults) {
    let approvers = authority.approvers.len() as u64;
    for (name, quorum) in [
        ("quorum", &authority.quorum),
        ("force-majeure-quorum", &authority.force_majeure_quorum),
        ("continuity-quorum", &authority.continuity_quorum),
    ] {
        let Some(quorum) = quorum else { continue };
        if quorum.value < LEAST_PERSONS as u64 {
            let what = format!(
                "{called}: `{name}` is {}, and nobody may approve alone",
                quorum.value
            );
            faults.push(
                quorum.line,
                what,
                format!("{name} = {LEAST_PERSONS}, or more"),
            );
        } else if approvers > 0 && quorum.value > approvers {
            let what = format!(
                "{called}: `{name}` is {}, and there are {approvers} approvers",
                quorum.value
            );
            faults.push(
                quorum.line,
                what,
                format!("{name} = {approvers}, or fewer; or more approvers"),
            );
        }
    }
}
