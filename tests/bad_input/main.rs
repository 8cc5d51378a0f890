//! Everything that somebody can send, and must not get anywhere with: each refusal has its status
//! and its stable code (RFC 9457), tells nothing about a person, is in the audit log, and leaves
//! nothing half done. And, beside it, the right form of the same, so that a refusal is known to be
//! for its reason.
//!
//! Real processes, real TLS, the real store; what is left is read from the stores when the
//! processes have ended.

#[path = "../common/actors.rs"]
mod actors;
#[path = "../common/mod.rs"]
mod common;

mod batches;
mod browsers;
mod certificates;
mod checks;
mod command_line;
mod described;
mod domains;
mod fairness;
mod items;
mod openapi;
mod orders;
mod pseudonyms;
mod quotas;
mod registers;
mod streams;
mod watch;
