//! Makes a working deployment in a new folder.
//!
//! Everything is made on one machine, because something has to be signed before anything can start; `cloison init`
//! says at the end who must hold which file from then on.

mod certificates;
mod configuration;
mod example;
mod keys;
pub mod layout;
pub mod register_text;
pub mod shares;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::certificates::{Ca, Use};
use self::keys::Chest;
use self::layout::{Folder, vault_secret};
use self::register_text::{APPROVERS, AUDITOR, AUTHORITY_KEY, Facts, OFFICER, OPERATORS, Publics};
use crate::clock::{Clock as _, SystemClock};
use crate::keys::file::{SecretKind, public_key_text};
use crate::keys::{AuthoritySecret, IdentitySecret, SectorSecret};
use crate::register::sign::{SignError, sign};
use crate::register::{Id, Suite};
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::FirstStart;
use crate::terminal::CommandError;

/// The body whose signature no register goes without.
const COMMISSION: &str = "cndp";

/// What a deployment is to be.
pub struct Plan {
    /// Its id.
    pub deployment: String,
    /// What its register declares.
    pub facts: &'static Facts,
    /// Where the vault listens.
    pub vault: Place,
    /// Where the authority node listens.
    pub node: Place,
    /// How many years the certificates last.
    pub years: i16,
    /// Whether these are the keys that everybody has.
    pub example: bool,
    /// How many of how many custodians unseal the authority's key; `None`: it is a file.
    pub custodians: Option<(usize, usize)>,
}

/// Where one of the two programs listens.
pub struct Place {
    hosts: Vec<String>,
    listen: IpAddr,
    data: u16,
    control: u16,
    health: u16,
}

impl Place {
    /// Reached under `hosts` (none: loopback only), with the ports of the data, control and health listeners.
    pub fn new(hosts: Vec<String>, [data, control, health]: [u16; 3]) -> Self {
        let listen = if hosts.is_empty() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        Self { hosts, listen: listen.into(), data, control, health }
    }

    /// The names and addresses in the certificate.
    fn names(&self) -> Vec<String> {
        self.hosts.iter().cloned().chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).collect()
    }

    fn url(&self, port: u16) -> String {
        match self.hosts.first() {
            Some(host) if host.contains(':') => format!("https://[{host}]:{port}"),
            Some(host) => format!("https://{host}:{port}"),
            None => format!("https://127.0.0.1:{port}"),
        }
    }

    fn data(&self) -> SocketAddr {
        (self.listen, self.data).into()
    }

    fn control(&self) -> SocketAddr {
        (self.listen, self.control).into()
    }

    /// Health has no authentication, so it stays on loopback.
    fn health(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.health).into()
    }
}

/// What was made; nothing in it is secret.
#[derive(Debug, serde::Serialize)]
pub struct Made {
    /// The deployment's id.
    pub deployment: String,
    /// Where the sector systems reach the vault.
    pub vault_url: String,
    /// Where officers reach the authority node.
    pub node_url: String,
    /// Client files, by path inside the folder.
    pub clients: Vec<String>,
    /// Secret files, by path inside the folder.
    pub secrets: Vec<String>,
    /// The last day of the certificates.
    pub certificates_until: Date,
    /// How many custodians hold shares of the authority's key; none where it is a file.
    pub custodians: usize,
}

/// Fills `dir` by the plan.
///
/// # Errors
/// When `dir` is neither absent nor empty, or something cannot be written; nothing is left behind then.
pub fn make(dir: &Path, plan: &Plan) -> Result<Made, CommandError> {
    let folder = Folder::create(dir)?;
    let mut chest = Chest::new(&folder);
    let today = SystemClock.now().to_zoned(TimeZone::UTC).date();

    // --- roots and keys
    let identity = IdentitySecret(chest.secret(&vault_secret(SecretKind::Identity, ""), SecretKind::Identity)?);
    let sector = SectorSecret(chest.secret(&vault_secret(SecretKind::Sector, "1"), SecretKind::Sector)?);
    chest.secret(&vault_secret(SecretKind::Store, "1"), SecretKind::Store)?;
    chest.secret(&vault_secret(SecretKind::Audit, ""), SecretKind::Audit)?;
    chest.secret("secrets/authority/audit.secret", SecretKind::Audit)?;
    let (authority_key, custodians) = match plan.custodians {
        None => {
            let scalar = chest.secret(&format!("secrets/authority/{AUTHORITY_KEY}.secret"), SecretKind::Authority)?;
            (AuthorityPrivateKey::derive(&AuthoritySecret(scalar), AUTHORITY_KEY, Suite::X25519), vec![])
        }
        Some((threshold, count)) => shares::make(&folder, threshold, count)?,
    };
    let segment = chest.signing_key(&vault_secret(SecretKind::Segment, ""))?;
    let vault_checkpoint = chest.signing_key(&vault_secret(SecretKind::Checkpoint, ""))?;
    let node_checkpoint = chest.signing_key("secrets/authority/checkpoint.pem")?;
    let register_keys = [("operations", "operations"), ("commission", COMMISSION)]
        .map(|(id, body)| Ok((id, body, chest.signing_key(&format!("secrets/register/{id}.pem"))?)));
    let register_keys = register_keys.into_iter().collect::<Result<Vec<_>, CommandError>>()?;
    let mut person = |id: &str| chest.signing_key(&format!("secrets/people/{id}.pem"));
    let approvers = APPROVERS.iter().map(|approver| person(approver.id)).collect::<Result<Vec<_>, CommandError>>()?;
    let officer = person(OFFICER)?;
    let operator_keys = OPERATORS.iter().map(|id| person(id)).collect::<Result<Vec<_>, CommandError>>()?;

    // --- certificates
    let ca = Ca::new(&plan.deployment, today, plan.years)?;
    chest.ca(&ca)?;
    chest.leaf("vault", &ca.issue("vault", &plan.vault.names(), Use::Server)?)?;
    let node = chest.leaf("node", &ca.issue("node", &plan.node.names(), Use::Both)?)?;
    let mut client = |id: &str, url: String| {
        let spki = chest.leaf(id, &ca.issue(id, &[], Use::Client)?)?;
        folder.public(&format!("clients/{id}.toml"), &configuration::client(id, &url))?;
        Ok::<_, CommandError>(spki)
    };
    let facts = plan.facts.clients.iter();
    let clients =
        facts.map(|c| client(c.id, plan.vault.url(plan.vault.data))).collect::<Result<Vec<_>, CommandError>>()?;
    let operators = OPERATORS.iter().zip(&operator_keys).map(|(id, key)| {
        Ok::<_, CommandError>((client(id, plan.vault.url(plan.vault.control))?, public_key_text(&key.verifying_key())))
    });
    let operators = operators.collect::<Result<Vec<_>, CommandError>>()?;
    let officer_certificate = client(OFFICER, plan.node.url(plan.node.control))?;
    let auditor = client(AUDITOR, plan.vault.url(plan.vault.control))?;
    // The same certificate at the other log.
    let of_node = configuration::client(AUDITOR, &plan.node.url(plan.node.control));
    folder.public(&format!("clients/{AUDITOR}-node.toml"), &of_node)?;
    let custodian = |id: &Id| Ok((id.to_string(), client(id.as_str(), plan.node.url(plan.node.control))?));
    let custodians = custodians.iter().map(custodian).collect::<Result<Vec<_>, CommandError>>()?;

    // --- the register, signed by both keys
    let register = register_text::write(
        plan.facts,
        &Publics {
            deployment: &plan.deployment,
            note: if plan.example { example::NOTE } else { "" },
            today: today.to_string(),
            clients,
            operators,
            auditor,
            vault_checkpoint: public_key_text(&vault_checkpoint.verifying_key()),
            node_checkpoint: public_key_text(&node_checkpoint.verifying_key()),
            node,
            officer_certificate,
            officer_key: public_key_text(&officer.verifying_key()),
            approvers: approvers.iter().map(|key| public_key_text(&key.verifying_key())).collect(),
            authority_key: HEXLOWER.encode(authority_key.public()),
            custodians,
        },
    );
    folder.public("register.toml", &register)?;
    let mut signatures = None;
    for (id, _, key) in &register_keys {
        // Signing reads the register first: what we write must be what we accept.
        let kid = Id::parse(id).ok_or_else(|| fault(&"a register key's id is none"))?;
        signatures = Some(sign(&register, signatures.as_deref(), &kid, key).map_err(|error| match error {
            SignError::Faults(faults) => fault(&faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
            SignError::Jws(error) => fault(&error),
        })?);
    }
    folder.public("register.jws", &signatures.unwrap_or_default())?;

    // --- configuration, last: without it nothing starts
    for path in ["orders", "input", "data/vault", "data/node"] {
        folder.folder(path)?;
    }
    for store in ["data/vault", "data/node"] {
        let note = FirstStart::note(Path::new(store));
        folder.public(&note.to_string_lossy(), FirstStart::NOTE)?;
    }
    let pins: String = register_keys
        .iter()
        .map(|(id, body, key)| {
            format!(
                "\n[[register.key]]\nid = {id:?}\nbody = {body:?}\npublic = {:?}\n",
                public_key_text(&key.verifying_key())
            )
        })
        .collect();
    folder.public("vault.toml", &configuration::vault(plan, &pins))?;
    folder.public("node.toml", &configuration::node(plan, &pins, &public_key_text(&segment.verifying_key())))?;

    let fingerprints = chest.fingerprints;
    if plan.example {
        let roots = example::Roots { identity, sector, approvers: &approvers };
        example::finish(&folder, &register, &roots, midnight(today)?, ca.until, &fingerprints)?;
    }
    folder.finish()?;
    Ok(Made {
        deployment: plan.deployment.clone(),
        vault_url: plan.vault.url(plan.vault.data),
        node_url: plan.node.url(plan.node.control),
        clients: plan
            .facts
            .clients
            .iter()
            .map(|client| client.id)
            .chain(OPERATORS)
            .chain([OFFICER, AUDITOR])
            .map(|id| format!("clients/{id}.toml"))
            .chain([format!("clients/{AUDITOR}-node.toml")])
            .collect(),
        secrets: fingerprints.into_iter().map(|(_, path)| path).collect(),
        certificates_until: ca.until,
        custodians: plan.custodians.map_or(0, |(_, count)| count),
    })
}

fn fault(what: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(format_args!("the new register: {what}"), "report this as a fault of cloison")
}

/// The day on which a placeholder order becomes valid.
fn midnight(day: Date) -> Result<Timestamp, CommandError> {
    let zoned = day.to_zoned(TimeZone::UTC);
    zoned.map(|zoned| zoned.timestamp()).map_err(|error| CommandError::new(error, "set the clock of this machine"))
}
