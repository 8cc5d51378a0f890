//! Opens the client of a server for a command, and turns a failed request into an error with a
//! remedy.

use std::io::{self, Write as _};
use std::path::Path;

use super::CommandError;
use super::advice::advice;
use crate::certificates::{TlsInspection, own_entry_ends};
use crate::client::officer::OfficerCallError;
use crate::client::{Client, ClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{ClientConfig, ConfigError};

/// Reads a client file and the files that it names: the server's address, and the certificate and
/// key to show there. Warns on standard error of what ends soon: the certificate, and the key's
/// entry in the register as soon as the server tells its last day.
///
/// # Errors
/// When the file, or one that it names, cannot be read or is not what it should be.
pub fn open_client(file: &Path) -> Result<Client, CommandError> {
    const HINT: &str = "`cloison init` writes such files to clients/; private keys have mode 0600";
    let config = ClientConfig::load(file)?;
    let client = Client::new(&config).map_err(|error| CommandError::new(error, HINT))?;
    let now = SystemClock.now();
    let TlsInspection { warnings, .. } = TlsInspection::of(&config.named_files(), None, now);
    warnings.iter().for_each(|warning| warn(warning));
    client.on_entry_end(move |until| {
        if let Some(ends) = own_entry_ends(until, now) {
            warn(&ends);
        }
    });
    Ok(client)
}

/// Writes a warning to standard error, which may be closed.
fn warn(what: &str) {
    let _ = writeln!(io::stderr(), "warning: {what}");
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::File(_) => "check the path, and that this user may read it".to_owned(),
            ConfigError::OtherKind { wanted, .. } => {
                format!("name {} ({})", wanted.called(), wanted.usual_name())
            }
            ConfigError::Faults { file, .. } => format!(
                "correct the file; `cloison check {}` says when it has no fault",
                file.display()
            ),
        };
        Self::new(error, hint)
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let hint = match &error {
            ClientError::Setup(_) => {
                "check the certificates and the key that the client file names"
            }
            ClientError::Handshake { fault, .. } => fault.remedy(),
            ClientError::Connection { .. } => {
                "check `url` in the client file, and that the server runs and is ready"
            }
            ClientError::Answer { .. } => {
                "check that `url` in the client file leads to a cloison listener of the right kind"
            }
            ClientError::Wire(_) => "upgrade the side that it names: docs/install.md#upgrade",
            ClientError::Request => return Self::bug(error),
            ClientError::Problem(problem) => {
                let known = problem.known();
                let hint = known.map_or("use the same version on both sides", advice);
                let code = problem.code.clone();
                return Self::new(error, hint).with_code(&code);
            }
        };
        Self::new(error, hint)
    }
}

impl From<OfficerCallError> for CommandError {
    fn from(error: OfficerCallError) -> Self {
        match error {
            OfficerCallError::Order(refusal) => Self::new(
                refusal,
                "`cloison order check` says what is wrong with an order",
            ),
            OfficerCallError::Node(error) => error.into(),
        }
    }
}
