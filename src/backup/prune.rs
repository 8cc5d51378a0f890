//! Which backups are kept, and the removal of the others.
//!
//! Kept are the last `keep-last` backups, and beyond them the last one of each of the last
//! `keep-days` days (UTC). No rule keeps a backup that is older than the shortest retention of a
//! sector. Whatever the rules say, the last good one stays: the last whose files are all there and,
//! if any was ever verified, the last of those too.
//!
//! A backup that is older than the last erasure stays by its day alone, or as the last good one.
//!
//! All that is about backups of the log that counts ([`super::branch`]). Those of its other
//! branches stay for a week, or for `keep-days` where persons were erased since: where the machine
//! that prunes is the one that went astray, they are the good ones.
//!
//! Manifests go first, then the files that none of the others names. A kill between the two leaves
//! files that the next pruning removes.

use std::collections::{BTreeSet, HashSet};

use ed25519_dalek::VerifyingKey;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::branch::LogBranch;
use super::error::RepositoryError;
use super::listed::ListedBackup;
use super::manifest::BackupId;
use super::repository::{BackupRepository, WritableRepository, is_ours};
use crate::journal::prune::LogPlace;

/// Which backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupRetention {
    /// The last so many.
    pub keep_last: usize,
    /// And the last one of each of the last so many days (UTC).
    pub keep_days: u32,
    /// None that is older than this, whatever the two say.
    pub longest: Option<SignedDuration>,
    /// The first entry after the last erasure. A backup that ends before it holds what was erased,
    /// and only its day keeps it.
    pub erased: Option<LogPlace>,
}

/// What a pruning removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrunedBackups {
    /// Ids of the backups that are gone, oldest first.
    pub removed: Vec<String>,
    /// Ids of those that stay.
    pub kept: Vec<String>,
    /// Bytes of files that no other backup needed.
    pub bytes: u64,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// A backup, as far as its retention depends on it.
#[derive(Debug, Clone)]
struct KeptCandidate {
    id: BackupId,
    taken: Timestamp,
    /// Where its log ends.
    end: Option<LogPlace>,
    is_whole: bool,
    is_verified: bool,
}

/// For how many days backups of another branch stay, unless persons were erased.
const OTHER_BRANCH_DAYS: u32 = 7;

impl BackupRetention {
    /// Whether a backup of another branch is kept. It may hold what was erased.
    fn keeps_other(&self, backup: &KeptCandidate, now: Timestamp) -> bool {
        let days = match self.erased {
            Some(_) => self.longest_days(),
            None => self.longest_days().max(OTHER_BRANCH_DAYS),
        };
        let age = now.duration_since(backup.taken);
        age <= SignedDuration::from_hours(24 * i64::from(days))
            && self.longest.is_none_or(|longest| age <= longest)
    }

    /// Which of these backups, oldest first, are kept.
    fn kept(&self, all: &[KeptCandidate], now: Timestamp) -> BTreeSet<BackupId> {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let days_ago = |days: u32| {
            let ago = SignedDuration::from_hours(24 * i64::from(days));
            day(now.saturating_sub(ago).unwrap_or(Timestamp::MIN))
        };
        let first_day = days_ago(self.longest_days() - 1);
        let is_erased = |backup: &KeptCandidate| {
            self.erased.is_some() && backup.end <= self.erased && day(backup.taken) < first_day
        };
        let mut days: HashSet<Date> = HashSet::new();
        let mut kept = BTreeSet::new();
        for (place, backup) in all.iter().rev().enumerate() {
            let of_day = self.keep_days > 0
                && day(backup.taken) >= first_day
                && days.insert(day(backup.taken));
            let is_too_old = self
                .longest
                .is_some_and(|longest| now.duration_since(backup.taken) > longest);
            if (place < self.keep_last || of_day) && !is_too_old && !is_erased(backup) {
                kept.insert(backup.id.clone());
            }
        }
        let whole = || all.iter().rev().filter(|backup| backup.is_whole);
        let verified = whole().find(|backup| backup.is_verified && !is_erased(backup));
        let good = [whole().next(), verified];
        kept.extend(good.into_iter().flatten().map(|backup| backup.id.clone()));
        kept
    }

    /// For how many days at most an erasure leaves a backup that holds what was erased.
    pub fn longest_days(&self) -> u32 {
        self.keep_days.max(1)
    }
}

/// Removes the backups that no rule keeps.
///
/// # Errors
/// [`RepositoryError`]. Where the log that counts is not known and the backups are of several
/// branches, or a manifest cannot be read or is not signed by `key`, nothing is removed: which
/// files it needs is not known.
pub fn prune(
    place: WritableRepository<'_>,
    key: &VerifyingKey,
    retention: &BackupRetention,
    branch: &LogBranch<'_>,
    now: Timestamp,
    dry_run: bool,
) -> Result<PrunedBackups, RepositoryError> {
    let WritableRepository { repository, lock } = place;
    let folder = || repository.folder().to_owned();
    let split = repository.backups(key)?.split_by_branch(branch, folder)?;
    let candidates =
        |all: &[ListedBackup]| -> Vec<_> { all.iter().map(|b| candidate(repository, b)).collect() };
    let mut kept = retention.kept(&candidates(&split.of_log), now);
    let others = candidates(&split.others);
    let others = others.iter().filter(|one| retention.keeps_other(one, now));
    kept.extend(others.map(|one| one.id.clone()));
    let backups = split.of_log.into_iter().chain(split.others);
    let (stay, go): (Vec<_>, Vec<_>) = backups.partition(|b| kept.contains(b.id()));
    let needed: HashSet<String> = stay
        .iter()
        .flat_map(ListedBackup::stored)
        .map(|file| file.name)
        .collect();
    if !dry_run {
        for backup in &go {
            repository.remove_manifest(lock, backup.id())?;
        }
    }
    let mut bytes = 0;
    for name in repository.stored()? {
        // What is not ours is left, and `verify` does not miss it.
        if !is_ours(&name) || needed.contains(&name) {
            continue;
        }
        bytes += if dry_run {
            std::fs::symlink_metadata(repository.folder().join("files").join(&name))
                .map_or(0, |facts| facts.len())
        } else {
            repository.remove_stored(lock, &name)?
        };
    }
    let ids = |backups: &[ListedBackup]| backups.iter().map(|b| b.id().to_string()).collect();
    Ok(PrunedBackups {
        removed: ids(&go),
        kept: ids(&stay),
        bytes,
        dry_run,
    })
}

fn candidate(repository: &BackupRepository, backup: &ListedBackup) -> KeptCandidate {
    KeptCandidate {
        id: backup.id().clone(),
        taken: backup.taken(),
        end: (backup.log().position()).map(|(shard, index)| LogPlace { shard, index }),
        is_whole: backup.stored().iter().all(|file| repository.has(file)),
        is_verified: repository.verified(backup.id()).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shard;

    fn backups(times: &[&str]) -> Vec<KeptCandidate> {
        let backup = |time: &&str| {
            let taken = time.parse().unwrap();
            KeptCandidate {
                id: BackupId::new(taken, [0; 4]),
                taken,
                end: None,
                is_whole: true,
                is_verified: false,
            }
        };
        times.iter().map(backup).collect()
    }

    fn kept(retention: BackupRetention, all: &[KeptCandidate]) -> Vec<usize> {
        let kept = retention.kept(all, "2026-11-28T12:00:00Z".parse().unwrap());
        let places = all.iter().enumerate();
        places
            .filter(|(_, backup)| kept.contains(&backup.id))
            .map(|(place, _)| place)
            .collect()
    }

    const RULES: BackupRetention = BackupRetention {
        keep_last: 2,
        keep_days: 3,
        longest: None,
        erased: None,
    };

    #[test]
    fn the_last_ones_and_one_a_day() {
        let all = backups(&[
            "2026-11-25T23:00:00Z",
            "2026-11-26T01:00:00Z",
            "2026-11-26T23:00:00Z",
            "2026-11-27T10:00:00Z",
            "2026-11-28T10:00:00Z",
            "2026-11-28T11:00:00Z",
        ]);
        assert_eq!(kept(RULES, &all), [2, 3, 4, 5]);
        let none = BackupRetention {
            keep_last: 0,
            keep_days: 0,
            ..RULES
        };
        assert_eq!(kept(none, &all), [5], "the last good one");
    }

    #[test]
    fn nothing_outlives_the_shortest_retention_but_the_last_good_one() {
        let mut all = backups(&[
            "2026-11-26T10:00:00Z",
            "2026-11-27T10:00:00Z",
            "2026-11-27T11:00:00Z",
        ]);
        let short = BackupRetention {
            longest: Some(SignedDuration::from_hours(1)),
            ..RULES
        };
        assert_eq!(kept(short, &all), [2]);
        all[2].is_whole = false;
        assert_eq!(kept(short, &all), [1], "a backup that lacks files is none");
        all[0].is_verified = true;
        assert_eq!(kept(short, &all), [0, 1]);
    }

    /// The machine that prunes may be the one that went astray, so the other branch's stay for a
    /// week; what may hold the erased stays for `keep-days`, as the own branch's does.
    #[test]
    fn what_is_of_another_branch_goes_after_its_days() {
        let now = "2026-11-28T12:00:00Z".parse().unwrap();
        let keeps = |retention: BackupRetention, taken| {
            let all = backups(&[taken]);
            retention.keeps_other(&all[0], now)
        };
        assert!(keeps(RULES, "2026-11-21T12:00:00Z"), "a week");
        assert!(!keeps(RULES, "2026-11-21T11:59:59Z"));
        let long = BackupRetention {
            keep_days: 30,
            ..RULES
        };
        assert!(keeps(long, "2026-10-29T12:00:00Z"), "keep-days");
        assert!(!keeps(long, "2026-10-29T11:59:59Z"));
        let erased = BackupRetention {
            erased: Some(LogPlace {
                shard: Shard::of(2026),
                index: 10,
            }),
            ..RULES
        };
        assert!(keeps(erased, "2026-11-25T12:00:00Z"), "keep-days alone");
        assert!(!keeps(erased, "2026-11-25T11:59:59Z"));
        let short = BackupRetention {
            longest: Some(SignedDuration::from_hours(1)),
            ..RULES
        };
        assert!(keeps(short, "2026-11-28T11:00:00Z"));
        assert!(!keeps(short, "2026-11-28T10:59:59Z"), "the register's");
    }

    #[test]
    fn what_is_older_than_an_erasure_stays_by_its_day_alone() {
        let mut all = backups(&[
            "2026-11-24T10:00:00Z",
            "2026-11-25T10:00:00Z",
            "2026-11-26T10:00:00Z",
            "2026-11-28T10:00:00Z",
        ]);
        let place = |index| LogPlace {
            shard: Shard::of(2026),
            index,
        };
        for (index, backup) in all.iter_mut().enumerate() {
            backup.end = Some(place(10 * index as u64));
        }
        all[0].is_verified = true;
        let many = BackupRetention {
            keep_last: 9,
            ..RULES
        };
        let erased = |index| BackupRetention {
            erased: Some(place(index)),
            ..many
        };
        assert_eq!(kept(many, &all), [0, 1, 2, 3]);
        assert_eq!(kept(erased(9), &all), [1, 2, 3]);
        // A backup with as many entries as there were before the erasure is older than it.
        assert_eq!(kept(erased(10), &all), [2, 3]);
        assert_eq!(kept(erased(99), &all), [2, 3], "their days keep these");
        assert_eq!(kept(erased(99), &all[..2]), [1], "the last good one");
    }
}
