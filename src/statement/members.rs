//! The members of statements, by type: each value has one canonical spelling, and every other
//! spelling is refused.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Serializer;
use uuid::Uuid;

use crate::id::Id;
use crate::json::{JsonFault, JsonObject};

const NO_ID: &str = "is no id";
const NO_TIME: &str = "is not written like 2026-11-22T09:00:00Z";

impl JsonObject {
    /// Takes member `name`, an id.
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn id(&mut self, name: &'static str) -> Result<Id, JsonFault> {
        Id::parse(&self.text(name)?).ok_or(JsonFault::Value { name, fault: NO_ID })
    }

    /// Takes member `name`, an array of ids.
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn ids(&mut self, name: &'static str) -> Result<Vec<Id>, JsonFault> {
        let ids = self
            .texts(name)?
            .iter()
            .map(|text| Id::parse(text))
            .collect::<Option<_>>();
        ids.ok_or(JsonFault::Value {
            name,
            fault: "names one that is no id",
        })
    }

    /// Takes member `name`, a reason: an id that names nobody.
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn reason(&mut self, name: &'static str) -> Result<Id, JsonFault> {
        let fault = JsonFault::Value {
            name,
            fault: "is not a code of a-z, 0-9 and '-'",
        };
        Id::parse(&self.text(name)?).ok_or(fault)
    }

    /// Takes member `name`, a UUID of any version (RFC 9562 §4, lower case with hyphens).
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn uuid(&mut self, name: &'static str) -> Result<Uuid, JsonFault> {
        let fault = JsonFault::Value {
            name,
            fault: "is not a UUID in lower case with hyphens",
        };
        uuid(&self.text(name)?).ok_or(fault)
    }

    /// Takes member `name`, a random UUID (version 4).
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn random_uuid(&mut self, name: &'static str) -> Result<Uuid, JsonFault> {
        let fault = JsonFault::Value {
            name,
            fault: "is not a random UUID in lower case with hyphens",
        };
        uuid(&self.text(name)?)
            .filter(|uuid| uuid.get_version_num() == 4)
            .ok_or(fault)
    }

    /// Takes member `name`, a whole second in UTC (RFC 3339, `Z`).
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn time(&mut self, name: &'static str) -> Result<Timestamp, JsonFault> {
        self.maybe_time(name)?.ok_or(JsonFault::Member {
            name,
            fault: "is missing",
        })
    }

    /// Takes member `name`, a whole second in UTC, if it is there.
    ///
    /// # Errors
    /// [`JsonFault`] if it is something else.
    pub fn maybe_time(&mut self, name: &'static str) -> Result<Option<Timestamp>, JsonFault> {
        let Some(text) = self.maybe_text(name)? else {
            return Ok(None);
        };
        let time = text
            .parse::<Timestamp>()
            .ok()
            .filter(|t| t.subsec_nanosecond() == 0 && t.to_string() == text);
        time.map(Some).ok_or(JsonFault::Value {
            name,
            fault: NO_TIME,
        })
    }

    /// Takes member `name`, a SHA-256 in hex.
    ///
    /// # Errors
    /// [`JsonFault`] if it is missing or something else.
    pub fn digest(&mut self, name: &'static str) -> Result<[u8; 32], JsonFault> {
        digest(&self.text(name)?).ok_or(JsonFault::Value {
            name,
            fault: "is not a SHA-256 in lower-case hex",
        })
    }
}

fn uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text)
        .ok()
        .filter(|uuid| uuid.hyphenated().to_string() == text)
}

/// Reads a SHA-256 in lower-case hex.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Writes a SHA-256 in lower-case hex: for `serialize_with`.
///
/// # Errors
/// The serializer's.
pub fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(digest))
}

/// Writes a list of SHA-256 in lower-case hex: for `serialize_with`.
///
/// # Errors
/// The serializer's.
pub fn as_hex_list<S: Serializer>(digests: &[[u8; 32]], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(digests.iter().map(|digest| HEXLOWER.encode(digest)))
}

/// Whether a text is a reference of a court or of the commission: `[A-Z0-9/.-]{1,40}`.
pub fn is_reference(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"/.-".contains(&b);
    (1..=40).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a list holds an item twice.
pub fn repeats<T: Ord>(items: &[T]) -> bool {
    let mut seen = BTreeSet::new();
    !items.iter().all(|item| seen.insert(item))
}
