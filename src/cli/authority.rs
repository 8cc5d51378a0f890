//! `cloison authority`: the authority's own process, its key, and the shares of its custodians.

pub(super) mod keygen;
mod renew;
mod resumed;
pub(super) mod shares;

use super::serve;
use crate::cli::client_file::ClientFile;
use crate::terminal::{CommandError, print, print_json};
use crate::unseal::SealStatus;

/// The authority's own process, and its key
#[derive(clap::Subcommand)]
pub enum AuthorityCommand {
    /// Run the authority node: opens mappings that the vault releases under an order
    Serve(serve::ServeNodeArgs),
    /// Make a private key for the authority, split between custodians: it exists in their shares
    /// and nowhere else
    Keygen(keygen::AuthorityKeygenArgs),
    /// Bring a custodian's share to the node; with the last one needed, the node opens
    Unseal(shares::UnsealArgs),
    /// Prove that shares make the key that the register states, and unseal nothing
    Drill(shares::AuthorityDrillArgs),
    /// Make the node wipe its keys at once
    #[command(
        after_long_help = "Example:\n  cloison authority seal --client clients/officer.toml\n\n\
        Any custodian and any officer may do this. The node first finishes what it is opening (milliseconds); after that it opens \
        nothing until enough custodians have brought their shares again. A key that is not in shares comes back by a restart."
    )]
    Seal(NodeCallArgs),
    /// Seal stored segments to the keys that the register lists now, and prove that they open
    Renew(renew::RenewArgs),
    /// Acknowledge that the vault's log lost entries at a restore, so that the node opens again
    AcknowledgeResume(resumed::AcknowledgeResumeArgs),
    /// Show whether the node is sealed, and how many shares were brought
    #[command(
        after_long_help = "Example:\n  cloison authority status --client clients/custodian-1.toml"
    )]
    Status(NodeCallArgs),
}

/// Where to ask, and how to show it.
#[derive(clap::Args)]
pub struct NodeCallArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// Those of the command.
pub fn run(command: AuthorityCommand) -> Result<(), CommandError> {
    match command {
        AuthorityCommand::Serve(args) => serve::run_node(&args),
        AuthorityCommand::Keygen(args) => keygen::run(&args),
        AuthorityCommand::Unseal(args) => shares::unseal(&args),
        AuthorityCommand::Drill(args) => shares::drill(&args),
        AuthorityCommand::Renew(args) => renew::run(&args),
        AuthorityCommand::AcknowledgeResume(args) => resumed::run(&args),
        AuthorityCommand::Seal(args) => seal(&args),
        AuthorityCommand::Status(args) => show_seal(&args),
    }
}

/// Has a node or an identity source wipe its keys.
pub(super) fn seal(args: &NodeCallArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    let sealed = client.post_json("/v1/seal", &serde_json::json!({}));
    show(args, &sealed?)
}

/// Shows which keys of a node or an identity source are sealed.
pub(super) fn show_seal(args: &NodeCallArgs) -> Result<(), CommandError> {
    let status = args.client.open()?.get_json("/v1/seal");
    show(args, &status?)
}

fn show(args: &NodeCallArgs, status: &SealStatus) -> Result<(), CommandError> {
    if args.json {
        return print_json(status);
    }
    let mut text = format!("{:<24} {:<9} {:<8} CUSTODIANS", "KEY", "STATE", "SHARES");
    for key in &status.keys {
        let state = if key.sealed { "sealed" } else { "open" };
        let shares = match (key.shares, key.threshold) {
            (Some(shares), Some(threshold)) => format!("{shares} of {threshold}"),
            _ => "-".to_owned(),
        };
        let custodians = if key.custodians.is_empty() {
            "-".to_owned()
        } else {
            key.custodians.join(", ")
        };
        text += &format!("\n{:<24} {state:<9} {shares:<8} {custodians}", key.id);
    }
    let SealStatus {
        idle_seconds,
        forget_seconds,
        ..
    } = status;
    text += &format!(
        "\nKeys in shares are sealed after {idle_seconds} s without use, shares forgotten after {forget_seconds} s."
    );
    print(text)
}
