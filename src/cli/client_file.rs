//! The argument of all commands that talk to a vault or an authority node: the client file.

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
