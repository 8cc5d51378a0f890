//! `cloison witness`: the commission's process, which cosigns the logs of vault and nodes.

use std::path::PathBuf;

use crate::config::WitnessConfig;
use crate::keys::file::read_signing_key;
use crate::serve;
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::note::{SignatureKind, Verifier};

/// Cosign the audit logs of others, as the commission does
#[derive(clap::Subcommand)]
pub enum WitnessCommand {
    /// Run the witness: it cosigns a checkpoint after checking that the log only grew
    Serve(WitnessServeArgs),
    /// Print the verifier key by which others know the witness's cosignatures
    Key(WitnessKeyArgs),
}

/// The arguments of `witness serve`.
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison witness serve --config witness.toml --first-start      # once\n  \
    cloison witness serve --config witness.toml\n\n\
    It speaks C2SP tlog-witness. docs/operations.md has an example of witness.toml. Do not lose its state (`[state]`): a \
    witness that forgets would believe a rewritten log."
)]
pub struct WitnessServeArgs {
    /// The witness's configuration (`witness.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make the folder of its state (`[state]`): at its first start only, and only if no disk is
    /// missing
    #[arg(long)]
    first_start: bool,
}

/// The arguments of `witness key`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison witness key --config witness.toml")]
pub struct WitnessKeyArgs {
    /// The witness's configuration (`witness.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When configuration or key are not in order, or a port is taken.
pub fn run(command: WitnessCommand) -> Result<(), CommandError> {
    match command {
        WitnessCommand::Serve(args) => serve::run_witness(&args.config, args.first_start),
        WitnessCommand::Key(args) => {
            let config = WitnessConfig::load(&args.config)?;
            let key = read_signing_key(&config.key)
                .map_err(|e| CommandError::new(e, "check [secrets]"))?
                .verifying_key();
            let verifier =
                Verifier::new(config.name.as_str(), SignatureKind::Cosigner, key).to_string();
            let public = crate::keys::file::public_key_text(&key);
            if args.json {
                print_json(
                    &serde_json::json!({"name": config.name, "public": public, "verifier": verifier}),
                )
            } else {
                print(verifier)
            }
        }
    }
}
