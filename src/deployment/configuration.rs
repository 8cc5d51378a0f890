//! The texts of the configuration files.

use data_encoding::HEXLOWER;

use super::layout::{VAULT_SECRETS, vault_secret};
use super::register_text::{AUTHORITY, AUTHORITY_KEY};
use super::roots::{LogToWitness, WITNESS};
use super::{COMMISSION, DeploymentPlan, ListenPlan, WITNESS_KEY, identity};
use crate::keys::file::SecretKind;

/// `clients/<id>.toml`, for the server whose certificate is `tls/<server>.pem`.
pub fn client(id: &str, url: &str, server: &str) -> String {
    format!(
        "# Paths are relative to this file.\n\
         url = {url:?}\n\
         server = [\"../tls/{server}.pem\"]\n\
         certificate = \"../tls/{id}.pem\"\n\
         key = \"../secrets/tls/{id}.key\"\n"
    )
}

/// `[[audit.witness]]` of the vault or the node (`by`).
pub fn asked_witness(by: &str, url: &str, public: &str) -> String {
    format!(
        "\n[[audit.witness]]              # the commission's, asked to cosign each checkpoint\n\
         name = {WITNESS:?}\npublic = {public:?}\nurl = {url:?}\nserver = [\"tls/{WITNESS}.pem\"]\n\
         certificate = \"tls/{by}.pem\"\nkey = \"secrets/tls/{by}.key\"\n"
    )
}

/// `witness.toml`: it watches these logs, by their keys, and lets their owners in.
pub fn witness(plan: &DeploymentPlan, place: &ListenPlan, logs: &[LogToWitness]) -> String {
    let watched: String = logs
        .iter()
        .map(|LogToWitness { owner, key, .. }| {
            format!(
                "\n[[log]]\nowner = \"{}/{owner}\"\npublic = {key:?}\n",
                plan.deployment
            )
        })
        .collect();
    let callers: String = logs
        .iter()
        .map(|LogToWitness { owner, caller, .. }| {
            let caller = HEXLOWER.encode(caller);
            format!("\n[[caller]]                      # {owner}\ncertificate = \"{caller}\"\n")
        })
        .collect();
    format!(
        r#"# The commission's witness: `cloison witness serve --config witness.toml`. Paths are relative to this file.
name = {WITNESS:?}

[control]                       # the owners of the logs
listen = "{control}"

[health]                        # no TLS, so loopback only
listen = "{health}"

[tls]
certificate = "tls/{WITNESS}.pem"
key = "secrets/tls/{WITNESS}.key"

[state]                         # what it has seen; a witness that forgets can be shown another history
path = "data/{WITNESS}"

# [follow]                      # it keeps the logs, too, where their owners say `follows = true`: a place for a restore
# path = "data/{WITNESS}-logs"

[secrets]
key = {WITNESS_KEY:?}

# Owner and checkpoint key of each log, as in the register, and the certificate of its owner.
{watched}{callers}"#,
        control = place.control(),
        health = place.health(),
    )
}

/// `vault.toml`; `pins` are the register keys, `witness` the witness that is asked.
pub fn vault(plan: &DeploymentPlan, pins: &str, witness: &str) -> String {
    format!(
        r#"# The vault: `cloison serve --config vault.toml`. Paths are relative to this file.
deployment = {deployment:?}

[data]                          # sector systems
listen = "{data}"

[control]                       # authority nodes, operations
listen = "{control}"

[health]                        # no TLS, so loopback only
listen = "{health}"

[tls]
certificate = "tls/vault.pem"
key = "secrets/tls/vault.key"

[store]
path = "data/vault"

# [index]                       # memory for the index of mappings; without this, half of what there is
# memory-mib = 4096

[secrets]                       # each 0600; keep copies apart from copies of the store
{identity}audit = {audit:?}
segment = {segment:?}
checkpoint = {checkpoint:?}
sector = "{VAULT_SECRETS}/sector" # one file for each version: 1.secret, 2.secret, …
store = "{VAULT_SECRETS}/store"
journal = "{VAULT_SECRETS}/journal"
{sources}
[audit]                         # the log once more, with what a restore needs: put it on another disk or machine
second = "data/vault.place"
{followers}{witness}
[register]                      # believed only when `quorum` of these keys signed it, the commission's among them
file = "register.toml"
signatures = "register.jws"
quorum = 2
commission = {COMMISSION:?}
{pins}"#,
        followers =
            followed(plan.vault_follows(), "vault") + &follower(plan.lies_apart(), AUTHORITY),
        deployment = plan.deployment,
        data = plan.vault.data(),
        control = plan.vault.control(),
        health = plan.vault.health(),
        identity = match plan.identity {
            None => format!("identity = {:?}\n", vault_secret(SecretKind::Identity, "")),
            Some(_) => String::new(),
        },
        sources = plan
            .identity
            .as_ref()
            .map(identity::section)
            .unwrap_or_default(),
        audit = vault_secret(SecretKind::Audit, ""),
        segment = vault_secret(SecretKind::Segment, ""),
        checkpoint = vault_secret(SecretKind::Checkpoint, ""),
    )
}

/// Keeps the log of a side on another machine.
fn followed(keeps: bool, own: &str) -> String {
    if keeps {
        format!(
            "followed = \"data/{own}.followed\" # the other side's log, sealed: what restores it if its machine is lost\n"
        )
    } else {
        String::new()
    }
}

/// Another side counts among the places, where the two lie on machines of their own.
pub(super) fn follower(lies_apart: bool, peer: &str) -> String {
    if lies_apart {
        format!(
            "\n[[audit.follower]]              # acts wait until this one holds them, too\nname = {peer:?}\npeer = {peer:?}\n"
        )
    } else {
        String::new()
    }
}

/// `node.toml`; `segment` is the public key that the node pins, `witness` the witness that is
/// asked.
pub fn node(plan: &DeploymentPlan, pins: &str, segment: &str, witness: &str) -> String {
    format!(
        r#"# The authority node: `cloison authority serve --config node.toml`. Paths are relative to this file.
deployment = {deployment:?}
authority = {AUTHORITY:?}

[control]                       # officers
listen = "{control}"

[health]                        # no TLS, so loopback only
listen = "{health}"

[tls]
certificate = "tls/node.pem"
key = "secrets/tls/node.key"

[store]
path = "data/node"

[secrets]
audit = "secrets/authority/audit.secret"
checkpoint = "secrets/authority/checkpoint.pem"
journal = "secrets/authority/journal" # one file for each version

[audit]                         # the log once more, with what a restore needs: put it on another disk or machine
second = "data/node.place"
{followers}{witness}
[vault]                         # where releases come from
url = {vault:?}
server = ["tls/vault.pem"]
certificate = "tls/node.pem"
key = "secrets/tls/node.key"

[[key]]                         # opens what was sealed to it
id = {AUTHORITY_KEY:?}
{key}

[[segment-key]]                 # the vault's signature on every segment
public = {segment:?}

[register]                      # the authority's own copy and its own pins
file = "register.toml"
signatures = "register.jws"
quorum = 2
commission = {COMMISSION:?}
{pins}"#,
        followers = followed(plan.lies_apart(), "node") + &follower(plan.lies_apart(), "vault"),
        deployment = plan.deployment,
        control = plan.node.control(),
        health = plan.node.health(),
        vault = plan.vault.url(plan.vault.control),
        key = match plan.custodians {
            None => format!("file = \"secrets/authority/{AUTHORITY_KEY}.secret\""),
            Some(_) => format!(
                "custody = \"shares\"              # its custodians unseal it\nfile = \"{AUTHORITY_KEY}.set\""
            ),
        },
    )
}
