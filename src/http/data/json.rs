//! A batch as JSON. Strings are borrowed from the body; the answer is written straight into its
//! buffer.

use std::borrow::Cow;
use std::fmt;

use axum::http::Uri;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::ClientBatch;
use crate::audit::Domain;
use crate::code::Code;
use crate::http::body;
use crate::http::problem::Problem;
use crate::json;
use crate::pseudonym::{Pseudonym, TextWriter};
use crate::register::SpkiDigest;
use crate::tokenize::{self, DomainRequest, TokenizeOptions, TokenizedBatch};
use crate::utis::PendingUtis;
use crate::vault::Vault;

/// A batch of identifiers of one scheme.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch)]
pub struct JsonBatch<'a> {
    /// Scheme id.
    #[serde(borrow)]
    #[schema(value_type = String, example = "cnie")]
    scheme: JsonText<'a>,
    /// At most 100 000 identifiers.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>, example = json!(["AB123456", "be9876"]))]
    identifiers: JsonItems<'a>,
    /// Purpose code.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "billing")]
    purpose: Option<JsonText<'a>>,
    /// The domain to answer in; the present one if absent.
    #[serde(default, deserialize_with = "json::maybe_object")]
    domain: Option<NamedDomain>,
}

impl<'a> JsonBatch<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Code::MalformedBody`], saying where; not what stands there, because serde_json's own words
    /// may quote an identifier.
    pub fn read(body: &'a [u8]) -> Result<Self, Problem> {
        json::read_object(body).map_err(|error| malformed(&error))
    }

    /// Its identifiers in order, at most one more than a request may have; the code of those that
    /// are not strings.
    pub fn identifiers(&self) -> impl ExactSizeIterator<Item = Result<&str, Code>> + Clone {
        self.identifiers.0.iter().map(JsonItem::text)
    }
}

/// The epoch and period that a client names.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Named)]
pub(in crate::http) struct NamedDomain {
    /// The epoch.
    #[serde(default)]
    epoch: Option<u32>,
    /// `2026` or `2026-11`.
    #[serde(default)]
    period: Option<String>,
}

/// The answer to a batch.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Pseudonyms {
    /// Sector name.
    sector: String,
    /// The domain answered in.
    domain: Domain,
    /// How many identifiers were accepted.
    accepted: u64,
    /// How many were rejected.
    rejected: u64,
    /// In the order of the request; `null` for a rejected identifier.
    pseudonyms: Vec<Option<String>>,
    /// The previous epoch's, with `?previous=true` and while its overlap lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousAnswer>,
    /// One for each rejected identifier.
    errors: Vec<ItemError>,
}

/// The previous epoch's pseudonyms.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct PreviousAnswer {
    /// Its domain.
    domain: Domain,
    /// In the order of the request.
    pseudonyms: Vec<Option<String>>,
}

/// Why an identifier was rejected.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ItemError {
    /// Place in the request, from 0.
    index: u32,
    /// The item's code.
    #[schema(value_type = String, example = "identifier-pattern")]
    code: Code,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonQuery {
    #[serde(default)]
    previous: bool,
}

/// A string that borrows from the body if it has no escapes. (Serde always copies a plain `Cow`
/// within a `Vec`.)
struct JsonText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = JsonText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// An element of `identifiers`: its string, or nothing if it is of another type, which is an error
/// of this item only.
struct JsonItem<'a>(Option<Cow<'a, str>>);

impl JsonItem<'_> {
    fn text(&self) -> Result<&str, Code> {
        self.0.as_deref().ok_or(Code::IdentifierNotText)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonItem<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = JsonItem<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an identifier")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonItem(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonItem(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonItem(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(JsonItem(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(JsonItem(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(JsonItem(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(JsonItem(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(JsonItem(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(JsonItem(None))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

/// The elements of a request, up to one more than it may have. The rest is skipped, so that a body
/// full of empty elements takes no more memory.
struct JsonItems<'a>(Vec<JsonItem<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonItems<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = JsonItems<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of identifiers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                    if items.len() > tokenize::MAX_ITEMS {
                        while list.next_element::<JsonItem<'de>>()?.is_some() {}
                        break;
                    }
                }
                Ok(JsonItems(items))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

/// Begins the batch of a body.
pub(super) fn begin(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    uri: &Uri,
    bytes: &[u8],
) -> Result<(ClientBatch, PendingUtis), Problem> {
    let query: JsonQuery = body::query(uri)?;
    let batch = JsonBatch::read(bytes)?;
    let permit = super::permit(
        vault,
        peer,
        sector,
        &batch.scheme.0,
        batch.purpose.as_ref().map(|p| &*p.0),
    )?;
    let named = batch.domain.as_ref();
    let domain = named.map_or_else(DomainRequest::default, |named| DomainRequest {
        epoch: named.epoch,
        period: named.period.clone(),
    });
    let options = TokenizeOptions {
        domain,
        previous: query.previous,
    };
    Ok(tokenize::begin(
        vault,
        permit,
        &options,
        batch.identifiers(),
    )?)
}

/// Names the place of the error, not the text there: serde_json's message may quote an identifier.
fn malformed(error: &serde_json::Error) -> Problem {
    let wanted = r#"the body is {"scheme":…,"identifiers":[…],"purpose"?:…,"domain"?:{"epoch"?:…,"period"?:…}}"#;
    let place = format!(
        "{wanted}; see line {}, column {}",
        error.line(),
        error.column()
    );
    Problem::new(Code::MalformedBody).detail(place)
}

/// Writes an answer: the members of [`Pseudonyms`], without building one.
pub(super) fn write(answer: &TokenizedBatch) -> Vec<u8> {
    let items = answer.pseudonyms.len() + answer.errors.len();
    let lists = 1 + usize::from(answer.previous.is_some());
    let mut out = Vec::with_capacity(
        256 + lists * items * (TextWriter::MAX_LEN + 3) + answer.errors.len() * 64,
    );
    out.extend_from_slice(b"{\"sector\":");
    value(&mut out, &answer.sector);
    out.extend_from_slice(b",\"domain\":");
    value(&mut out, &answer.domain);
    out.extend_from_slice(
        format!(
            ",\"accepted\":{},\"rejected\":{},\"pseudonyms\":[",
            answer.pseudonyms.len(),
            answer.errors.len()
        )
        .as_bytes(),
    );
    list(&mut out, answer, &answer.pseudonyms, &answer.writer);
    out.push(b']');
    if let Some(previous) = &answer.previous {
        out.extend_from_slice(b",\"previous\":{\"domain\":");
        value(&mut out, &previous.domain);
        out.extend_from_slice(b",\"pseudonyms\":[");
        list(&mut out, answer, &previous.pseudonyms, &previous.writer);
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b",\"errors\":");
    let errors: Vec<_> = answer
        .errors
        .iter()
        .map(|(index, code)| ItemError {
            index: *index,
            code: *code,
        })
        .collect();
    value(&mut out, &errors);
    out.push(b'}');
    out
}

fn value(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("plain data into memory");
}

fn list(out: &mut Vec<u8>, answer: &TokenizedBatch, pseudonyms: &[Pseudonym], writer: &TextWriter) {
    let quoted = |out: &mut Vec<u8>, pseudonym| {
        out.push(b'"');
        writer.write(pseudonym, out);
        out.extend_from_slice(b"\",");
    };
    if answer.errors.is_empty() {
        pseudonyms
            .iter()
            .for_each(|pseudonym| quoted(out, pseudonym));
    } else {
        answer.each(|item| match item {
            Ok(place) => quoted(out, &pseudonyms[place]),
            Err(_) => out.extend_from_slice(b"null,"),
        });
    }
    if out.last() == Some(&b',') {
        out.pop();
    }
}
