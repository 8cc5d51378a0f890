//! Strict JSON (RFC 8259) for what is signed: one meaning per text.
//!
//! Parsers differ in what they make of a member that appears twice (RFC 8259 §4), so a text with one can mean one thing to
//! the person who signs and another to the program that acts. Here every such freedom is refused: duplicate members at
//! any depth, `null`, booleans, fractions and negative numbers (nothing signed needs them), members that nobody asked
//! for, and an array in place of an object (which `serde`'s derived readers accept).

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::JwsError;
use crate::id::Id;

const DUPLICATE: &str = "a member appears twice";
const FOREIGN: &str = "a null, a boolean, a fraction or a negative number";

/// A JSON value of the few kinds that signed texts are made of.
pub enum Json {
    /// A string.
    Text(String),
    /// A whole number, not negative.
    Number(u64),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Members),
}

/// The members of a JSON object, each there once. Take the expected ones out, then call [`Members::end`].
#[derive(Default)]
pub struct Members(BTreeMap<String, Json>);

impl Members {
    /// Reads one JSON object, strictly.
    ///
    /// # Errors
    /// [`JwsError::Json`] with what is wrong; never with a piece of the text.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwsError> {
        match serde_json::from_slice(bytes) {
            Ok(Json::Object(members)) => Ok(members),
            Ok(_) => Err(JwsError::Json("no JSON object")),
            Err(error) => {
                // Only our own sentences may leave: serde's quote the text.
                let said = error.to_string();
                Err(JwsError::Json([DUPLICATE, FOREIGN].into_iter().find(|s| said.starts_with(s)).unwrap_or("no JSON")))
            }
        }
    }

    /// Takes member `name`, a string.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn text(&mut self, name: &'static str) -> Result<String, JwsError> {
        self.maybe_text(name)?.ok_or(JwsError::Member { name, fault: "is missing" })
    }

    /// Takes member `name`, a string, if it is there.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is something else.
    pub fn maybe_text(&mut self, name: &'static str) -> Result<Option<String>, JwsError> {
        match self.0.remove(name) {
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(JwsError::Member { name, fault: "must be a string" }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, a whole number.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn number(&mut self, name: &'static str) -> Result<u64, JwsError> {
        self.maybe_number(name)?.ok_or(JwsError::Member { name, fault: "is missing" })
    }

    /// Takes member `name`, a whole number, if it is there.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is something else.
    pub fn maybe_number(&mut self, name: &'static str) -> Result<Option<u64>, JwsError> {
        match self.0.remove(name) {
            Some(Json::Number(number)) => Ok(Some(number)),
            Some(_) => Err(JwsError::Member { name, fault: "must be a whole number" }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, a whole number below 2³².
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn small(&mut self, name: &'static str) -> Result<u32, JwsError> {
        let fault = JwsError::Member { name, fault: "must be a whole number below 2^32" };
        u32::try_from(self.number(name)?).map_err(|_| fault)
    }

    /// Takes member `name`, an id.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn id(&mut self, name: &'static str) -> Result<Id, JwsError> {
        let fault = JwsError::Member { name, fault: "is not an id: 1 to 64 of a-z, 0-9 and '-'" };
        Id::parse(&self.text(name)?).ok_or(fault)
    }

    /// Takes member `name`, a random UUID (version 4) in its one canonical spelling.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn random_uuid(&mut self, name: &'static str) -> Result<Uuid, JwsError> {
        let text = self.text(name)?;
        let uuid = Uuid::try_parse(&text).ok().filter(|uuid| uuid.hyphenated().to_string() == text);
        let fault = JwsError::Member { name, fault: "is not a random UUID in lower case with hyphens" };
        uuid.filter(|uuid| uuid.get_version_num() == 4).ok_or(fault)
    }

    /// Takes member `name`, a whole second in UTC in its one canonical spelling (RFC 3339, `Z`).
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn time(&mut self, name: &'static str) -> Result<Timestamp, JwsError> {
        let text = self.text(name)?;
        let time = text.parse::<Timestamp>().ok().filter(|t| t.subsec_nanosecond() == 0 && t.to_string() == text);
        time.ok_or(JwsError::Member { name, fault: "is not written like 2026-11-22T09:00:00Z" })
    }

    /// Takes member `name`, an object.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn object(&mut self, name: &'static str) -> Result<Members, JwsError> {
        self.maybe_object(name)?.ok_or(JwsError::Member { name, fault: "is missing" })
    }

    /// Takes member `name`, an object, if it is there.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is something else.
    pub fn maybe_object(&mut self, name: &'static str) -> Result<Option<Members>, JwsError> {
        match self.0.remove(name) {
            Some(Json::Object(members)) => Ok(Some(members)),
            Some(_) => Err(JwsError::Member { name, fault: "must be an object" }),
            None => Ok(None),
        }
    }

    /// Takes member `name`, an array of objects.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn objects(&mut self, name: &'static str) -> Result<Vec<Members>, JwsError> {
        self.list(name, "must be an array of objects", |item| match item {
            Json::Object(members) => Some(members),
            _ => None,
        })
    }

    /// Takes member `name`, an array of strings.
    ///
    /// # Errors
    /// [`JwsError::Member`] when it is missing or something else.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, JwsError> {
        self.list(name, "must be an array of strings", string)
    }

    /// What is left, when every member is an array of strings: an object with free names.
    ///
    /// # Errors
    /// [`JwsError::Member`] with `name`, that of this object, when one is something else.
    pub fn into_texts_by_name(self, name: &'static str) -> Result<BTreeMap<String, Vec<String>>, JwsError> {
        let fault = JwsError::Member { name, fault: "must be an object of arrays of strings" };
        let texts = |value| match value {
            Json::List(items) => items.into_iter().map(string).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        self.0.into_iter().map(|(key, value)| texts(value).map(|list| (key, list))).collect::<Option<_>>().ok_or(fault)
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// [`JwsError::UnknownMember`]; the member is not named, for a name could say anything.
    pub fn end(self) -> Result<(), JwsError> {
        if self.0.is_empty() { Ok(()) } else { Err(JwsError::UnknownMember) }
    }

    fn list<T>(
        &mut self,
        name: &'static str,
        fault: &'static str,
        item: impl Fn(Json) -> Option<T>,
    ) -> Result<Vec<T>, JwsError> {
        match self.0.remove(name) {
            Some(Json::List(items)) => {
                items.into_iter().map(item).collect::<Option<_>>().ok_or(JwsError::Member { name, fault })
            }
            Some(_) => Err(JwsError::Member { name, fault }),
            None => Err(JwsError::Member { name, fault: "is missing" }),
        }
    }
}

fn string(value: Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Err(E::custom(FOREIGN))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            members.insert(name, map.next_value()?);
        }
        Ok(Json::Object(Members(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Members::parse(text.as_bytes()).err().expect("must be refused").to_string()
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for text in [
            r#"{"a":"1","a":"1"}"#,
            r#"{"a":{"b":"1","b":"2"}}"#,
            r#"{"a":[[{"b":1,"c":[],"b":1}]]}"#,
            // The same name, spelt with an escape.
            r#"{"a":"1","\u0061":"2"}"#,
        ] {
            assert!(refused(text).contains(DUPLICATE), "{text}");
        }
    }

    #[test]
    fn what_nothing_signed_needs_is_refused() {
        for text in ["null", "true", "1.0", "1e3", "-1", "-0", "18446744073709551616"] {
            assert!(refused(&format!(r#"{{"a":{text}}}"#)).contains(FOREIGN), "{text}");
        }
    }

    #[test]
    fn messages_never_quote_the_text() {
        for text in ["sante1qqq", r#"{"sante1qqq":1"#, r#"{"a":sante1qqq}"#, r#"["sante1qqq"]"#, r#""sante1qqq""#] {
            assert!(!refused(text).contains("sante1"), "{text}");
        }
        let mut members = Members::parse(br#"{"sante1qqq":1,"a":2}"#).unwrap();
        assert!(!members.text("a").unwrap_err().to_string().contains("sante1"));
        assert!(!members.end().unwrap_err().to_string().contains("sante1"));
    }

    #[test]
    fn one_object_and_nothing_else() {
        for text in ["", " ", "{}{}", "{} x", "[]", "\u{feff}{}", "{\"a\":\"\u{0}\"}", r#"{"a":"\ud800"}"#, "{'a':1}"] {
            refused(text);
        }
        assert!(Members::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(Members::parse(format!("{}1{}", r#"{"a":"#.repeat(500), "}".repeat(500)).as_bytes()).is_err());
        assert!(Members::parse(b" {} \n").unwrap().end().is_ok());
    }
}
