//! cloison: a hardened vault for sector identifiers.
//!
//! Rooms, from the bottom up; a room imports only from rooms above it in this list (`tests/house.rs` checks it):
//!
//! | room | what it holds |
//! |---|---|
//! | [`code`], [`clock`] | the closed list of outward codes; time and randomness as parameters |
//! | [`jws`] | strict JWS General JSON: one payload, many signatures |
//! | [`identifier`], [`register`], [`pseudonym`] | what the domain is: types that cannot be wrong |
//! | [`keys`], [`seal`] | root secrets and the key schedule; the two envelopes |
//! | [`store`] | the only room that knows RocksDB; sees sealed bytes, never a key |
//! | [`audit`], [`commit`] | audit entries; the one writer that makes effect and entry durable together |
//! | [`vault`], [`access`] | the vault's state; the authoriser, who alone makes permits |
//! | [`node`] | the authority node's state |
//! | [`tokenize`], [`epoch`], [`order`], [`reidentify`] | use cases: plain, synchronous |
//! | [`config`], [`metrics`] | configuration files; counters |
//! | [`http`], [`client`] | the doors, and the client that knocks at them |
//! | [`cli`] | the command line |
#![warn(missing_docs)]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod access;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod code;
pub mod commit;
pub mod config;
pub mod epoch;
pub mod http;
pub mod identifier;
pub mod jws;
pub mod keys;
pub mod metrics;
pub mod node;
pub mod order;
pub mod pseudonym;
pub mod register;
pub mod reidentify;
pub mod seal;
pub mod store;
pub mod tokenize;
pub mod vault;
