//! `cloison delivery`: an officer's key for sealed answers, and opening them. The files are age's
//! (age-encryption.org), so any age tool does the same.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;

use super::inputs::not_written;
use crate::keys::custody::passphrase::AgeOpener;
use crate::keys::file::{read_private, read_public, write_private};
use crate::terminal::{CommandError, output_error, print, print_json};

/// The most bytes of a sealed answer.
const MAX_SEALED: usize = 64 << 20;

/// Make an officer's key for sealed answers, and open these
#[derive(clap::Subcommand)]
pub enum DeliveryCommand {
    /// Make a key: the file stays with the officer, its public half goes into the register as
    /// `sealing-key`
    #[command(
        after_long_help = "Example:\n  cloison delivery keygen officer.age\n\n`age-keygen -o officer.age` does the same."
    )]
    Keygen(DeliveryKeygenArgs),
    /// Open a sealed answer; what it holds goes to standard output
    #[command(
        after_long_help = "Example:\n  cloison delivery open --key officer.age answers.age\n\n\
        `age --decrypt -i officer.age answers.age` does the same."
    )]
    Open(DeliveryOpenArgs),
}

/// The arguments of `delivery keygen`.
#[derive(clap::Args)]
pub struct DeliveryKeygenArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where to write the private key (mode 0600); an existing file is never overwritten
    #[arg(value_name = "FILE")]
    out: PathBuf,
}

/// The arguments of `delivery open`.
#[derive(clap::Args)]
pub struct DeliveryOpenArgs {
    /// The officer's private key, as `delivery keygen` or `age-keygen` made it; mode 0600
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The sealed answer
    #[arg(value_name = "FILE")]
    sealed: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or written, or the answer does not open with the key.
pub fn run(command: DeliveryCommand) -> Result<(), CommandError> {
    match command {
        DeliveryCommand::Keygen(args) => keygen(&args),
        DeliveryCommand::Open(args) => open(&args),
    }
}

fn keygen(args: &DeliveryKeygenArgs) -> Result<(), CommandError> {
    let public = make_identity(&args.out)?;
    if args.json {
        print_json(&serde_json::json!({"file": args.out, "sealing-key": public}))
    } else {
        print(format_args!(
            "{public}\nPrivate key in {}; the line above is for the register.",
            args.out.display()
        ))
    }
}

/// Makes an identity of age in a new file, as `age-keygen` does; returns its recipient.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn make_identity(out: &Path) -> Result<String, CommandError> {
    let identity = age::x25519::Identity::generate();
    let public = identity.to_public().to_string();
    let text = zeroize::Zeroizing::new(format!(
        "# public key: {public}\n{}\n",
        identity.to_string().expose_secret()
    ));
    write_private(out, text.as_bytes()).map_err(not_written)?;
    Ok(public)
}

fn open(args: &DeliveryOpenArgs) -> Result<(), CommandError> {
    let key = read_private(&args.key).map_err(|error| {
        CommandError::new(error, "name the officer's own private key with --key")
    })?;
    let Some(AgeOpener::Identities(keys)) = AgeOpener::identities(&key) else {
        let what = format!("{}: holds no age key", args.key.display());
        return Err(CommandError::new(
            what,
            "`cloison delivery keygen` makes one",
        ));
    };
    let sealed = read_public(&args.sealed, MAX_SEALED)
        .map_err(|error| CommandError::new(error, "check the path"))?;
    let foreign = |error: &dyn std::fmt::Display| {
        CommandError::new(
            format_args!("{}: {error}", args.sealed.display()),
            "check that the file is complete and was sealed to this key",
        )
    };
    let decryptor = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(&sealed[..]))
        .map_err(|error| foreign(&error))?;
    let identities = keys.iter().map(|key| key as &dyn age::Identity);
    let mut plain = decryptor
        .decrypt(identities)
        .map_err(|error| foreign(&error))?;
    let mut out = std::io::stdout().lock();
    let mut piece = zeroize::Zeroizing::new([0; 8192]);
    loop {
        match plain.read(&mut piece[..]) {
            Ok(0) => return Ok(()),
            Ok(n) => std::io::Write::write_all(&mut out, &piece[..n])
                .map_err(|error| output_error(&error))?,
            Err(error) => return Err(foreign(&error)),
        }
    }
}
