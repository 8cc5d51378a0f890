//! Strict JSON (RFC 8259): one meaning per text.
//!
//! Parsers differ on a member that appears twice (RFC 8259 §4), so such a text can mean one thing
//! to the person who signs it and another to the program that acts on it. [`JsonObject`] reads
//! signed texts and refuses every such freedom: duplicate members at any depth, `null`, booleans,
//! fractions and negative numbers (nothing signed needs them), members that the reader does not ask
//! for, and an array in place of an object. [`read_object`] reads the bodies of requests through
//! `serde` and refuses the last of these.

mod body;
mod object;

pub use body::{maybe_object, object, read_object};
pub use object::{JsonObject, JsonValue};

/// Why a text is not the strict JSON that its reader accepts. No variant holds a piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not one object of strict JSON.
    #[error("not strict JSON: {0}")]
    Text(&'static str),
    /// A member is missing or of another type.
    #[error("member `{name}` {fault}")]
    Member {
        /// The member.
        name: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A member is of the right type, but its value is not allowed.
    #[error("`{name}` {fault}")]
    Value {
        /// The member.
        name: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A member that is not expected: `header`, `crit`, `b64`, `jwk` or any other.
    #[error("a member that has no place there")]
    UnknownMember,
}
