//! Pseudonyms answered by the authority's node with identifiers, under an order.

use ed25519_dalek::SigningKey;

use super::input::InputBatch;
use super::{Answerer, TransferError, Waits};
use crate::client::Client;
use crate::client::officer::{OfficerCall, OfficerCallError};
use crate::clock::Clock;
use crate::code::Code;
use crate::register::Id;
use crate::reidentify::reveal::RevealedItem;

/// Asks a node for identifiers. Each batch is a request of its own, which the officer signs; vault
/// and node log each.
pub struct Reidentifier<'a> {
    /// The node.
    pub client: &'a Client,
    /// The order, signed.
    pub order: &'a str,
    /// The officer's id.
    pub officer: &'a Id,
    /// The officer's own key.
    pub key: &'a SigningKey,
    /// The sector's name.
    pub sector: &'a str,
    /// The time, for the requests.
    pub clock: &'a dyn Clock,
}

impl Answerer for Reidentifier<'_> {
    /// Sends the batch until it is answered. Asking twice is logged twice and counted once.
    fn answer(
        &mut self,
        batch: &InputBatch,
        waits: &mut Waits<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), TransferError> {
        // What is not UTF-8 is not a pseudonym, and is refused as one.
        let text = |item: &[u8]| String::from_utf8_lossy(item).into_owned();
        let pseudonyms: Vec<String> = batch.each().map(text).collect();
        let call = OfficerCall {
            order: self.order,
            officer: self.officer,
            key: self.key,
            sector: self.sector,
            pseudonyms: &pseudonyms,
        };
        let answer = waits.ask(|| {
            let asked = call.reidentify(self.client, self.clock.now());
            asked.map_err(|error| match error {
                OfficerCallError::Order(refusal) => TransferError::Order(refusal),
                OfficerCallError::Node(error) => TransferError::Server(error),
            })
        })?;
        for item in &answer.items {
            match item {
                RevealedItem::Identifier { scheme, value, .. } => {
                    answers.extend_from_slice(value.0.as_bytes());
                    answers.push(b'\t');
                    answers.extend_from_slice(scheme.as_bytes());
                }
                RevealedItem::Refused { code, .. } => {
                    answers.push(b'!');
                    answers.extend_from_slice(code.as_str().as_bytes());
                }
            }
            answers.push(b'\n');
        }
        Ok(())
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &["", "_scheme"]
    }

    /// `pseudonym`, `scheme`, `value`, or `pseudonym` and `!code`. An item that is not a pseudonym
    /// is replaced by its line: it may be an identifier that got into the wrong list.
    fn write_line(&self, item: &[u8], place: u64, answer: &[u8], out: &mut Vec<u8>) {
        match answer.strip_prefix(b"!") {
            Some(code) if code == Code::PseudonymMalformed.as_str().as_bytes() => {
                out.extend_from_slice(format!("#{place}").as_bytes());
            }
            _ => out.extend_from_slice(item),
        }
        out.push(b'\t');
        let mut columns = answer.split(|byte| *byte == b'\t');
        let (value, scheme) = (columns.next().unwrap_or_default(), columns.next());
        if let Some(scheme) = scheme {
            out.extend_from_slice(scheme);
            out.push(b'\t');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}
