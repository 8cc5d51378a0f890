//! The keys under which the store indexes an entry, beside its number: the kind of its items' tags,
//! and the order under which it released something.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use super::AuditEvent;
use crate::store::{EntryKeys, TagKind};

impl AuditEvent {
    /// The keys under which the store indexes an entry about this event.
    pub(crate) fn keys(&self) -> EntryKeys {
        match self {
            AuditEvent::Release(release) => keys("release", Some(&release.order)),
            AuditEvent::LookUp(_) => keys("look-up", None),
            _ => EntryKeys::default(),
        }
    }
}

/// The same keys, read from a stored entry.
pub(crate) fn keys_of(entry: &[u8]) -> EntryKeys {
    #[derive(Deserialize)]
    struct KeyMembers<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
        #[serde(borrow, default)]
        order: Option<Cow<'a, str>>,
    }
    let read = serde_json::from_slice::<KeyMembers<'_>>(entry);
    read.map(|members| keys(&members.event, members.order.as_deref()))
        .unwrap_or_default()
}

fn keys(event: &str, order: Option<&str>) -> EntryKeys {
    let tags = if event == "look-up" {
        TagKind::LookUp
    } else {
        TagKind::Resolution
    };
    let order = order
        .filter(|_| event == "release")
        .and_then(|order| Uuid::try_parse(order).ok());
    EntryKeys { tags, order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_found_by_its_order_and_a_look_up_is_not() {
        let order = "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d";
        let entry = |event: &str| format!(r#"{{"event":"{event}","items":1,"order":"{order}"}}"#);
        let found = |event| keys_of(entry(event).as_bytes());
        assert_eq!(
            found("release"),
            EntryKeys {
                tags: TagKind::Resolution,
                order: order.parse().ok()
            }
        );
        assert_eq!(
            found("look-up"),
            EntryKeys {
                tags: TagKind::LookUp,
                order: None
            }
        );
        assert_eq!(found("reveal"), EntryKeys::default());
        assert_eq!(keys_of(b"no entry"), EntryKeys::default());
    }
}
