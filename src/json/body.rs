//! Reads structs from JSON objects only, for the bodies of requests and for files.
//!
//! `serde`'s derived readers also accept an array for a struct and identify its members by their
//! place. That would be a second, undocumented spelling of every request.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::de::Read;

/// Reads a whole text that is one JSON object.
///
/// # Errors
/// `serde_json`'s. Its message may quote the text, so show only the place.
pub fn read_object<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, serde_json::Error> {
    match std::str::from_utf8(text) {
        // One check of the whole text is faster than one for each of many short strings.
        Ok(text) => read_from(serde_json::Deserializer::from_str(text)),
        // This error has the place.
        Err(_) => read_from(serde_json::Deserializer::from_slice(text)),
    }
}

fn read_from<'t, R: Read<'t>, T: Deserialize<'t>>(
    mut deserializer: serde_json::Deserializer<R>,
) -> Result<T, serde_json::Error> {
    let value = object(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a struct from an object: for `deserialize_with`.
///
/// # Errors
/// The deserializer's, also for any other kind of value.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// Reads a struct from an object, or nothing from `null`: for `deserialize_with`.
///
/// # Errors
/// As [`object`].
pub fn maybe_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(MaybeVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

struct MaybeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MaybeVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        object(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OuterExample<'a> {
        name: &'a str,
        #[serde(default, deserialize_with = "maybe_object")]
        inner: Option<InnerExample>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct InnerExample {
        n: u8,
    }

    #[test]
    fn an_object_is_an_object_at_every_depth() {
        let read = |text: &'static str| read_object::<OuterExample<'_>>(text.as_bytes());
        assert_eq!(
            read(r#"{"name":"a","inner":{"n":1}}"#).unwrap(),
            OuterExample {
                name: "a",
                inner: Some(InnerExample { n: 1 })
            }
        );
        assert_eq!(
            read(r#" {"name":"a","inner":null} "#).unwrap(),
            OuterExample {
                name: "a",
                inner: None
            }
        );
        assert_eq!(
            read(r#"{"name":"a"}"#).unwrap(),
            OuterExample {
                name: "a",
                inner: None
            }
        );
        for wrong in [
            r#"["a",null]"#,
            r#"{"name":"a","inner":[1]}"#,
            r#"{"name":"a","name":"a"}"#,
            r#"{"name":"a","other":1}"#,
            r#"{"name":"a"}{}"#,
            r#""a""#,
            "null",
            "",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // The error has the place of the fault.
        let error = read("{\"name\":\"a\",\n\"other\":1}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 7));
    }
}
