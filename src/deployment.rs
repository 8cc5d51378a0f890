//! Makes a working deployment in a new folder.
//!
//! Everything is made on one machine, because the register must be signed before anything can
//! start; `cloison init` says at the end who must hold which file from then on.

pub mod certificates;
mod configuration;
mod example;
mod holders;
pub mod identity;
mod keys;
pub mod layout;
pub mod register_text;
mod roots;
pub mod shares;

pub use holders::FileHolder;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::certificates::CertificateMaker;
use self::example::ExampleRoots;
use self::identity::{IDENTITY, KEEPERS};
use self::keys::DeploymentKeys;
use self::layout::NewFolder;
use self::register_text::{AUDITOR, DeclaredFacts, OFFICER, OPERATORS};
use self::roots::{CertificateDigests, NODE, RegisterKey, Roots, VAULT};
use crate::clock::{Clock as _, SystemClock};
use crate::keys::file::public_key_text;
use crate::register::Id;
use crate::register::sign::{RegisterSignError, sign};
use crate::store::FirstStart;
use crate::terminal::CommandError;

/// The body whose signature every register needs.
const COMMISSION: &str = "cndp";
/// Where the key lies with which the witness cosigns.
const WITNESS_KEY: &str = "secrets/witness.pem";

/// A file for a witness's folder, so that the folder is never empty: its name and text.
pub const WITNESS_NOTE: (&str, &str) = (
    "README",
    "A witness remembers here what it has cosigned: a file for each log. Without this folder it does not start.\n",
);

/// How a new deployment is made.
pub struct DeploymentPlan {
    /// Its id.
    pub deployment: String,
    /// What its register declares.
    pub facts: &'static DeclaredFacts,
    /// Where the vault listens.
    pub vault: ListenPlan,
    /// Where the authority node listens.
    pub node: ListenPlan,
    /// How many years the certificates of clients last.
    pub years: i16,
    /// Where a witness of the commission listens; `None`: it is made without one.
    pub witness: Option<ListenPlan>,
    /// Where the identity source listens that holds the identity secret; `None`: the vault holds
    /// it.
    pub identity: Option<ListenPlan>,
    /// Whether these are the published example keys.
    pub example: bool,
    /// The threshold and the number of custodians of the authority's key; `None`: it is a file.
    pub custodians: Option<(usize, usize)>,
}

/// Where one of the programs listens.
pub struct ListenPlan {
    hosts: Vec<String>,
    listen: IpAddr,
    data: u16,
    control: u16,
    health: u16,
}

impl DeploymentPlan {
    /// Whether vault and node lie on different machines.
    fn lies_apart(&self) -> bool {
        self.vault.lies_apart_from(&self.node)
    }

    /// Whether the vault keeps a log of another side, because that lies on another machine.
    fn vault_follows(&self) -> bool {
        let identity = self.identity.as_ref();
        self.lies_apart() || identity.is_some_and(|place| self.vault.lies_apart_from(place))
    }
}

impl ListenPlan {
    /// Reached under `hosts` (none: loopback only), with the ports of the data, control and health
    /// listeners.
    pub fn new(hosts: Vec<String>, [data, control, health]: [u16; 3]) -> Self {
        let listen = if hosts.is_empty() {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        Self {
            hosts,
            listen: listen.into(),
            data,
            control,
            health,
        }
    }

    /// Whether it lies on another machine than `other`.
    fn lies_apart_from(&self, other: &Self) -> bool {
        match (self.hosts.first(), other.hosts.first()) {
            (Some(own), Some(other)) => own != other,
            _ => false,
        }
    }

    /// The names and addresses in the certificate.
    fn names(&self) -> Vec<String> {
        self.hosts
            .iter()
            .cloned()
            .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
            .collect()
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

/// Describes what was made, without any secret.
#[derive(Debug, serde::Serialize)]
pub struct NewDeployment {
    /// The deployment's id.
    pub deployment: String,
    /// Where the sector systems reach the vault.
    pub vault_url: String,
    /// Where officers reach the authority node.
    pub node_url: String,
    /// Where the vault reaches the identity source; none where the vault has the identity secret.
    pub identity_url: Option<String>,
    /// Client files, by path inside the folder.
    pub clients: Vec<String>,
    /// Secret files, by path inside the folder.
    pub secrets: Vec<String>,
    /// The last day of clients' certificates.
    pub certificates_until: Date,
    /// How many custodians hold shares of the authority's key; none where it is a file.
    pub custodians: usize,
    /// Who must hold which files.
    pub holders: Vec<FileHolder>,
}

/// Fills `dir` by the plan.
///
/// # Errors
/// When `dir` is neither absent nor empty, or something cannot be written; nothing is left behind
/// then.
pub fn make(dir: &Path, plan: &DeploymentPlan) -> Result<NewDeployment, CommandError> {
    let folder = NewFolder::create(dir)?;
    let today = SystemClock.now().to_zoned(TimeZone::UTC).date();
    let mut keys = DeploymentKeys::new(&folder);
    let roots = Roots::make(&mut keys, &folder, plan)?;
    let maker = CertificateMaker::new(today, plan.years);
    let certificates = CertificateDigests::make(&mut keys, &folder, &maker, plan, &roots)?;
    let text = register_text::write(plan.facts, &roots.publics(plan, today, &certificates));
    folder.public("register.toml", &text)?;
    folder.public("register.jws", &sign_register(&text, &roots)?)?;
    // The configuration comes last: without it nothing starts on half a folder.
    write_configuration(&folder, plan, &roots, &certificates)?;
    let (fingerprints, custodians) = (keys.fingerprints, roots.custodians());
    if plan.example {
        let example = ExampleRoots {
            identity: roots.identity,
            sector: roots.sector,
            approvers: &roots.approvers,
        };
        example::finish(
            &folder,
            &text,
            &example,
            midnight(today)?,
            maker.until(),
            &fingerprints,
        )?;
    }
    folder.finish()?;
    Ok(NewDeployment {
        deployment: plan.deployment.clone(),
        vault_url: plan.vault.url(plan.vault.data),
        node_url: plan.node.url(plan.node.control),
        identity_url: plan.identity.as_ref().map(|place| place.url(place.control)),
        clients: client_files(plan),
        secrets: fingerprints.into_iter().map(|(_, path)| path).collect(),
        certificates_until: maker.until(),
        custodians: plan.custodians.map_or(0, |(_, count)| count),
        holders: holders::all(plan, &custodians),
    })
}

/// Signs the register with all its keys. Signing parses the register first, so what was written
/// here is known to be valid.
fn sign_register(text: &str, roots: &Roots) -> Result<String, CommandError> {
    let mut signatures = None;
    for RegisterKey { id, key, .. } in &roots.register {
        let kid = Id::parse(id).ok_or_else(|| fault(&"a register key's id is not an id"))?;
        signatures = Some(
            sign(text, signatures.as_deref(), &kid, key).map_err(|error| match error {
                RegisterSignError::Faults(faults) => fault(
                    &faults
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("\n"),
                ),
                RegisterSignError::Jws(error) => fault(&error),
            })?,
        );
    }
    Ok(signatures.unwrap_or_default())
}

fn write_configuration(
    folder: &NewFolder,
    plan: &DeploymentPlan,
    roots: &Roots,
    certificates: &CertificateDigests,
) -> Result<(), CommandError> {
    for path in ["orders", "input"] {
        folder.folder(path)?;
    }
    let identity = plan.identity.as_ref();
    let stores = ["data/vault", "data/node"].into_iter();
    for store in stores.chain(identity.map(|_| "data/identity")) {
        folder.folder(store)?;
        let note = FirstStart::note(Path::new(store));
        folder.public(&note.to_string_lossy(), FirstStart::NOTE)?;
    }
    let pin = |RegisterKey { id, body, key }: &RegisterKey| {
        let public = public_key_text(&key.verifying_key());
        format!("\n[[register.key]]\nid = {id:?}\nbody = {body:?}\npublic = {public:?}\n")
    };
    let pins: String = roots.register.iter().map(pin).collect();
    let witness = roots.witness.as_ref().zip(plan.witness.as_ref());
    let asked = |by: &str| {
        let entry = |(key, place): (&SigningKey, &ListenPlan)| {
            let public = public_key_text(&key.verifying_key());
            configuration::asked_witness(by, &place.url(place.control), &public)
        };
        witness.map(entry).unwrap_or_default()
    };
    folder.public(
        "vault.toml",
        &configuration::vault(plan, &pins, &asked(VAULT)),
    )?;
    let segment = public_key_text(&roots.segment.verifying_key());
    folder.public(
        "node.toml",
        &configuration::node(plan, &pins, &segment, &asked(NODE)),
    )?;
    if let Some(place) = identity {
        let text = identity::configuration(plan, place, &pins, &asked(IDENTITY));
        folder.public("identity.toml", &text)?;
    }
    if let Some((_, place)) = witness {
        let text = configuration::witness(plan, place, &roots.watched_logs(certificates));
        folder.public("witness.toml", &text)?;
        let (name, note) = WITNESS_NOTE;
        folder.public(&format!("data/witness/{name}"), note)?;
    }
    Ok(())
}

/// The client files, by path inside the folder.
fn client_files(plan: &DeploymentPlan) -> Vec<String> {
    let ids = plan
        .facts
        .clients
        .iter()
        .map(|client| client.id)
        .chain(OPERATORS)
        .chain([OFFICER, AUDITOR]);
    let rights_officers = plan.facts.rights_officers.iter().copied();
    let keepers = plan.identity.iter().flat_map(|_| KEEPERS);
    let at_identity = plan.identity.iter();
    ids.chain(rights_officers.clone())
        .chain(keepers)
        .map(|id| format!("clients/{id}.toml"))
        .chain(
            at_identity
                .flat_map(|_| identity::elsewhere())
                .map(|id| format!("clients/{id}-{IDENTITY}.toml")),
        )
        .chain(
            [AUDITOR]
                .into_iter()
                .chain(OPERATORS)
                .chain(rights_officers)
                .map(|id| format!("clients/{id}-node.toml")),
        )
        .collect()
}

fn fault(what: &dyn std::fmt::Display) -> CommandError {
    CommandError::bug(format_args!("the new register: {what}"))
}

/// The day on which a placeholder order becomes valid.
fn midnight(day: Date) -> Result<Timestamp, CommandError> {
    let zoned = day.to_zoned(TimeZone::UTC);
    zoned
        .map(|zoned| zoned.timestamp())
        .map_err(|error| CommandError::new(error, "set the clock of this machine"))
}
