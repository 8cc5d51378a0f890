//! `cloison identity split`: the identity secret goes into the shares of its custodians.

use std::path::PathBuf;

use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::cli::custodians::CustodianArgs;
use crate::config::{IdentityConfig, KeyPlace};
use crate::keys::file::SecretKind;
use crate::keys::memory;
use crate::keys::shares::split;
use crate::terminal::{CommandError, print, print_json};

/// Split the identity secret between custodians, so that it lies in no file
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison identity split --config identity.toml --threshold 2 \\\n    \
    --custodian keeper-1 --custodian keeper-2 --custodian keeper-3 --out identity-shares\n\n\
    The secret stays the same: no pseudonym changes. Name the set in identity.toml, bring the shares once, then destroy the file \
    in which the secret was, and its copies. Do this with all custodians present; each takes their own file.")]
pub struct IdentitySplitArgs {
    /// The identity source's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    custodians: CustodianArgs,
    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the secret cannot be read, or the shares cannot be made or written.
pub(super) fn run(args: &IdentitySplitArgs) -> Result<(), CommandError> {
    memory::protect(true);
    let config = IdentityConfig::load(&args.config)?;
    let KeyPlace::Own(deposit) = &config.secret else {
        return Err(CommandError::new(
            "the identity secret is in shares already",
            "to split it anew, recover it first: `cloison secrets recover`",
        ));
    };
    let read = config.openers.keyring().read(deposit, SecretKind::Identity);
    let secret =
        read.map_err(|error| CommandError::new(error, "check [secrets] in the configuration"))?;
    let (set, mut files) = args.custodians.split("identity", |custodians, threshold| {
        let unsplit = |error| CommandError::usage(error, "choose --threshold and custodians anew");
        let secrets = [(SecretKind::Identity, String::new(), Vec::new(), &secret)];
        let (set, shares) = split(&secrets, custodians, threshold).map_err(unsplit)?;
        // Any `threshold` of the shares must make the secret; the last ones are tried here.
        let last: Vec<_> = shares[shares.len() - threshold..].iter().collect();
        match set.recover(&last).map_err(unsplit)?.pop() {
            Some(made) if bool::from(made.expose().ct_eq(secret.expose())) => Ok((set, shares)),
            _ => Err(CommandError::bug(
                "the new shares do not recover the secret",
            )),
        }
    })?;
    let shares = files.split_off(1);
    let (file, threshold) = (files.remove(0), set.threshold);
    if args.json {
        return print_json(&json!({"set": file, "threshold": threshold, "shares": shares}));
    }
    let names = shares.iter().map(|file| file.display().to_string());
    print(format_args!(
        "The identity secret is split into {count} shares, {threshold} of which recover it.\n\
         \n\
         Shares, each to its custodian alone:\n  {names}\n\
         \n\
         In the register, signed anew, the custodians' certificates:\n\
         \x20 [[identity.custodian]]                   # one for each custodian\n  id = \"…\"\n  name = \"…\"\n  certificate = \"…\"\n\
         \n\
         In identity.toml, in place of `identity`, with {set} at the source:\n\
         \x20 [secrets]\n  identity-shares = \"{set}\"\n\
         \n\
         Next: restart the source, and `cloison identity unseal` with {threshold} shares; then destroy the file in which the secret was.",
        count = shares.len(),
        names = names.collect::<Vec<_>>().join("\n  "),
        set = file.display(),
    ))
}
