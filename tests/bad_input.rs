//! Everything that somebody can send, and must not get anywhere with: each refusal has its status and its stable code
//! (RFC 9457), tells nothing about a person, is in the audit log, and leaves nothing half done. And, beside it, the right
//! form of the same, so that a refusal is known to be for its reason.
//!
//! Real processes, real TLS, the real store; what is left is read from the stores when the processes have ended.

mod common;

#[path = "bad_input/batches.rs"]
mod batches;
#[path = "bad_input/browsers.rs"]
mod browsers;
#[path = "bad_input/checks.rs"]
mod checks;
#[path = "bad_input/command_line.rs"]
mod command_line;
#[path = "bad_input/domains.rs"]
mod domains;
#[path = "bad_input/fairness.rs"]
mod fairness;
#[path = "bad_input/items.rs"]
mod items;
#[path = "bad_input/openapi.rs"]
mod openapi;
#[path = "bad_input/orders.rs"]
mod orders;
#[path = "bad_input/pseudonyms.rs"]
mod pseudonyms;
#[path = "bad_input/quotas.rs"]
mod quotas;
#[path = "bad_input/registers.rs"]
mod registers;
#[path = "bad_input/streams.rs"]
mod streams;
#[path = "bad_input/watch.rs"]
mod watch;
