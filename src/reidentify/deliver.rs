//! Answers sealed to the officer's own key, so that identifiers are in clear neither on the node's
//! disk nor on the connection. An answer is an age file (age-encryption.org/v1), so that any age
//! tool opens it. The key is the one that the register has for the officer who signed the request,
//! never one that the request names.

use std::io::Write as _;

use age::armor::{ArmoredWriter, Format};
use serde::{Deserialize, Serialize};

use super::ReidentifyRequest;
use super::reveal::{ReidentifyResponse, RevealedItem, ask};
use crate::access::OfficerPermit;
use crate::code::Code;
use crate::execution::FAILED;
use crate::link::VaultLink;
use crate::node::Node;
use crate::refusal::{Refusal, fault};
use crate::register::Id;

/// A sealed answer, with its counts in clear.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedResponse {
    /// Order id.
    pub order: String,
    /// Sector name.
    pub sector: String,
    /// The number of the node's log entry about it.
    pub entry: u64,
    /// How many pseudonyms were asked for.
    pub items: u64,
    /// How many of them have an identifier in the answer.
    pub found: u64,
    /// The answer, the JSON that would have come in clear: an age file in ASCII armor.
    pub sealed: String,
}

/// The officer's key in the register.
///
/// # Errors
/// [`Code::NoDeliveryKey`].
fn key(node: &Node, officer: &Id) -> Result<age::x25519::Recipient, Refusal> {
    let officer = node.authority().officers.get(officer);
    let key = officer
        .and_then(|officer| officer.sealing_key.as_ref())
        .and_then(|key| key.parse().ok());
    key.ok_or_else(|| {
        Refusal::new(
            Code::NoDeliveryKey,
            "the register has no `sealing-key` for this officer",
        )
    })
}

/// Executes an officer's request and seals the answer. Without a key to seal to, the node does not
/// ask the vault.
///
/// # Errors
/// [`Code::NoDeliveryKey`], and those of [`ask`].
pub fn ask_sealed(
    node: &Node,
    permit: &OfficerPermit,
    asked: &ReidentifyRequest,
    vault: &dyn VaultLink,
) -> Result<SealedResponse, Refusal> {
    let key = key(node, &permit.officer)?;
    let revealed = ask(node, permit, asked, vault)?;
    let found = revealed
        .items
        .iter()
        .filter(|item| matches!(item, RevealedItem::Identifier { .. }))
        .count() as u64;
    Ok(SealedResponse {
        order: revealed.order.clone(),
        sector: revealed.sector.clone(),
        entry: revealed.entry,
        items: revealed.items.len() as u64,
        found,
        sealed: seal(&revealed, &key).map_err(fault(FAILED))?,
    })
}

/// Writes the JSON piece by piece into the cipher, so that no clear copy of it is made.
fn seal(revealed: &ReidentifyResponse, key: &age::x25519::Recipient) -> std::io::Result<String> {
    let recipients = std::iter::once(key as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(std::io::Error::other)?;
    let mut armor =
        encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
    serde_json::to_writer(&mut armor, revealed)?;
    armor.write_all(b"\n")?;
    let bytes = armor.finish()?.finish()?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn only_the_officers_key_opens() {
        let (officer, other) = (
            age::x25519::Identity::generate(),
            age::x25519::Identity::generate(),
        );
        let item = RevealedItem::Refused {
            pseudonym: "p".into(),
            code: Code::NoMapping,
        };
        let revealed = ReidentifyResponse {
            order: "o".into(),
            sector: "health".into(),
            entry: 7,
            items: vec![item],
        };
        let sealed = seal(&revealed, &officer.to_public()).unwrap();
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
        let open = |key: &age::x25519::Identity| {
            let decryptor =
                age::Decryptor::new(age::armor::ArmoredReader::new(sealed.as_bytes())).unwrap();
            let mut text = String::new();
            decryptor
                .decrypt(std::iter::once(key as &dyn age::Identity))
                .ok()?
                .read_to_string(&mut text)
                .ok()?;
            Some(text)
        };
        assert!(open(&other).is_none());
        let text = open(&officer).unwrap();
        assert_eq!(text, serde_json::to_string(&revealed).unwrap() + "\n");
    }
}
