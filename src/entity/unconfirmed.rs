//! What people have not confirmed yet since a restore without places, for those who run a side and
//! for those whom it refuses.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Entity, RestoreLoss};
use crate::clock::day_of;

/// What still holds since a restore without places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnconfirmedRestore {
    /// When the store was restored.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// The sectors that are closed until their epochs are confirmed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<String>,
    /// Whether releases wait until erasures were lodged again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releases_wait: bool,
    /// Until when the quotas of the day count as used, if they still do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub quotas_until: Option<Timestamp>,
}

impl UnconfirmedRestore {
    /// What of it concerns a caller of those sectors, if anything does.
    pub(crate) fn in_sectors(self, is_theirs: impl Fn(&str) -> bool) -> Option<Self> {
        let mut theirs = self;
        theirs.closed.retain(|name| is_theirs(name));
        theirs.releases_wait = false;
        theirs.if_any()
    }

    fn if_any(self) -> Option<Self> {
        let holds = !self.closed.is_empty() || self.releases_wait || self.quotas_until.is_some();
        holds.then_some(self)
    }
}

/// In one line: `without places at 2026-11-28T13:50:00Z: 7 sectors are closed …; releases wait …`.
impl fmt::Display for UnconfirmedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = match self.closed.len() {
            0 => None,
            1 => Some("1 sector is closed until two operators confirm its epoch".to_owned()),
            n => Some(format!(
                "{n} sectors are closed until two operators confirm their epochs"
            )),
        };
        let releases = self.releases_wait.then(|| {
            "releases wait until two operators say that erasures were lodged again".to_owned()
        });
        let quotas = self
            .quotas_until
            .map(|until| format!("no client gets a pseudonym before {until}"));
        let holds: Vec<_> = [closed, releases, quotas].into_iter().flatten().collect();
        write!(f, "without places at {}: {}", self.since, holds.join("; "))
    }
}

impl RestoreLoss {
    /// Until when the quotas of the day of the restore count as used; `None` once that day is over.
    pub(crate) fn quotas_until(&self, now: Timestamp) -> Option<Timestamp> {
        let day = day_of(self.restored);
        if day_of(now) > day {
            return None;
        }
        let end = i64::from(day) * 86_400;
        let end = Timestamp::from_second(end).ok()?;
        end.checked_add(SignedDuration::from_hours(24)).ok()
    }
}

impl Entity {
    /// What still holds since the last restore without places; `None` where nothing does.
    pub fn unconfirmed_restore(&self) -> Option<UnconfirmedRestore> {
        let loss = self.restore_loss()?;
        let is_vault = self.role().is_vault();
        let sectors = self.register().sectors.values();
        let closed = sectors.filter(|sector| is_vault && !loss.confirmed.contains(&sector.uuid));
        let mut closed: Vec<_> = closed.map(|sector| sector.name.clone()).collect();
        closed.sort_unstable();
        let quotas_until = loss.quotas_until(self.now());
        UnconfirmedRestore {
            since: loss.restored,
            closed,
            releases_wait: !loss.erased_again,
            quotas_until: quotas_until.filter(|_| is_vault),
        }
        .if_any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_caller_is_told_what_concerns_their_sectors() {
        let restore = UnconfirmedRestore {
            since: at("2026-11-28T13:50:00Z"),
            closed: vec!["health".to_owned(), "tax".to_owned()],
            releases_wait: true,
            quotas_until: None,
        };
        let all = restore.to_string();
        assert!(
            all.contains("2 sectors are closed") && all.contains("releases wait"),
            "{all}"
        );
        let theirs = restore.clone().in_sectors(|name| name == "health").unwrap();
        assert_eq!(theirs.closed, ["health"]);
        assert!(!theirs.to_string().contains("releases"));
        assert_eq!(restore.in_sectors(|_| false), None);
    }

    #[test]
    fn quotas_count_as_used_until_the_day_of_the_restore_is_over() {
        let loss = RestoreLoss {
            backup: None,
            restored: at("2026-11-28T13:50:00Z"),
            epochs: Default::default(),
            confirmed: Default::default(),
            erased_again: false,
            suspended: vec![],
            more_suspended: false,
            other_side: false,
        };
        let until = |now| loss.quotas_until(at(now));
        assert_eq!(
            until("2026-11-28T23:59:59Z"),
            Some(at("2026-11-29T00:00:00Z"))
        );
        assert_eq!(until("2026-11-29T00:00:00Z"), None);
    }
}
