//! Which backups are kept, and the removal of the others.
//!
//! Kept are the last `keep-last` backups, and beyond them the last one of each of the last `keep-days`
//! days (UTC). No rule keeps a backup that is older than the shortest retention of a sector. Whatever
//! the rules say, the last good one stays: the last whose files are all there and, if any was ever
//! verified, the last of those too.
//!
//! Manifests go first, then the files that none of the others names. A kill between the two leaves
//! files that the next pruning removes.

use std::collections::{BTreeSet, HashSet};

use ed25519_dalek::VerifyingKey;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::manifest::{BackupId, BackupManifest};
use super::repository::{BackupRepository, RepositoryLock, is_ours};
use crate::id::hex;

/// Which backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupRetention {
    /// The last so many.
    pub keep_last: usize,
    /// And the last one of each of the last so many days (UTC).
    pub keep_days: u32,
    /// None that is older than this, whatever the two say.
    pub longest: Option<SignedDuration>,
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
    is_whole: bool,
    is_verified: bool,
}

impl BackupRetention {
    /// Which of these backups, oldest first, are kept.
    fn kept(&self, all: &[KeptCandidate], now: Timestamp) -> BTreeSet<BackupId> {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let first_day = SignedDuration::from_hours(24 * (i64::from(self.keep_days) - 1));
        let first_day = day(now.saturating_sub(first_day).unwrap_or(Timestamp::MIN));
        let mut days: HashSet<Date> = HashSet::new();
        let mut kept = BTreeSet::new();
        for (place, backup) in all.iter().rev().enumerate() {
            let of_day = self.keep_days > 0
                && day(backup.taken) >= first_day
                && days.insert(day(backup.taken));
            let is_too_old = self
                .longest
                .is_some_and(|longest| now.duration_since(backup.taken) > longest);
            if (place < self.keep_last || of_day) && !is_too_old {
                kept.insert(backup.id.clone());
            }
        }
        let last = |good: fn(&KeptCandidate) -> bool| all.iter().rev().find(|b| good(b));
        let good = [last(|b| b.is_whole), last(|b| b.is_whole && b.is_verified)];
        kept.extend(good.into_iter().flatten().map(|backup| backup.id.clone()));
        kept
    }
}

/// Removes the backups that no rule keeps.
///
/// # Errors
/// [`RepositoryError`]. Where a manifest cannot be read or is not signed by `key`, nothing is removed:
/// which files it needs is not known.
pub fn prune(
    repository: &BackupRepository,
    lock: &RepositoryLock,
    key: &VerifyingKey,
    retention: &BackupRetention,
    now: Timestamp,
    dry_run: bool,
) -> Result<PrunedBackups, RepositoryError> {
    let mut backups = vec![];
    for (id, text) in repository.manifests()?.manifests {
        backups.push(repository.read_manifest(&id, &text?, key)?);
    }
    let candidates: Vec<_> = backups.iter().map(|b| candidate(repository, b)).collect();
    let kept = retention.kept(&candidates, now);
    let (stay, go): (Vec<_>, Vec<_>) = backups.into_iter().partition(|b| kept.contains(&b.id));
    let needed: HashSet<String> = stay
        .iter()
        .flat_map(|backup| &backup.files)
        .map(|file| hex(&file.sha256))
        .collect();
    if !dry_run {
        for backup in &go {
            repository.remove_manifest(lock, &backup.id)?;
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
    let ids = |backups: &[BackupManifest]| backups.iter().map(|b| b.id.to_string()).collect();
    Ok(PrunedBackups {
        removed: ids(&go),
        kept: ids(&stay),
        bytes,
        dry_run,
    })
}

fn candidate(repository: &BackupRepository, backup: &BackupManifest) -> KeptCandidate {
    KeptCandidate {
        id: backup.id.clone(),
        taken: backup.taken,
        is_whole: backup.files.iter().all(|file| repository.has(file)),
        is_verified: repository.verified(&backup.id).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backups(times: &[&str]) -> Vec<KeptCandidate> {
        let backup = |time: &&str| {
            let taken = time.parse().unwrap();
            KeptCandidate {
                id: BackupId::new(taken, [0; 4]),
                taken,
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
}
