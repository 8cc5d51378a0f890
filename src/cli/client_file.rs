//! The argument of all commands that talk to a vault or an authority node: the client file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

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

/// The client file in `CLOISON_CLIENT`, for a command that takes it only where nothing else is
/// named.
pub(super) fn usual_client() -> Option<PathBuf> {
    std::env::var_os("CLOISON_CLIENT").map(PathBuf::from)
}

/// The client with which a signed document is brought at once; `None` where it is only written to a
/// file. What is written to a file is brought only where a client file is named on the command
/// line.
///
/// # Errors
/// When neither is there, or the client file cannot be used.
pub(super) fn bringing_client(
    named: Option<&Path>,
    out: Option<&Path>,
    what: &str,
) -> Result<Option<Client>, CommandError> {
    let usual = usual_client().filter(|_| out.is_none());
    match (named.or(usual.as_deref()), out) {
        (Some(file), _) => open_client(file).map(Some),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(CommandError::usage(
            format_args!("the signed {what} has no destination"),
            "give --out FILE, or --client FILE to bring it at once",
        )),
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
