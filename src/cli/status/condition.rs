//! The server that a client file or a configuration leads to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::lines::{self, key_fact, not_ready};
use super::{StatusFact, called};
use crate::cli::client_file::usual_client;
use crate::client::health::{self, ReadyAnswer};
use crate::client::{Client, Timeouts};
use crate::config::{
    ClientConfig, FileKind, IdentityPlace, KeyPlace, RegisterFiles, SideConfig, WitnessConfig,
};
use crate::http::tls::{Identity, Validity};
use crate::serve::open_register;
use crate::status::StatusReport;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, open_client};

/// A server, as a file leads to it.
pub(in crate::cli) enum Server {
    /// By a client file.
    Remote {
        /// The file.
        file: PathBuf,
        /// Its client.
        client: Box<Client>,
    },
    /// By the configuration of a process on this machine.
    Here(Box<ServerHere>),
}

/// A process on this machine, by its configuration.
pub(in crate::cli) struct ServerHere {
    file: PathBuf,
    kind: &'static str,
    health: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
    register: Option<RegisterFiles>,
    /// The way to the vault, where it is not the vault.
    vault: Option<ClientConfig>,
    /// Where the identity secret lies, as this side's configuration says it.
    identity: Option<String>,
}

impl Server {
    /// All that are named; the client file in `CLOISON_CLIENT` if none is.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(in crate::cli) fn all(
        configs: &[PathBuf],
        clients: &[PathBuf],
    ) -> Result<Vec<Self>, CommandError> {
        let mut all = vec![];
        for config in configs {
            all.push(Self::here(config)?);
        }
        for client in clients {
            all.push(Self::remote(client)?);
        }
        if all.is_empty() {
            all.push(Self::named(None, None)?);
        }
        Ok(all)
    }

    /// The one that is named; the client file in `CLOISON_CLIENT` if none is.
    ///
    /// # Errors
    /// When no file is named, or it cannot be read.
    pub(super) fn named(
        config: Option<&Path>,
        client: Option<&Path>,
    ) -> Result<Self, CommandError> {
        if let Some(config) = config {
            return Self::here(config);
        }
        let usual = usual_client();
        match client.or(usual.as_deref()) {
            Some(client) => Self::remote(client),
            None => Err(CommandError::usage(
                "no server is named",
                "name a client file (--client) or a configuration (--config)",
            )),
        }
    }

    fn remote(file: &Path) -> Result<Self, CommandError> {
        let client = Box::new(open_client(file)?);
        let file = file.to_owned();
        Ok(Self::Remote { file, client })
    }

    fn here(file: &Path) -> Result<Self, CommandError> {
        let here = match FileKind::of(&read_text(file)?) {
            Some(FileKind::Client) => return Self::remote(file),
            Some(FileKind::Witness) => {
                let config = WitnessConfig::load(file)?;
                ServerHere {
                    file: file.to_owned(),
                    kind: "a witness",
                    health: config.health,
                    certificate: config.tls.certificate,
                    key: config.tls.key,
                    register: None,
                    vault: None,
                    identity: None,
                }
            }
            _ => {
                let config = SideConfig::load(file)?;
                ServerHere {
                    file: file.to_owned(),
                    kind: match config {
                        SideConfig::Vault(_) => "a vault",
                        SideConfig::Node(_) => "a node",
                        SideConfig::Identity(_) => "an identity source",
                    },
                    health: config.health(),
                    certificate: config.tls().certificate.clone(),
                    key: config.tls().key.clone(),
                    register: Some(config.register().clone()),
                    vault: config.vault().cloned(),
                    identity: identity_place(&config),
                }
            }
        };
        Ok(Self::Here(Box::new(here)))
    }

    /// How messages call it.
    pub(in crate::cli) fn called(&self) -> String {
        match self {
            Self::Remote { file, .. } => called(file),
            Self::Here(here) => called(&here.file),
        }
    }

    /// Whether it takes requests, or why not.
    pub(in crate::cli) fn why_not_ready(&self) -> Result<(), String> {
        let reasons = match self {
            Self::Remote { client, .. } => match client.status() {
                Ok(report) => report.reasons,
                Err(error) => return Err(error.to_string()),
            },
            Self::Here(here) => match health::readiness(here.health) {
                Some(answer) => answer.reasons,
                None => return Err(format!("nothing answers on {}", here.health)),
            },
        };
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(not_ready(&reasons))
        }
    }

    /// What there is to say, and the server's own report.
    pub(super) fn facts(&self) -> (Vec<StatusFact>, Option<StatusReport>) {
        match self {
            Self::Remote { client, .. } => of_client(client),
            Self::Here(here) => here.facts(),
        }
    }
}

fn of_client(client: &Client) -> (Vec<StatusFact>, Option<StatusReport>) {
    let own = client.own_certificate();
    match client.status() {
        Ok(report) => {
            let key = key_fact("key", &own.path, own.validity, client.entry_end());
            let facts = lines::of_report(client.base(), key, &report);
            (facts, Some(report))
        }
        Err(error) => {
            let key = key_fact("key", &own.path, own.validity, None);
            let failed = CommandError::from(error);
            let says = format!("{}; {}", failed.message(), failed.hint());
            (vec![StatusFact::critical("server", says), key], None)
        }
    }
}

impl ServerHere {
    fn facts(&self) -> (Vec<StatusFact>, Option<StatusReport>) {
        let says = format!("{} on this machine, by {}", self.kind, called(&self.file));
        let mut facts = vec![StatusFact::ok("server", says)];
        let identity = self.identity.clone();
        facts.extend(identity.map(|says| StatusFact::ok("identity", says)));
        facts.extend(self.certificate());
        facts.extend(self.register.as_ref().map(register));
        match health::readiness(self.health) {
            None => {
                let says = format!(
                    "nothing answers on {}: start it, or see its log",
                    self.health
                );
                facts.push(StatusFact::critical("ready", says));
            }
            Some(ReadyAnswer {
                reasons, notices, ..
            }) => {
                facts.extend(lines::readiness(&reasons, &notices));
            }
        }
        let report = self
            .vault
            .as_ref()
            .map(|vault| self.at_vault(vault, &mut facts));
        (facts, report.flatten())
    }

    fn certificate(&self) -> Option<StatusFact> {
        match Identity::read(&self.certificate, &self.key) {
            Ok(identity) => {
                let validity = identity.chain.first().and_then(Validity::of);
                Some(key_fact("certificate", &self.certificate, validity, None))
            }
            Err(error) => Some(StatusFact::critical("certificate", error.to_string())),
        }
    }

    /// What the vault tells its node.
    fn at_vault(&self, vault: &ClientConfig, facts: &mut Vec<StatusFact>) -> Option<StatusReport> {
        let patience = std::time::Duration::from_secs(5);
        let timeouts = Timeouts {
            connect: patience,
            step: patience,
        };
        let asked = Client::with_timeouts(vault, timeouts).and_then(|client| {
            let report = client.status()?;
            Ok((client, report))
        });
        match asked {
            Ok((client, report)) => {
                let says = format!(
                    "{} answers, {}",
                    client.base(),
                    if report.ready { "ready" } else { "not ready" }
                );
                facts.push(StatusFact::ok("vault", says));
                facts.push(lines::other_register(
                    self.register.as_ref(),
                    &report.register,
                ));
                facts.extend(lines::step(&report));
                Some(report)
            }
            Err(error) => {
                let failed = CommandError::from(error);
                let says = format!("{}; {}", failed.message(), failed.hint());
                facts.push(StatusFact::critical("vault", says));
                None
            }
        }
    }
}

/// Where the identity secret lies; nothing is said of a node.
fn identity_place(config: &SideConfig) -> Option<String> {
    match config {
        SideConfig::Node(_) => None,
        SideConfig::Vault(vault) => Some(match &vault.secrets.identity {
            IdentityPlace::Embedded(_) => "the identity secret lies with this vault".to_owned(),
            IdentityPlace::Sources(link) => format!(
                "the identity secret lies with an identity source: {}",
                link.urls.join(", ")
            ),
        }),
        SideConfig::Identity(source) => Some(match &source.secret {
            KeyPlace::Own(_) => "the identity secret lies here".to_owned(),
            KeyPlace::Shares(_) => {
                "the identity secret lies here, in its custodians' shares".to_owned()
            }
        }),
    }
}

/// The register that a start would take.
fn register(files: &RegisterFiles) -> StatusFact {
    match open_register(files) {
        Ok(register) => {
            let says = format!(
                "version {} in {}, signed",
                register.version,
                called(&files.file)
            );
            StatusFact::ok("register", says)
        }
        Err(error) => StatusFact::critical("register", error.message().to_owned()),
    }
}
