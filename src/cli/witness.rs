//! `cloison witness`: the commission's process, which cosigns the logs of vault and nodes.

use std::path::PathBuf;

use crate::audit::origin::owner_and_shard;
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
    /// Acknowledge that a log goes on in a new shard after it lost entries
    AcknowledgeResume(WitnessAcknowledgeArgs),
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

/// The arguments of `witness acknowledge-resume`.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison witness acknowledge-resume --config witness.toml --log cloison/demo/vault/2026-1\n\n\
    Until then the witness does not cosign that shard; its log names it. Ask first why the side was restored, keep your copy of the \
    log that lost entries, and verify the new one (`cloison audit verify`). The witness may run meanwhile."
)]
pub struct WitnessAcknowledgeArgs {
    /// The witness's configuration (`witness.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The shard's log, as the witness names it when it refuses
    #[arg(long, value_name = "LOG")]
    log: String,
}

fn acknowledge(args: &WitnessAcknowledgeArgs) -> Result<(), CommandError> {
    let config = WitnessConfig::load(&args.config)?;
    let witness = serve::witness_of(&config)?;
    let begins_after_a_loss = owner_and_shard(&args.log).is_some_and(|(_, shard)| shard.part > 0);
    if witness.key_of(&args.log).is_none() || !begins_after_a_loss {
        return Err(CommandError::usage(
            "the witness watches no log of that name that was begun after a loss",
            "copy the name from the witness's log: it ends with a year and a number, such as 2026-1",
        ));
    }
    witness
        .acknowledge(&args.log)
        .map_err(|error| CommandError::new(error, "check [state] in the configuration"))?;
    print(format_args!(
        "{} is acknowledged: the witness cosigns it from now on.",
        args.log
    ))
}

/// Runs the command.
///
/// # Errors
/// When configuration or key are not in order, or a port is taken.
pub fn run(command: WitnessCommand) -> Result<(), CommandError> {
    match command {
        WitnessCommand::Serve(args) => serve::run_witness(&args.config, args.first_start),
        WitnessCommand::AcknowledgeResume(args) => acknowledge(&args),
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
