//! Identities that open sealed backups: age's own files, which stay with people.

use std::path::{Path, PathBuf};

use crate::backup::envelope::BackupIdentities;
use crate::cli::delivery::make_identity;
use crate::keys::memory;
use crate::terminal::{CommandError, print, print_json, voice};

/// What opens a sealed backup.
#[derive(clap::Args)]
pub struct IdentityArgs {
    /// The identity file that opens a sealed backup, as `cloison backup keygen` or `age-keygen`
    /// made it; mode 0600
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl IdentityArgs {
    /// Reads it, if one is named.
    ///
    /// # Errors
    /// When others may read it, or it is not an identity file.
    pub(super) fn read(&self) -> Result<Option<BackupIdentities>, CommandError> {
        read_identity(self.identity.as_deref())
    }

    /// Refuses an identity where a server is asked.
    ///
    /// # Errors
    /// When one is named.
    pub(super) fn stays_here(&self) -> Result<(), CommandError> {
        match &self.identity {
            None => Ok(()),
            Some(_) => Err(CommandError::usage(
                "an identity goes to no server: it would open every backup there",
                "name the repository instead, where this machine reaches it: --repository DIR --register FILE",
            )),
        }
    }
}

/// Reads an identity file, if one is named.
///
/// # Errors
/// When others may read it, or it is not an identity file.
pub(crate) fn read_identity(file: Option<&Path>) -> Result<Option<BackupIdentities>, CommandError> {
    let Some(file) = file else { return Ok(None) };
    // No core dump and no debugger gets it.
    memory::protect(false);
    let read = BackupIdentities::read(file).map(Some);
    read.map_err(|error| CommandError::new(error, "name the file of an identity with --identity"))
}

/// Make an identity that opens sealed backups
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison backup keygen backup.age\n\n`age-keygen -o backup.age` does the same. Make it \
    where the server does not run, and keep a copy: without it no sealed backup opens."
)]
pub struct BackupKeygenArgs {
    /// Where to write the identity (mode 0600); an existing file is never overwritten
    #[arg(value_name = "FILE")]
    out: PathBuf,
}

/// Makes one.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn keygen(args: &BackupKeygenArgs) -> Result<(), CommandError> {
    memory::protect(false);
    let recipient = make_identity(&args.out)?;
    if voice().json {
        print_json(&serde_json::json!({"file": args.out, "recipient": recipient}))
    } else {
        print(format_args!(
            "{recipient}\nIdentity in {}; the line above is for `[backup] recipients`.",
            args.out.display()
        ))
    }
}
