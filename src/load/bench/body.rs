//! Requests about made-up persons: passport numbers of eleven characters.

use std::io::Write as _;

/// Persons that there are.
pub const MOST: u64 = STATES.len() as u64 * NUMBERS;
const NUMBERS: u64 = 100_000_000;
/// Shares no factor with [`NUMBERS`], so that every number is visited once.
const STEP: u64 = 38_201;
const STATES: [&str; 10] = [
    "MAR", "DZA", "TUN", "MRT", "SEN", "MLI", "FRA", "ESP", "BEL", "ITA",
];

/// Length of an identifier in bytes.
pub const LENGTH: usize = 11;

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// A batch of identifiers.
    Cloison,
    /// A `batch_input` of OpenBao's transit engine, as many values.
    Openbao,
}

/// The identifier of person `n`.
pub fn identifier(n: u64) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    let state = STATES[(n / NUMBERS) as usize % STATES.len()];
    text[..3].copy_from_slice(state.as_bytes());
    let mut number = n % NUMBERS * STEP % NUMBERS;
    for digit in text[3..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

impl Dialect {
    /// Writes a request about `persons` into `body`.
    pub fn write(self, persons: impl Iterator<Item = u64>, body: &mut Vec<u8>) {
        body.clear();
        match self {
            Self::Cloison => {
                body.extend_from_slice(br#"{"scheme":"passport","identifiers":["#);
                for person in persons {
                    body.push(b'"');
                    body.extend_from_slice(&identifier(person));
                    body.extend_from_slice(b"\",");
                }
            }
            Self::Openbao => {
                body.extend_from_slice(br#"{"batch_input":["#);
                let mut text = [0; 16];
                for person in persons {
                    data_encoding::BASE64.encode_mut(&identifier(person), &mut text);
                    body.extend_from_slice(br#"{"input":""#);
                    body.extend_from_slice(&text);
                    body.extend_from_slice(b"\"},");
                }
            }
        }
        if body.last() == Some(&b',') {
            body.pop();
        }
        body.extend_from_slice(b"]}");
    }

    /// Whether `reply` answers all `items` of a batch. Checks only its head and length, so that the
    /// load stays cheap.
    pub fn is_complete(self, reply: &[u8], items: usize) -> bool {
        match self {
            Self::Cloison => {
                let mut wanted = Vec::with_capacity(48);
                let _ = write!(wanted, "\"accepted\":{items},\"rejected\":0,");
                let head = &reply[..reply.len().min(512)];
                head.windows(wanted.len()).any(|part| part == wanted)
            }
            // `{"hmac":"vault:v1:` and 44 characters of base64 for each.
            Self::Openbao => reply.len() >= items * 62,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_have_different_passports() {
        let ends = [0, NUMBERS - 1_000, NUMBERS, MOST - 1_000];
        let mut all: Vec<_> = ends
            .iter()
            .flat_map(|first| (*first..first + 1_000).map(identifier))
            .collect();
        assert!(
            all.iter()
                .all(|text| text[..3].is_ascii() && text[3..].iter().all(u8::is_ascii_digit))
        );
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4_000);
    }

    #[test]
    fn bodies_are_json_of_their_dialect() {
        let mut body = Vec::new();
        Dialect::Cloison.write(0..3, &mut body);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["identifiers"].as_array().unwrap().len(), 3);
        assert_eq!(value["identifiers"][1], "MAR00038201");
        Dialect::Openbao.write(0..3, &mut body);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["batch_input"][1]["input"], "TUFSMDAwMzgyMDE=");
    }

    #[test]
    fn an_answer_that_rejects_or_lacks_something_is_not_complete() {
        let reply = br#"{"sector":"health","domain":{},"accepted":2,"rejected":0,"pseudonyms":["#;
        assert!(Dialect::Cloison.is_complete(reply, 2));
        assert!(!Dialect::Cloison.is_complete(reply, 3));
        assert!(!Dialect::Cloison.is_complete(br#"{"accepted":2,"rejected":1,"#, 2));
        assert!(!Dialect::Openbao.is_complete(b"{\"errors\":[]}", 2));
    }
}
