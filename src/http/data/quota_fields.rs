//! What is left of the quota, in header fields of the answers: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10, Structured Fields of RFC 9651), so that a client keeps
//! its own pace and no request has to be refused.
//!
//! Two policies: `second`, a bucket that holds ten seconds' worth and fills evenly, and `day`,
//! which begins anew at midnight UTC. The unit is an item, not a request.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};

use crate::quota::QuotaLeft;
use crate::register::Quota;

/// `RateLimit-Policy`
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The seconds of a bucket's worth.
const WINDOW: u64 = 10;
/// The seconds of a day.
const DAY: u64 = 86_400;

/// Adds the fields to an answer.
pub(super) fn tell(headers: &mut HeaderMap, left: &QuotaLeft) {
    let policy = format!(
        r#""second";q={};w={WINDOW};qu="items", "day";q={};w={DAY};qu="items""#,
        left.capacity(),
        left.quota.items_per_day
    );
    let limit = format!(
        r#""second";r={};t={}, "day";r={};t={}"#,
        left.at_once, left.full_in, left.today, left.day_ends_in
    );
    for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
        // Digits and the ASCII above: always a value.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// Reads the fields of an answer; `None` where they are not there, or not as `tell` writes them.
pub fn read(headers: &HeaderMap) -> Option<QuotaLeft> {
    let text = |name| headers.get(name)?.to_str().ok();
    let (policy, limit) = (text(POLICY)?, text(LIMIT)?);
    let items_per_second =
        parameter(policy, "second", "q")? / parameter(policy, "second", "w")?.max(1);
    let seconds = |name| u32::try_from(parameter(limit, name, "t")?).ok();
    Some(QuotaLeft {
        quota: Quota {
            items_per_second,
            items_per_day: parameter(policy, "day", "q")?,
        },
        at_once: parameter(limit, "second", "r")?,
        full_in: seconds("second")?,
        today: parameter(limit, "day", "r")?,
        day_ends_in: seconds("day")?,
    })
}

/// A number among the parameters of a member of a list.
fn parameter(list: &str, member: &str, name: &str) -> Option<u64> {
    let mut members = list.split(',').map(|text| text.trim().split(';'));
    let mut parameters = members.find_map(|mut parts| {
        let named = parts.next()?.trim().trim_matches('"') == member;
        named.then_some(parts)
    })?;
    parameters.find_map(|text| {
        let (found, value) = text.trim().split_once('=')?;
        (found == name).then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let left = QuotaLeft {
            quota: Quota {
                items_per_second: 50_000,
                items_per_day: 5_000_000,
            },
            at_once: 499_000,
            full_in: 1,
            today: 4_999_000,
            day_ends_in: 3_600,
        };
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        tell(&mut headers, &left);
        assert_eq!(
            headers[POLICY],
            r#""second";q=500000;w=10;qu="items", "day";q=5000000;w=86400;qu="items""#
        );
        assert_eq!(
            headers[LIMIT],
            r#""second";r=499000;t=1, "day";r=4999000;t=3600"#
        );
        assert_eq!(read(&headers), Some(left));
        headers.insert(LIMIT, HeaderValue::from_static("\"second\";r=x, \"day\""));
        assert_eq!(read(&headers), None);
    }
}
