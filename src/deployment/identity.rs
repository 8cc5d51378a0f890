//! The identity source of a split deployment: its secrets, its certificates, its place in the
//! register, and its configuration.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;

use super::certificates::{CertificateMaker, CertificateUse};
use super::keys::DeploymentKeys;
use super::layout::{NewFolder, secret_file, vault_secret};
use super::register_text::{AUDITOR, OPERATORS};
use super::roots::VAULT;
use super::{COMMISSION, DeploymentPlan, ListenPlan, configuration};
use crate::keys::file::SecretKind;
use crate::terminal::CommandError;

/// The source's certificate and key, its configuration, and its id in the register.
pub(super) const IDENTITY: &str = "identity";
/// Where the source's secrets lie.
const SECRETS: &str = "secrets/identity";
/// The body that runs the source. It is neither the vault's nor the authority.
const ORGANISATION: &str = "identity-trustee";
/// The body that runs the vault, as the register key of operations has it.
const VAULT_ORGANISATION: &str = "operations";
/// Those who look after the source: they reload its register, take its backups, and hold shares of
/// its secret once that is split.
pub const KEEPERS: [&str; 3] = ["keeper-1", "keeper-2", "keeper-3"];

/// Those who call the source, and the vault besides.
pub(super) fn elsewhere() -> impl Iterator<Item = &'static str> {
    OPERATORS.into_iter().chain([AUDITOR])
}

/// Where the identity secret of a new deployment lies: with the vault, or with its identity source.
pub(super) fn secret_place(plan: &DeploymentPlan) -> String {
    match plan.identity {
        None => vault_secret(SecretKind::Identity, ""),
        Some(_) => own_secret(SecretKind::Identity, ""),
    }
}

fn own_secret(kind: SecretKind, version: &str) -> String {
    format!("{SECRETS}/{}", secret_file(kind, version))
}

/// Makes the source's further secrets; returns the key of its checkpoints.
pub(super) fn make_secrets(keys: &mut DeploymentKeys<'_>) -> Result<SigningKey, CommandError> {
    keys.secret(&own_secret(SecretKind::Audit, ""), SecretKind::Audit)?;
    keys.secret(&own_secret(SecretKind::Journal, "1"), SecretKind::Journal)?;
    keys.signing_key(&own_secret(SecretKind::Checkpoint, ""))
}

/// SHA-256 of the public keys in the certificates of the source and those who look after it.
pub struct IdentityDigests {
    pub(super) own: [u8; 32],
    keepers: Vec<[u8; 32]>,
}

impl IdentityDigests {
    /// Makes them, with client files for all who call the source.
    pub(super) fn make(
        keys: &mut DeploymentKeys<'_>,
        folder: &NewFolder,
        maker: &CertificateMaker,
        place: &ListenPlan,
    ) -> Result<Self, CommandError> {
        // It serves the vault, and dials it to watch its log.
        let own = maker.make(IDENTITY, &place.names(), CertificateUse::Both)?;
        let own = keys.leaf(IDENTITY, &own)?;
        let url = place.url(place.control);
        let file = |id: &str, name: &str| {
            let text = configuration::client(id, &url, IDENTITY);
            folder.public(&format!("clients/{name}.toml"), &text)
        };
        let mut keepers = vec![];
        for id in KEEPERS {
            keepers.push(keys.leaf(id, &maker.make(id, &[], CertificateUse::Client)?)?);
            file(id, id)?;
        }
        // Operators confirm there after a restore of the source.
        for id in elsewhere() {
            file(id, &format!("{id}-{IDENTITY}"))?;
        }
        Ok(Self { own, keepers })
    }
}

/// The source in the register.
pub struct IdentityPublics<'a> {
    /// The vault's certificate key, which it shows to the source.
    pub(super) vault: [u8; 32],
    pub(super) own: &'a IdentityDigests,
    /// The key of its checkpoints, hex.
    pub(super) checkpoint: String,
}

impl IdentityPublics<'_> {
    /// The members of `[vault]` by which the source knows the vault.
    pub(super) fn of_vault(&self) -> String {
        let vault = HEXLOWER.encode(&self.vault);
        format!("organisation = {VAULT_ORGANISATION:?}\ncertificate = \"{vault}\"\n")
    }

    /// `[[identity]]`
    pub(super) fn entry(&self) -> String {
        let hex = |bytes: &[u8; 32]| HEXLOWER.encode(bytes);
        let mut text = format!(
            "\n# --- who holds the identity secret, in the vault's place: another body than the vault's and the authorities\n\
             \n[[identity]]\nid = {IDENTITY:?}\norganisation = {ORGANISATION:?}\ncertificate = \"{}\"\ncheckpoint-key = {:?}\n\
             share = 1.0\n",
            hex(&self.own.own),
            self.checkpoint,
        );
        for (id, certificate) in KEEPERS.iter().zip(&self.own.keepers) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[identity.custodian]]\nid = {id:?}\nname = \"Keeper of the identity source, to be named\"\n\
                 certificate = \"{}\"\n",
                hex(certificate)
            );
        }
        text
    }
}

/// `[identity]` of the vault.
pub(super) fn section(place: &ListenPlan) -> String {
    format!(
        r#"
[identity]                      # who has the identity secret; several are asked in this order
url = [{url:?}]
server = ["tls/{IDENTITY}.pem"]
certificate = "tls/{VAULT}.pem"
key = "secrets/tls/{VAULT}.key"
"#,
        url = place.url(place.control)
    )
}

/// `identity.toml`; `pins` are the register keys, `witness` the witness that is asked.
pub(super) fn configuration(
    plan: &DeploymentPlan,
    place: &ListenPlan,
    pins: &str,
    witness: &str,
) -> String {
    let follower = configuration::follower(plan.vault.lies_apart_from(place), VAULT);
    format!(
        r#"# The identity source: `cloison identity serve --config identity.toml`. Paths are relative to this file.
deployment = {deployment:?}
identity = {IDENTITY:?}

[control]                       # the vault, auditors, those who look after it
listen = "{control}"

[health]                        # no TLS, so loopback only
listen = "{health}"

[tls]
certificate = "tls/{IDENTITY}.pem"
key = "secrets/tls/{IDENTITY}.key"

[store]
path = "data/{IDENTITY}"

[secrets]                       # each 0600
identity = {secret:?} # the vault has no copy; in shares: `cloison identity split`
audit = {audit:?}
checkpoint = {checkpoint:?}
journal = "{SECRETS}/journal" # one file for each version

[audit]                         # the log once more, with what a restore needs: put it on another disk or machine
second = "data/{IDENTITY}.place"
{follower}{witness}
[vault]                         # whose log it watches, and which watches its own
url = {vault:?}
server = ["tls/{VAULT}.pem"]
certificate = "tls/{IDENTITY}.pem"
key = "secrets/tls/{IDENTITY}.key"

[register]                      # its own copy and its own pins: what it enforces is in there
file = "register.toml"
signatures = "register.jws"
quorum = 2
commission = {COMMISSION:?}
{pins}"#,
        deployment = plan.deployment,
        control = place.control(),
        health = place.health(),
        secret = own_secret(SecretKind::Identity, ""),
        audit = own_secret(SecretKind::Audit, ""),
        checkpoint = own_secret(SecretKind::Checkpoint, ""),
        vault = plan.vault.url(plan.vault.control),
    )
}
