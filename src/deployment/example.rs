//! What `keys-example/` has beyond a fresh deployment: a signed order, a warning, and the list of
//! its fingerprints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::layout::NewFolder;
use super::register_text::{APPROVERS, AUTHORITY, OFFICER};
use crate::keys::{DomainScope, IdentityKeys, IdentitySecret, SectorRootKey, SectorSecret};
use crate::order::{LegalBasis, OrderPayload, PseudonymScope};
use crate::pseudonym::TextWriter;
use crate::register::{Id, Register};
use crate::statement::{self, Statement as _};
use crate::terminal::CommandError;

/// For the head of the register.
pub const NOTE: &str = "#\n# EXAMPLE KEYS: everybody has them. Never use them for anything real.\n";

/// The card number that the example order is about: made up, and nobody's.
const CARD: (&str, &[u8]) = ("cnie", b"AB123456");
const SECTOR: &str = "health";

/// The page beside the keys; the certificates' end stands in the place of the braces.
const README: &str = "\
# EXAMPLE KEYS, NEVER USE

Everything here is published, private keys included. It shows what a deployment looks like and serves the tests.
`cloison serve` and `cloison authority serve` know these keys by their fingerprints (`FINGERPRINTS`) and refuse them, unless
told `--allow-example-keys`. For keys of your own: `cloison init DIR`.

To try them, take a copy and close it to others, since git does not keep a file's mode and a secret that others can
read is refused:

    cp -r keys-example /tmp/example && chmod -R go= /tmp/example
    cloison serve --config /tmp/example/vault.toml --allow-example-keys
    cloison authority serve --config /tmp/example/node.toml --allow-example-keys

The certificates are good until {until}, 00:00 UTC.

`orders/example.jws` is an order of the court for one pseudonym, that of the made-up card number `AB123456` in the sector
`health`, signed by two approvers of two bodies. It is valid for 30 days from the day on which these files were made, and
`order-expired` after them, as an order should be; `cloison order show` prints it, and `cloison order new` and `order sign` make
one for today with the keys in `secrets/people/`.

All of it is written by `ops/example`, anew each time.
";

/// The two roots that the order's pseudonym derives from, and the approvers' keys.
pub struct ExampleRoots<'a> {
    /// Identity secret.
    pub identity: IdentitySecret,
    /// Sector secret, version 1.
    pub sector: SectorSecret,
    /// In the order of [`APPROVERS`].
    pub approvers: &'a [SigningKey],
}

/// Writes the order, the warning and the list. The certificates are good until the beginning of
/// `until`.
pub fn finish(
    folder: &NewFolder,
    register: &str,
    roots: &ExampleRoots<'_>,
    today: Timestamp,
    until: Date,
    fingerprints: &[([u8; 32], String)],
) -> Result<(), CommandError> {
    let register =
        crate::register::parse(register).map_err(|_| fault(&"the register has faults"))?;
    folder.public("orders/example.jws", &order(&register, roots, today)?)?;
    folder.public("README.md", &README.replace("{until}", &until.to_string()))?;
    let mut list = String::new();
    for (fingerprint, path) in fingerprints {
        let _ = writeln!(list, "{}  {path}", HEXLOWER.encode(fingerprint));
    }
    // Git does not keep an empty folder, and a start does not make one for the second place.
    folder.public("data/README.md", "Stores and last checkpoints come here.\n")?;
    folder.public("FINGERPRINTS", &list)
}

/// An order for one pseudonym of the first epoch, signed by the first and the last approver, who
/// are of two bodies.
fn order(
    register: &Register,
    roots: &ExampleRoots<'_>,
    today: Timestamp,
) -> Result<String, CommandError> {
    let id = |text: &str| Id::parse(text).ok_or_else(|| fault(&"a made-up id is not an id"));
    let order = OrderPayload {
        aud: register.deployment.clone(),
        id: crate::clock::random_uuid(),
        authority: id(AUTHORITY)?,
        basis: LegalBasis::Judicial,
        case: "RABAT/2026/42".to_owned(),
        purpose: id("investigation")?,
        sectors: vec![SECTOR.to_owned()],
        scope: PseudonymScope::Listed(BTreeMap::from([(
            SECTOR.to_owned(),
            vec![pseudonym(register, roots)],
        )])),
        not_before: today,
        not_after: today + (30 * 24).hours(),
        officers: vec![id(OFFICER)?],
        inform_after: None,
        issued: Some(today),
    };
    let mut text = order.draft().map_err(|refusal| fault(&refusal))?;
    let (last, first) = (APPROVERS.len() - 1, 0);
    for n in [first, last] {
        text = statement::sign::<OrderPayload>(&text, APPROVERS[n].id, &roots.approvers[n])
            .map_err(|error| fault(&error))?;
    }
    Ok(text)
}

fn fault(what: &dyn std::fmt::Display) -> CommandError {
    CommandError::bug(format_args!("the example order: {what}"))
}

/// The card's pseudonym in the sector's first epoch (the sector has no granularity).
fn pseudonym(register: &Register, roots: &ExampleRoots<'_>) -> String {
    let sector = &register.sectors[SECTOR];
    let mut utis = Vec::new();
    IdentityKeys::new(&roots.identity).append_utis(CARD.0, [CARD.1], &mut utis);
    let key = SectorRootKey::new(&roots.sector)
        .sector(&sector.path)
        .domain(1, &DomainScope::default());
    TextWriter::new(sector.text_form, &sector.tag, 1).text(&key.prf(&utis[0]).to_pseudonym())
}
