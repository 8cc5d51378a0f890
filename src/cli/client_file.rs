//! The argument of all commands that talk to a vault or an authority node: the client file.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::client::Client;
use crate::terminal::{CommandError, open_client};

/// The client file, by option or environment.
#[derive(clap::Args)]
pub struct ClientFile {
    /// The client file: the server's address, and the certificate and key to show there
    #[arg(long = "client", value_name = "FILE", env = "CLOISON_CLIENT")]
    file: PathBuf,
}

impl ClientFile {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// When one of them cannot be read or is not what it should be.
    pub fn open(&self) -> Result<Client, CommandError> {
        open_client(&self.file)
    }
}

/// Does the same at the server of each client file: one that fails keeps no other from it.
///
/// # Errors
/// The failure, or which servers failed and why, with the exit code of the worst.
pub(super) fn at_each(
    files: &[PathBuf],
    act: impl Fn(&Client) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut failed: Vec<CommandError> = vec![];
    for file in files {
        if let Err(error) = open_client(file).and_then(|client| act(&client)) {
            if files.len() == 1 {
                return Err(error);
            }
            let message = format!("{}: {error}", file.display());
            let _ = writeln!(io::stderr(), "{message}");
            let hint = error.hint().to_owned();
            failed.push(error.instead(message, hint));
        }
    }
    let count = failed.len();
    let Some(worst) = failed.into_iter().max_by_key(CommandError::exit) else {
        return Ok(());
    };
    let message = format!("{count} of {} servers failed; {worst}", files.len());
    let hint = worst.hint().to_owned();
    Err(worst.instead(message, hint))
}
