//! The domain in which a batch is answered.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{TokenizeOptions, text};
use crate::access::TokenizePermit;
use crate::audit::Domain;
use crate::clock::{ClockBehind, ClockMark};
use crate::code::Code;
use crate::keys::DomainScope;
use crate::refusal::Refusal;
use crate::register::PeriodLength;
use crate::vault::{Epoch, SectorState};

/// Epoch and period, if the client names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainRequest {
    /// The epoch.
    pub epoch: Option<u32>,
    /// The period, `2026` or `2026-11`.
    pub period: Option<String>,
}

/// The time of a request, and the clock's high-water mark that it is checked against if the domain
/// depends on the clock.
#[derive(Clone, Copy)]
pub(super) struct RequestTime<'m> {
    pub(super) now: Timestamp,
    pub(super) mark: &'m ClockMark,
}

impl RequestTime<'_> {
    /// The time for decisions about periods and overlaps, which a clock that was set back must not
    /// reopen.
    fn steady(self) -> Result<Timestamp, ClockBehind> {
        self.mark.steady(self.now)
    }
}

/// A domain that is open: epoch and granularity values.
pub(crate) struct OpenDomain {
    pub(crate) epoch: Arc<Epoch>,
    pub(crate) scope: DomainScope,
}

impl OpenDomain {
    /// The domain as answers and log entries state it.
    pub(super) fn named(&self) -> Domain {
        Domain::of(&self.scope, self.epoch.row.epoch)
    }
}

/// The domains in which a request is answered.
pub(super) struct RequestDomains {
    pub(super) current: OpenDomain,
    /// The previous epoch's, if the client wants its pseudonyms too and its overlap lasts.
    pub(super) previous: Option<OpenDomain>,
}

/// Finds the domains in which a request is answered.
///
/// # Errors
/// Those of [`open`].
pub(super) fn of(
    state: &SectorState,
    permit: &TokenizePermit,
    options: &TokenizeOptions,
    time: RequestTime<'_>,
) -> Result<RequestDomains, Refusal> {
    let current = open(state, permit, &options.domain, time)?;
    let previous = previous(state, permit, options, &current, time)?;
    Ok(RequestDomains { current, previous })
}

/// Finds the domain in which the request is answered.
///
/// # Errors
/// [`Code::DomainClosed`] for an epoch or period that is not open; [`Code::UnknownPurpose`] if the
/// sector separates purposes and the client names none; [`Code::ClockBehind`] if a period or an
/// overlap depends on a clock that is behind its mark.
fn open(
    state: &SectorState,
    permit: &TokenizePermit,
    asked: &DomainRequest,
    time: RequestTime<'_>,
) -> Result<OpenDomain, Refusal> {
    let current = state.current();
    let epoch = match asked.epoch {
        None => current,
        Some(named) if named == current.row.epoch => current,
        Some(named) => {
            let open = |epoch: &Arc<Epoch>| epoch.row.epoch == named && epoch.key.is_some();
            state
                .previous(time.steady()?)
                .filter(open)
                .ok_or(Code::DomainClosed)?
        }
    };
    let scope = scope(state, permit, &epoch, asked.period.as_deref(), time)?;
    Ok(OpenDomain { epoch, scope })
}

/// The previous epoch's domain, if the client wants its pseudonyms too and its overlap lasts.
fn previous(
    state: &SectorState,
    permit: &TokenizePermit,
    options: &TokenizeOptions,
    current: &OpenDomain,
    time: RequestTime<'_>,
) -> Result<Option<OpenDomain>, Refusal> {
    if !options.previous {
        return Ok(None);
    }
    // A destroyed epoch has no pseudonyms any more, but the present epoch's are still answered.
    let wanted =
        |epoch: &Arc<Epoch>| epoch.row.epoch != current.epoch.row.epoch && epoch.key.is_some();
    let now = time.steady()?;
    let Some(epoch) = state.previous(now).filter(wanted) else {
        return Ok(None);
    };
    let scope = scope(
        state,
        permit,
        &epoch,
        options.domain.period.as_deref(),
        time,
    )?;
    Ok(Some(OpenDomain { epoch, scope }))
}

fn scope(
    state: &SectorState,
    permit: &TokenizePermit,
    epoch: &Epoch,
    named_period: Option<&str>,
    time: RequestTime<'_>,
) -> Result<DomainScope, Refusal> {
    let granularity = epoch.terms.granularity;
    if granularity.purpose && permit.purpose.is_none() {
        return Err(Code::UnknownPurpose.into());
    }
    let period = match (granularity.period, named_period) {
        (None, None) => String::new(),
        (None, Some(_)) => return Err(Code::DomainClosed.into()),
        (Some(length), None) => period_of(length, time.steady()?),
        (Some(length), Some(named)) => open_period(
            length,
            named,
            state.sector.period_grace_days,
            time.steady()?,
        )?,
    };
    Ok(DomainScope {
        controller: if granularity.controller {
            permit.client.organisation.to_string()
        } else {
            String::new()
        },
        purpose: if granularity.purpose {
            text(permit.purpose.as_ref())
        } else {
            String::new()
        },
        period,
    })
}

/// The period that contains `now`, in UTC.
pub fn period_of(length: PeriodLength, now: Timestamp) -> String {
    let date = now.to_zoned(TimeZone::UTC).date();
    match length {
        PeriodLength::Year => format!("{:04}", date.year()),
        PeriodLength::Month => format!("{:04}-{:02}", date.year(), date.month()),
    }
}

/// Accepts a named period if it is open: the present one, or the one before it while its grace
/// lasts.
fn open_period(
    length: PeriodLength,
    named: &str,
    grace_days: u32,
    now: Timestamp,
) -> Result<String, Code> {
    let present = period_of(length, now);
    if named == present {
        return Ok(present);
    }
    let date = now.to_zoned(TimeZone::UTC).date();
    let first = match length {
        PeriodLength::Year => date.first_of_year(),
        PeriodLength::Month => date.first_of_month(),
    };
    let days_in = u32::from((date - first).get_days().unsigned_abs() as u16);
    let before = first
        .yesterday()
        .ok()
        .and_then(|day| day.to_zoned(TimeZone::UTC).ok())
        .map(|zoned| period_of(length, zoned.timestamp()));
    if days_in < grace_days && before.as_deref() == Some(named) {
        return Ok(named.to_owned());
    }
    Err(Code::DomainClosed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods() {
        assert_eq!(
            period_of(PeriodLength::Year, at("2026-12-31T23:59:59Z")),
            "2026"
        );
        assert_eq!(
            period_of(PeriodLength::Month, at("2026-03-01T00:00:00Z")),
            "2026-03"
        );
    }

    #[test]
    fn only_the_previous_period_stays_open_and_only_for_its_grace() {
        let open = |named, now| open_period(PeriodLength::Month, named, 5, at(now));
        assert_eq!(open("2026-11", "2026-11-22T00:00:00Z").unwrap(), "2026-11");
        assert_eq!(open("2026-10", "2026-11-05T23:59:59Z").unwrap(), "2026-10");
        assert_eq!(
            open("2026-10", "2026-11-06T00:00:00Z"),
            Err(Code::DomainClosed)
        );
        assert_eq!(
            open("2026-09", "2026-11-01T00:00:00Z"),
            Err(Code::DomainClosed)
        );
        assert_eq!(
            open("2026-12", "2026-11-30T23:59:59Z"),
            Err(Code::DomainClosed)
        );
        assert_eq!(open("2025-12", "2026-01-01T00:00:00Z").unwrap(), "2025-12");
        assert_eq!(
            open("2026-1", "2026-02-01T00:00:00Z"),
            Err(Code::DomainClosed)
        );
        assert_eq!(
            open_period(PeriodLength::Year, "2025", 31, at("2026-01-31T12:00:00Z")).unwrap(),
            "2025"
        );
        assert_eq!(
            open_period(PeriodLength::Year, "2025", 31, at("2026-02-01T00:00:00Z")),
            Err(Code::DomainClosed)
        );
    }
}
