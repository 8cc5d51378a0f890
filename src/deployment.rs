//! Makes a working deployment in a new folder.
//!
//! Everything is made on one machine, because the register must be signed before anything can start;
//! `cloison init` says at the end who must hold which file from then on.

mod certificates;
mod configuration;
mod example;
mod keys;
pub mod layout;
pub mod register_text;
mod roots;
pub mod shares;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::certificates::CertificateMaker;
use self::example::ExampleRoots;
use self::keys::DeploymentKeys;
use self::layout::NewFolder;
use self::register_text::{AUDITOR, DeclaredFacts, OFFICER, OPERATORS};
use self::roots::{CertificateDigests, RegisterKey, Roots};
use crate::clock::{Clock as _, SystemClock};
use crate::keys::file::public_key_text;
use crate::register::Id;
use crate::register::sign::{RegisterSignError, sign};
use crate::store::FirstStart;
use crate::terminal::CommandError;

/// The body whose signature every register needs.
const COMMISSION: &str = "cndp";

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
    /// Whether these are the published example keys.
    pub example: bool,
    /// The threshold and the number of custodians of the authority's key; `None`: it is a file.
    pub custodians: Option<(usize, usize)>,
}

/// Where one of the two programs listens.
pub struct ListenPlan {
    hosts: Vec<String>,
    listen: IpAddr,
    data: u16,
    control: u16,
    health: u16,
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
    /// Client files, by path inside the folder.
    pub clients: Vec<String>,
    /// Secret files, by path inside the folder.
    pub secrets: Vec<String>,
    /// The last day of clients' certificates.
    pub certificates_until: Date,
    /// How many custodians hold shares of the authority's key; none where it is a file.
    pub custodians: usize,
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
    let text = register_text::write(plan.facts, &roots.publics(plan, today, certificates));
    folder.public("register.toml", &text)?;
    folder.public("register.jws", &sign_register(&text, &roots)?)?;
    // The configuration comes last: without it nothing starts on half a folder.
    write_configuration(&folder, plan, &roots)?;
    let fingerprints = keys.fingerprints;
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
        clients: client_files(plan),
        secrets: fingerprints.into_iter().map(|(_, path)| path).collect(),
        certificates_until: maker.until(),
        custodians: plan.custodians.map_or(0, |(_, count)| count),
    })
}

/// Signs the register with all its keys. Signing parses the register first, so what was written here
/// is known to be valid.
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
) -> Result<(), CommandError> {
    for path in ["orders", "input", "data/vault", "data/node"] {
        folder.folder(path)?;
    }
    for store in ["data/vault", "data/node"] {
        let note = FirstStart::note(Path::new(store));
        folder.public(&note.to_string_lossy(), FirstStart::NOTE)?;
    }
    let pin = |RegisterKey { id, body, key }: &RegisterKey| {
        let public = public_key_text(&key.verifying_key());
        format!("\n[[register.key]]\nid = {id:?}\nbody = {body:?}\npublic = {public:?}\n")
    };
    let pins: String = roots.register.iter().map(pin).collect();
    folder.public("vault.toml", &configuration::vault(plan, &pins))?;
    let segment = public_key_text(&roots.segment.verifying_key());
    folder.public("node.toml", &configuration::node(plan, &pins, &segment))
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
    ids.map(|id| format!("clients/{id}.toml"))
        .chain([format!("clients/{AUDITOR}-node.toml")])
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
