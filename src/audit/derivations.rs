//! What a vault tokenized and migrated, held against what it had its identity sources derive: by
//! hour, organisation (for a migration: authority) and sector.
//!
//! A source logs before the vault does, and their clocks differ a little. So what is over in one
//! hour and missing in the next, or the other way round, fits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::origin::{is_vaults, owner_and_shard};

/// One organisation's figures of one hour in one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DerivationHour {
    /// The hour, UTC: `2026-11-28T14`.
    pub hour: String,
    /// Whose clients, or which authority's order.
    pub organisation: String,
    /// Sector name.
    pub sector: String,
    /// Identifiers that the vault accepted or migrated.
    pub tokenized: u64,
    /// UTIs that the sources derived for it.
    pub derived: u64,
    /// UTIs that were derived and of which the vault's log knows nothing.
    pub unexplained: u64,
    /// Identifiers for which none of these sources derived.
    pub missing: u64,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DerivationsReport {
    /// Ids of the identity sources.
    pub identities: BTreeSet<String>,
    /// Every hour in which something was done, in order.
    pub hours: Vec<DerivationHour>,
    /// Entries that cannot be read, of which nothing was counted.
    pub unreadable: u64,
}

impl DerivationsReport {
    /// Hours that do not fit.
    pub fn unfitting(&self) -> impl Iterator<Item = &DerivationHour> {
        let fits = |hour: &&DerivationHour| hour.unexplained == 0 && hour.missing == 0;
        self.hours.iter().filter(move |hour| !fits(hour))
    }
}

/// Counts the entries of both sides.
#[derive(Debug, Default)]
pub struct DerivationsCheck {
    deployment: String,
    identities: BTreeSet<String>,
    /// Organisation and sector → hour (since 1970) → tokenized, derived.
    groups: BTreeMap<(String, String), BTreeMap<i64, (u64, u64)>>,
    /// Entries that cannot be read.
    unreadable: u64,
}

/// The members of the entries that are compared. Each must be there: what is not counted would hide
/// guesses.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum ComparedEntry {
    Tokenize {
        time: Timestamp,
        organisation: String,
        sector: String,
        accepted: u64,
    },
    Migrate {
        time: Timestamp,
        authority: String,
        sector: String,
        migrated: u64,
    },
    Utis {
        time: Timestamp,
        derived: Vec<ComparedGroup>,
    },
    #[serde(other)]
    Other,
}

/// A group of an entry `utis`. Probes and person keys have no value, and name nobody.
#[derive(Deserialize)]
struct ComparedGroup {
    #[serde(default)]
    by: String,
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    sector: String,
    items: u64,
}

impl DerivationsCheck {
    /// For the identity source that writes this log; `None` if it is not an identity source's.
    pub fn of_identity(origin: &str) -> Option<Self> {
        let (owner, _) = owner_and_shard(origin)?;
        let (deployment, _) = owner.split_once("/identity/")?;
        Some(Self {
            deployment: deployment.to_owned(),
            ..Self::default()
        })
    }

    /// Whether this is a log of this deployment's vault.
    pub fn is_vaults(&self, origin: &str) -> bool {
        is_vaults(origin, &self.deployment)
    }

    /// Notes an identity source's log; whether it is one of this deployment.
    pub fn note_identity(&mut self, origin: &str) -> bool {
        let id = owner_and_shard(origin)
            .and_then(|(owner, _)| owner.split_once("/identity/"))
            .filter(|(deployment, _)| *deployment == self.deployment)
            .map(|(_, id)| id.to_owned());
        let is_ours = id.is_some();
        self.identities.extend(id);
        is_ours
    }

    /// Counts an entry of the vault's log.
    pub fn vault_entry(&mut self, entry: &[u8]) {
        let (time, organisation, sector, items) = match serde_json::from_slice(entry) {
            Ok(ComparedEntry::Tokenize {
                time,
                organisation,
                sector,
                accepted,
            }) => (time, organisation, sector, accepted),
            Ok(ComparedEntry::Migrate {
                time,
                authority,
                sector,
                migrated,
            }) => (time, authority, sector, migrated),
            Ok(ComparedEntry::Utis { .. } | ComparedEntry::Other) => return,
            Err(_) => return self.unreadable += 1,
        };
        let tokenized = &mut self.count(organisation, sector, time).0;
        *tokenized = tokenized.saturating_add(items);
    }

    /// Counts an entry of an identity source's log.
    pub fn identity_entry(&mut self, entry: &[u8]) {
        let (time, groups) = match serde_json::from_slice(entry) {
            Ok(ComparedEntry::Utis { time, derived }) => (time, derived),
            Ok(_) => return,
            Err(_) => return self.unreadable += 1,
        };
        for group in groups.into_iter().filter(|group| group.items > 0) {
            let organisation = if group.organisation.is_empty() {
                group.by
            } else {
                group.organisation
            };
            let derived = &mut self.count(organisation, group.sector, time).1;
            *derived = derived.saturating_add(group.items);
        }
    }

    fn count(&mut self, organisation: String, sector: String, time: Timestamp) -> &mut (u64, u64) {
        let hour = time.as_second().div_euclid(3_600);
        let hours = self.groups.entry((organisation, sector)).or_default();
        hours.entry(hour).or_default()
    }

    /// What came out.
    pub fn finish(self) -> DerivationsReport {
        let mut hours = vec![];
        for ((organisation, sector), counts) in self.groups {
            let differences = settle(&counts);
            for ((hour, (tokenized, derived)), difference) in counts.into_iter().zip(differences) {
                if (tokenized, derived) == (0, 0) {
                    continue;
                }
                hours.push(DerivationHour {
                    hour: text_of(hour),
                    organisation: organisation.clone(),
                    sector: sector.clone(),
                    tokenized,
                    derived,
                    unexplained: in_u64(difference),
                    missing: in_u64(-difference),
                });
            }
        }
        hours.sort_by(|one, other| {
            let key = |row: &DerivationHour| {
                (
                    row.hour.clone(),
                    row.organisation.clone(),
                    row.sector.clone(),
                )
            };
            key(one).cmp(&key(other))
        });
        DerivationsReport {
            identities: self.identities,
            hours,
            unreadable: self.unreadable,
        }
    }
}

/// For each hour how many more were derived than tokenized, once an hour has settled with the next.
fn settle(counts: &BTreeMap<i64, (u64, u64)>) -> Vec<i128> {
    let mut settled: Vec<i128> = Vec::with_capacity(counts.len());
    let mut before = None;
    for (hour, (tokenized, derived)) in counts {
        let mut difference = i128::from(*derived) - i128::from(*tokenized);
        if before == Some(hour - 1)
            && let Some(last) = settled.last_mut()
            && last.signum() == -difference.signum()
        {
            let common = last.abs().min(difference.abs()) * last.signum();
            *last -= common;
            difference += common;
        }
        settled.push(difference);
        before = Some(*hour);
    }
    settled
}

/// A number that is not negative; none else.
fn in_u64(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

/// An hour as text.
fn text_of(hour: i64) -> String {
    Timestamp::from_second(hour.saturating_mul(3_600))
        .map(|time| time.strftime("%Y-%m-%dT%H").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "cloison/demo/vault/2026";
    const IDENTITY: &str = "cloison/demo/identity/trust/2026";

    fn tokenized(time: &str, accepted: u64) -> String {
        format!(
            r#"{{"event":"tokenize","time":"2026-11-28T{time}Z","organisation":"cnss","sector":"health","accepted":{accepted}}}"#
        )
    }

    fn derived(time: &str, items: u64) -> String {
        format!(
            r#"{{"event":"utis","time":"2026-11-28T{time}Z","derived":[{{"kind":"probe","items":0}},{{"kind":"tokenize",
            "by":"cnss-health","organisation":"cnss","sector":"health","items":{items}}}]}}"#
        )
    }

    fn report(vault: &[String], identity: &[String]) -> DerivationsReport {
        let mut check = DerivationsCheck::of_identity(IDENTITY).unwrap();
        assert!(check.note_identity(IDENTITY) && check.is_vaults(VAULT));
        vault
            .iter()
            .for_each(|entry| check.vault_entry(entry.as_bytes()));
        identity
            .iter()
            .for_each(|entry| check.identity_entry(entry.as_bytes()));
        check.finish()
    }

    #[test]
    fn what_was_tokenized_was_derived() {
        let vault = [tokenized("10:00:01", 3), tokenized("10:30:00", 4)];
        let report = report(&vault, &[derived("10:00:01", 3), derived("10:30:00", 4)]);
        assert_eq!(report.unfitting().count(), 0);
        let [hour] = &report.hours[..] else {
            panic!("one hour: {report:?}");
        };
        assert_eq!(
            (hour.hour.as_str(), hour.tokenized, hour.derived),
            ("2026-11-28T10", 7, 7)
        );
        assert_eq!(report.identities, ["trust".to_owned()].into());
    }

    #[test]
    fn a_request_over_the_full_hour_fits() {
        let early = [derived("10:59:59.9", 5)];
        assert_eq!(
            report(&[tokenized("11:00:00", 5)], &early)
                .unfitting()
                .count(),
            0
        );
        let late = [derived("11:00:00", 5)];
        assert_eq!(
            report(&[tokenized("10:59:59", 5)], &late)
                .unfitting()
                .count(),
            0
        );
        // Two hours later it is another thing.
        assert_eq!(
            report(&[tokenized("12:00:00", 5)], &early)
                .unfitting()
                .count(),
            2
        );
    }

    #[test]
    fn guesses_are_named() {
        let report = report(
            &[tokenized("10:00:00", 5)],
            &[derived("10:00:00", 5), derived("10:20:00", 1_000)],
        );
        let named: Vec<_> = report
            .unfitting()
            .map(|hour| (hour.unexplained, hour.missing))
            .collect();
        assert_eq!(named, [(1_000, 0)]);
    }

    #[test]
    fn what_no_source_derived_is_named() {
        let report = report(&[tokenized("10:00:00", 5)], &[derived("10:00:00", 2)]);
        let named: Vec<_> = report
            .unfitting()
            .map(|hour| (hour.unexplained, hour.missing))
            .collect();
        assert_eq!(named, [(0, 3)]);
    }

    #[test]
    fn only_logs_of_one_deployment_are_compared() {
        let mut check = DerivationsCheck::of_identity(IDENTITY).unwrap();
        assert!(!check.note_identity("cloison/other/identity/trust/2026"));
        assert!(!check.is_vaults("cloison/other/vault/2026"));
        assert!(DerivationsCheck::of_identity("cloison/demo/node/court/2026").is_none());
    }

    #[test]
    fn numbers_that_do_not_fit_hide_nothing() {
        let mut check = DerivationsCheck::of_identity(IDENTITY).unwrap();
        check.vault_entry(tokenized("08:00:00", 10).as_bytes());
        for items in [u64::MAX, 11] {
            check.identity_entry(derived("08:00:01", items).as_bytes());
        }
        let negative = derived("08:00:02", 7).replace("\"items\":7", "\"items\":-7");
        let missing = derived("08:00:02", 7).replace("\"items\":7", "\"values\":7");
        for entry in [negative, missing, "{}".to_owned()] {
            check.identity_entry(entry.as_bytes());
        }
        check.vault_entry(
            tokenized("08:00:00", 1)
                .replace("accepted", "agreed")
                .as_bytes(),
        );
        let report = check.finish();
        assert_eq!(report.hours[0].unexplained, u64::MAX - 10);
        assert_eq!(report.unreadable, 4);
    }
}
