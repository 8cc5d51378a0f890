//! Strict JSON (RFC 8259): one meaning per text.
//!
//! Parsers differ in what they make of a member that appears twice (RFC 8259 §4), so a text with
//! one can mean one thing to the person who signs it and another to the program that acts on it.
//! [`JsonObject`] reads what is signed and refuses every such freedom: duplicate members at any
//! depth, `null`, booleans, fractions and negative numbers (nothing signed needs them), members
//! that the reader does not ask for, and an array in place of an object. [`read_object`] reads the
//! bodies of requests through `serde` and refuses the last of these.

mod body;
mod object;

pub use body::{maybe_object, object, read_object};
pub use object::{JsonObject, JsonValue};

/// Why a text is not the strict JSON that its reader takes. No variant carries a piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not one object of strict JSON.
    #[error("not strict JSON: {0}")]
    Text(&'static str),
    /// A member is missing or of another type.
    #[error("member `{name}` {fault}")]
    Member {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A member is of the right type and holds none of the values that it may hold.
    #[error("`{name}` {fault}")]
    Value {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A member that has no place there: `header`, `crit`, `b64`, `jwk` or any other.
    #[error("a member that has no place there")]
    UnknownMember,
}
