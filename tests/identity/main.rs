//! The identity source under another administrator: real processes, hostile requests, and what a
//! thief gains.

#[path = "../common/mod.rs"]
mod common;

mod source;
