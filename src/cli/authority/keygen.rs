//! `cloison authority keygen`: a key that exists in its custodians' shares and nowhere else.

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::cli::custodians::CustodianArgs;
use crate::cli::inputs::parse_id;
use crate::keys::file::SecretKind;
use crate::keys::shares::split;
use crate::keys::{AuthoritySecret, Key, memory};
use crate::register::{Id, Suite};
use crate::seal::segment::AuthorityPrivateKey;
use crate::terminal::{CommandError, print, print_json};

/// Make a private key for the authority, split between custodians: it exists in their shares and
/// nowhere else
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison authority keygen --id court-2027 --threshold 3 --shares 5 --out court-2027\n  \
    cloison authority keygen --id court-2027 --threshold 2 \\\n    \
    --custodian amina=age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p \\\n    \
    --custodian brahim --custodian driss --out court-2027\n  \
    cloison authority keygen --id court-2028 --suite x-wing --threshold 3 --shares 5 --out court-2028\n\n\
    A key in another custody: `cloison secrets new authority CUSTODY:PATH --id ID --suite SUITE`. To change from one key to \
    another, of either suite: `cloison authority renew`. Do this \
    on a machine without a network, with all custodians present. Each custodian takes their own file, and none takes two. The \
    set (*.set) is public: the node has it and checks each share against it.")]
pub struct AuthorityKeygenArgs {
    /// The new key's id in the register
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    id: Id,
    /// What segments are sealed with: x25519, or x-wing (X25519 and ML-KEM-768 at once, against a
    /// quantum computer to come); as in the register also 1 or 2
    #[arg(long, value_name = "SUITE", default_value = "x25519", value_parser = suite)]
    suite: Suite,
    #[command(flatten)]
    custodians: CustodianArgs,
    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads a suite from the command line.
pub fn suite(text: &str) -> Result<Suite, String> {
    Suite::parse(text).ok_or_else(|| "a suite is x25519 (1) or x-wing (2)".to_owned())
}

/// What was made; nothing in it is secret.
#[derive(Serialize)]
struct NewAuthorityKey {
    id: Id,
    suite: u8,
    public: String,
    set: PathBuf,
    digest: String,
    threshold: usize,
    shares: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the key cannot be split so, a passphrase is missing, or the folder is not new.
pub fn run(args: &AuthorityKeygenArgs) -> Result<(), CommandError> {
    memory::protect(true);
    let made = make(args)?;
    if args.json {
        return print_json(&made);
    }
    let NewAuthorityKey {
        id,
        suite,
        public,
        set,
        digest,
        threshold,
        shares,
    } = &made;
    print(format_args!(
        "The key {id} is split into {count} shares, {threshold} of which recover it; it exists nowhere else.\n\
         \n\
         Shares, each to its custodian alone:\n  {files}\n\
         \n\
         In the register, signed anew, the key and its custodians' certificates:\n\
         \x20 [[authority.key]]\n  id = \"{id}\"\n  suite = {suite}\n  public = \"{public}\"\n\
         \x20 [[authority.custodian]]                  # one for each custodian\n  id = \"…\"\n  name = \"…\"\n  certificate = \"…\"\n\
         \n\
         In node.toml, with {set} at the node (its digest: {digest}):\n\
         \x20 [[key]]\n  id = \"{id}\"\n  custody = \"shares\"\n  file = \"{id}.set\"\n\
         \n\
         Next: cloison authority drill, with {threshold} shares, before anything is sealed to this key.",
        count = shares.len(),
        set = set.display(),
        files = shares
            .iter()
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join("\n  "),
    ))
}

fn make(args: &AuthorityKeygenArgs) -> Result<NewAuthorityKey, CommandError> {
    let scalar = AuthoritySecret(Key::random());
    let derive = |scalar: &AuthoritySecret| {
        AuthorityPrivateKey::derive(scalar, args.id.as_str(), args.suite)
    };
    let public = derive(&scalar).public().to_vec();
    let (set, mut files) = args
        .custodians
        .split(args.id.as_str(), |custodians, threshold| {
            let secrets = [(
                SecretKind::Authority,
                args.id.to_string(),
                public.clone(),
                &scalar.0,
            )];
            let (set, shares) = split(&secrets, custodians, threshold).map_err(unsplit)?;
            // Any `threshold` of the shares must make this key; the last ones are tried here.
            let last: Vec<_> = shares[shares.len() - threshold..].iter().collect();
            let recovered = set
                .recover(&last)
                .map_err(unsplit)?
                .pop()
                .map(AuthoritySecret);
            match recovered.as_ref().map(derive) {
                Some(key) if key.public() == public => Ok((set, shares)),
                _ => Err(CommandError::bug("the new shares do not recover the key")),
            }
        })?;
    let shares = files.split_off(1);
    Ok(NewAuthorityKey {
        id: args.id.clone(),
        suite: args.suite.number(),
        public: HEXLOWER.encode(&public),
        set: files.remove(0),
        digest: HEXLOWER.encode(&set.digest()),
        threshold: set.threshold,
        shares,
    })
}

fn unsplit(error: crate::keys::shares::ShareError) -> CommandError {
    CommandError::usage(error, "choose --threshold and custodians anew")
}
