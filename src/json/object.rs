//! The members of a JSON object, taken out one by one by name and type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::JsonFault;

const DUPLICATE: &str = "a member appears twice";
const FOREIGN: &str = "a null, a boolean, a fraction or a negative number";

/// A JSON value of the kinds that signed texts may hold.
pub enum JsonValue {
    /// A string.
    Text(String),
    /// A whole number, not negative.
    Number(u64),
    /// An array.
    List(Vec<JsonValue>),
    /// An object.
    Object(JsonObject),
}

/// The members of a JSON object, each of them once. Take the expected ones out, then call
/// [`JsonObject::end`].
#[derive(Default)]
pub struct JsonObject(BTreeMap<String, JsonValue>);

impl JsonObject {
    /// Reads one JSON object, strictly.
    ///
    /// # Errors
    /// [`JsonFault::Text`], which never holds a piece of the text.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonFault> {
        match serde_json::from_slice(bytes) {
            Ok(JsonValue::Object(members)) => Ok(members),
            Ok(_) => Err(JsonFault::Text("no JSON object")),
            Err(error) => {
                // Only this room's own sentences are returned, because serde's may quote the text.
                let said = error.to_string();
                Err(JsonFault::Text(
                    [DUPLICATE, FOREIGN]
                        .into_iter()
                        .find(|s| said.starts_with(s))
                        .unwrap_or("no JSON"),
                ))
            }
        }
    }

    /// Takes member `name`, a string.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn text(&mut self, name: &'static str) -> Result<String, JsonFault> {
        self.maybe_text(name)?.ok_or(JsonFault::Member {
            name,
            fault: "is missing",
        })
    }

    /// Takes member `name`, a string, if it is there.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is something else.
    pub fn maybe_text(&mut self, name: &'static str) -> Result<Option<String>, JsonFault> {
        match self.0.remove(name) {
            Some(JsonValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(JsonFault::Member {
                name,
                fault: "must be a string",
            }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, a whole number.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn number(&mut self, name: &'static str) -> Result<u64, JsonFault> {
        self.maybe_number(name)?.ok_or(JsonFault::Member {
            name,
            fault: "is missing",
        })
    }

    /// Takes member `name`, a whole number, if it is there.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is something else.
    pub fn maybe_number(&mut self, name: &'static str) -> Result<Option<u64>, JsonFault> {
        match self.0.remove(name) {
            Some(JsonValue::Number(number)) => Ok(Some(number)),
            Some(_) => Err(JsonFault::Member {
                name,
                fault: "must be a whole number",
            }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, a whole number below 2³².
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn small(&mut self, name: &'static str) -> Result<u32, JsonFault> {
        let fault = JsonFault::Member {
            name,
            fault: "must be a whole number below 2^32",
        };
        u32::try_from(self.number(name)?).map_err(|_| fault)
    }

    /// Takes member `name`, an object.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn object(&mut self, name: &'static str) -> Result<JsonObject, JsonFault> {
        self.maybe_object(name)?.ok_or(JsonFault::Member {
            name,
            fault: "is missing",
        })
    }

    /// Takes member `name`, an object, if it is there.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is something else.
    pub fn maybe_object(&mut self, name: &'static str) -> Result<Option<JsonObject>, JsonFault> {
        match self.0.remove(name) {
            Some(JsonValue::Object(members)) => Ok(Some(members)),
            Some(_) => Err(JsonFault::Member {
                name,
                fault: "must be an object",
            }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, an array of objects.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn objects(&mut self, name: &'static str) -> Result<Vec<JsonObject>, JsonFault> {
        self.list(name, "must be an array of objects", |item| match item {
            JsonValue::Object(members) => Some(members),
            _ => None,
        })
    }

    /// Takes member `name`, an array of strings.
    ///
    /// # Errors
    /// [`JsonFault::Member`] if it is missing or something else.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, JsonFault> {
        self.list(name, "must be an array of strings", string)
    }

    /// Takes all members that are left, each an array of strings, from an object whose names are
    /// free.
    ///
    /// # Errors
    /// [`JsonFault::Member`] with `name`, that of this object, if one is something else.
    pub fn into_texts_by_name(
        self,
        name: &'static str,
    ) -> Result<BTreeMap<String, Vec<String>>, JsonFault> {
        let fault = JsonFault::Member {
            name,
            fault: "must be an object of arrays of strings",
        };
        let texts = |value| match value {
            JsonValue::List(items) => items.into_iter().map(string).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        self.0
            .into_iter()
            .map(|(key, value)| texts(value).map(|list| (key, list)))
            .collect::<Option<_>>()
            .ok_or(fault)
    }

    /// Refuses members that were not taken.
    ///
    /// # Errors
    /// [`JsonFault::UnknownMember`], which does not name the member, because a name could hold
    /// anything.
    pub fn end(self) -> Result<(), JsonFault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(JsonFault::UnknownMember)
        }
    }

    fn list<T>(
        &mut self,
        name: &'static str,
        fault: &'static str,
        item: impl Fn(JsonValue) -> Option<T>,
    ) -> Result<Vec<T>, JsonFault> {
        match self.0.remove(name) {
            Some(JsonValue::List(items)) => items
                .into_iter()
                .map(item)
                .collect::<Option<_>>()
                .ok_or(JsonFault::Member { name, fault }),
            Some(_) => Err(JsonFault::Member { name, fault }),
            None => Err(JsonFault::Member {
                name,
                fault: "is missing",
            }),
        }
    }
}

fn string(value: JsonValue) -> Option<String> {
    match value {
        JsonValue::Text(text) => Some(text),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = JsonValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<JsonValue, E> {
        Ok(JsonValue::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<JsonValue, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<JsonValue, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<JsonValue, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_unit<E: Error>(self) -> Result<JsonValue, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(JsonValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            members.insert(name, map.next_value()?);
        }
        Ok(JsonValue::Object(JsonObject(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        JsonObject::parse(text.as_bytes())
            .err()
            .expect("must be refused")
            .to_string()
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for text in [
            r#"{"a":"1","a":"1"}"#,
            r#"{"a":{"b":"1","b":"2"}}"#,
            r#"{"a":[[{"b":1,"c":[],"b":1}]]}"#,
            // The same name, written with an escape.
            r#"{"a":"1","\u0061":"2"}"#,
        ] {
            assert!(refused(text).contains(DUPLICATE), "{text}");
        }
    }

    #[test]
    fn what_nothing_signed_needs_is_refused() {
        for text in [
            "null",
            "true",
            "1.0",
            "1e3",
            "-1",
            "-0",
            "18446744073709551616",
        ] {
            assert!(
                refused(&format!(r#"{{"a":{text}}}"#)).contains(FOREIGN),
                "{text}"
            );
        }
    }

    #[test]
    fn messages_never_quote_the_text() {
        for text in [
            "sante1qqq",
            r#"{"sante1qqq":1"#,
            r#"{"a":sante1qqq}"#,
            r#"["sante1qqq"]"#,
            r#""sante1qqq""#,
        ] {
            assert!(!refused(text).contains("sante1"), "{text}");
        }
        let mut members = JsonObject::parse(br#"{"sante1qqq":1,"a":2}"#).unwrap();
        assert!(
            !members
                .text("a")
                .unwrap_err()
                .to_string()
                .contains("sante1")
        );
        assert!(!members.end().unwrap_err().to_string().contains("sante1"));
    }

    #[test]
    fn one_object_and_nothing_else() {
        for text in [
            "",
            " ",
            "{}{}",
            "{} x",
            "[]",
            "\u{feff}{}",
            "{\"a\":\"\u{0}\"}",
            r#"{"a":"\ud800"}"#,
            "{'a':1}",
        ] {
            refused(text);
        }
        assert!(JsonObject::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(
            JsonObject::parse(format!("{}1{}", r#"{"a":"#.repeat(500), "}".repeat(500)).as_bytes())
                .is_err()
        );
        assert!(JsonObject::parse(b" {} \n").unwrap().end().is_ok());
    }
}
