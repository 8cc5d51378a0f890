//! The version of what node and vault say to one another, which both state in a header of each
//! question and each answer.
//!
//! A change after which one side would misread the other raises [`WIRE`]. Each version of cloison
//! also speaks the one before it, so that the two entities, who upgrade by themselves, need not do
//! so in the same minute: the vault first, then the nodes. Members that the other side may leave
//! out or passes over change nothing.
//!
//! | wire | since | what changed |
//! |---|---|---|
//! | 1 | 0.1 | not stated: there was no header |
//! | 2 | 0.2 | acts are exchanged in pages of bytes; the header |

use crate::code::Code;
use crate::refusal::Refusal;

/// The version that this cloison speaks.
pub const WIRE: u32 = 2;
/// The oldest version that it also speaks. 0.1 exchanged acts in a way that it does not.
pub const OLDEST_WIRE: u32 = 2;
/// The header that states the version, a decimal number.
pub const WIRE_HEADER: &str = "cloison-wire";

/// Checks what the other side states; `other` is what it is called, and `None` says that it states
/// nothing.
///
/// # Errors
/// [`Code::WireVersion`], which says which side is to be upgraded.
pub fn check(other: &str, stated: Option<&[u8]>) -> Result<(), Refusal> {
    let version = match stated {
        None => Some(1),
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok()),
    };
    let remedy = match version {
        Some(OLDEST_WIRE..=WIRE) => return Ok(()),
        Some(..OLDEST_WIRE) => format!("upgrade the {other}"),
        Some(_) => format!("the {other} is of a later version: upgrade this side"),
        None => format!("what the {other} states is no version"),
    };
    let theirs = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    let ours = if OLDEST_WIRE == WIRE {
        WIRE.to_string()
    } else {
        format!("{OLDEST_WIRE} and {WIRE}")
    };
    let why = format!(
        "the {other} speaks version {theirs} of what vault and node say to one another, and this side {ours}; {remedy}"
    );
    Err(Refusal::new(Code::WireVersion, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_far_apart_is_refused_and_says_which_side_to_upgrade() {
        check("vault", Some(WIRE.to_string().as_bytes())).unwrap();
        check("vault", Some(OLDEST_WIRE.to_string().as_bytes())).unwrap();
        assert!(WIRE - OLDEST_WIRE <= 1);
        let later = (WIRE + 1).to_string();
        for (stated, remedy) in [
            (None, "upgrade the vault"),
            (Some(&b"1"[..]), "upgrade the vault"),
            (Some(later.as_bytes()), "upgrade this side"),
            (Some(b"two"), "is no version"),
            (Some(b"\xff"), "is no version"),
            (Some(b"99999999999"), "is no version"),
        ] {
            let refused = check("vault", stated).unwrap_err();
            assert_eq!(refused.code(), Code::WireVersion);
            assert!(refused.to_string().contains(remedy), "{refused}");
        }
    }
}
