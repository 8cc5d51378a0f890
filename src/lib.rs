//! cloison: a hardened vault for sector identifiers.
//!
//! Rooms, from the bottom up; a room imports only from rooms above it in this list:
//!
//! | room | what it holds |
//! |---|---|
//! | [`code`], [`clock`] | the closed list of outward codes; time and randomness as parameters |
//! | [`identifier`], [`register`] | schemes and canonical forms; the declared facts, validated and signed |
//! | [`jws`] | strict JWS General JSON: one payload, many signatures |
#![warn(missing_docs)]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod clock;
pub mod code;
pub mod identifier;
pub mod jws;
pub mod register;
