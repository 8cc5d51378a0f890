//! Identifiers answered by the vault with pseudonyms.

use super::input::InputBatch;
use super::pace::{PaceVerdict, before};
use super::{Answerer, TransferError, TransferEvent, Waits};
use crate::client::{Client, path};

/// What is asked for of a sector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizeQuery {
    /// The sector's name.
    pub sector: String,
    /// The scheme of the identifiers.
    pub scheme: String,
    /// The declared purpose.
    pub purpose: Option<String>,
    /// Whether the previous epoch's pseudonyms are wanted too.
    pub previous: bool,
    /// The epoch to answer in; the present one if absent.
    pub epoch: Option<u32>,
    /// The period to answer in; the present one if absent.
    pub period: Option<String>,
}

impl TokenizeQuery {
    /// Path and query of the request. Names are encoded, so that none becomes another path or
    /// parameter; the vault refuses unknown ones.
    pub fn path(&self) -> String {
        // A part's encoding leaves no character that means something in a query, either.
        let value = |text: &str| path(&[text])[1..].to_owned();
        let mut whole = path(&["v1", "sectors", &self.sector, "pseudonyms"]);
        whole += &format!("?scheme={}", value(&self.scheme));
        if let Some(purpose) = &self.purpose {
            whole += &format!("&purpose={}", value(purpose));
        }
        if let Some(epoch) = self.epoch {
            whole += &format!("&epoch={epoch}");
        }
        if let Some(period) = &self.period {
            whole += &format!("&period={}", value(period));
        }
        if self.previous {
            whole += "&previous=true";
        }
        whole
    }
}

/// Asks a vault for pseudonyms.
pub struct Tokenizer<'a> {
    client: &'a Client,
    path: String,
    previous: bool,
}

impl<'a> Tokenizer<'a> {
    /// Asks at `client`.
    pub fn new(client: &'a Client, query: &TokenizeQuery) -> Self {
        Self {
            client,
            path: query.path(),
            previous: query.previous,
        }
    }

    /// Waits until the quota has room for so many items.
    fn keep_pace(&self, items: u64, waits: &mut Waits<'_>) -> Result<(), TransferError> {
        loop {
            let told = self.client.quota();
            let quota = told.map(|told| told.left.quota);
            match before(told, items) {
                PaceVerdict::Send => return Ok(()),
                PaceVerdict::Wait(pause) => {
                    let per_second = quota.map_or(0, |quota| quota.items_per_second);
                    (waits.tell)(TransferEvent::HeldBack { pause, per_second });
                    waits.sleep(pause)?;
                }
                PaceVerdict::DayOver { left, ends_in } => {
                    let per_day = quota.map_or(0, |quota| quota.items_per_day);
                    return Err(TransferError::DayOver {
                        left,
                        per_day,
                        ends_in,
                    });
                }
            }
        }
    }
}

impl Answerer for Tokenizer<'_> {
    /// Sends the batch until it is answered. Sending it twice is harmless: the same identifier
    /// gives the same pseudonym.
    fn answer(
        &mut self,
        batch: &InputBatch,
        waits: &mut Waits<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), TransferError> {
        self.keep_pace(batch.count as u64, waits)?;
        waits.ask(|| {
            let sent = self
                .client
                .post(&self.path, "text/plain", &batch.items, answers);
            Ok(sent?)
        })
    }

    fn suffixes(&self) -> &'static [&'static str] {
        if self.previous {
            &["", "_previous"]
        } else {
            &[""]
        }
    }

    fn write_line(&self, _: &[u8], _: u64, answer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(answer);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_other_paths_or_parameters() {
        let query = TokenizeQuery {
            sector: "health".into(),
            scheme: "cnie".into(),
            ..TokenizeQuery::default()
        };
        assert_eq!(query.path(), "/v1/sectors/health/pseudonyms?scheme=cnie");
        let odd = TokenizeQuery {
            sector: "a/../b?x".into(),
            scheme: "c&previous=true".into(),
            purpose: Some("p q".into()),
            previous: true,
            epoch: Some(2),
            period: Some("2026-11&x".into()),
        };
        assert_eq!(
            odd.path(),
            "/v1/sectors/a%2F..%2Fb%3Fx/pseudonyms?scheme=c%26previous%3Dtrue&purpose=p%20q&epoch=2\
             &period=2026-11%26x&previous=true"
        );
    }
}
