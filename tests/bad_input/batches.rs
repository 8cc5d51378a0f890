//! Requests to the data listener that are refused as a whole.

mod form;
mod permission;
mod size;
mod strangers;

use serde_json::json;

/// A request that would be right.
fn right(identifier: &str) -> Vec<u8> {
    json!({"scheme": "cnie", "identifiers": [identifier], "purpose": "billing"})
        .to_string()
        .into_bytes()
}
