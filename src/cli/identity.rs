//! `cloison identity`: the identity source, its secret, and the shares of its custodians.

mod split;

use super::authority::{NodeCallArgs, seal, shares, show_seal};
use super::serve;
use crate::terminal::CommandError;

/// The identity source: derives UTIs for the vault under an administrator of its own
#[derive(clap::Subcommand)]
pub enum IdentityCommand {
    /// Run the identity source: holds the identity secret, and counts, limits and logs what the
    /// vault asks of it
    Serve(serve::ServeIdentityArgs),
    /// Split the identity secret between custodians, so that it lies in no file
    Split(split::IdentitySplitArgs),
    /// Bring a custodian's share to the source; with the last one needed, it answers the vault
    #[command(
        after_long_help = "Example:\n  cloison identity unseal --client clients/keeper-2.toml --share keeper-2.share\n\n\
        Each custodian does this on their own machine, with their own certificate, in any order."
    )]
    Unseal(shares::UnsealArgs),
    /// Prove that shares make the identity secret, and unseal nothing
    #[command(
        after_long_help = "Examples:\n  cloison identity drill --client clients/keeper-2.toml --share keeper-2.share\n  \
        cloison secrets drill --share a.share --share b.share   # on a machine without a network\n\n\
        When enough custodians have brought theirs, the source makes the secret, forgets it and stays as it was."
    )]
    Drill(IdentityDrillArgs),
    /// Make the source wipe the identity secret at once
    #[command(
        after_long_help = "Example:\n  cloison identity seal --client clients/keeper-1.toml\n\n\
        Any custodian of the source may do this. The vault is answered no more until enough custodians have brought their shares \
        again. A secret that is not in shares comes back by a restart."
    )]
    Seal(NodeCallArgs),
    /// Show whether the identity secret is sealed, and how many shares were brought
    #[command(
        after_long_help = "Example:\n  cloison identity status --client clients/keeper-1.toml"
    )]
    Status(NodeCallArgs),
}

/// A custodian's share, for a drill.
#[derive(clap::Args)]
pub struct IdentityDrillArgs {
    #[command(flatten)]
    brought: shares::UnsealArgs,
}

/// Runs the command.
///
/// # Errors
/// Those of the command.
pub fn run(command: IdentityCommand) -> Result<(), CommandError> {
    match command {
        IdentityCommand::Serve(args) => serve::run_identity(&args),
        IdentityCommand::Split(args) => split::run(&args),
        IdentityCommand::Unseal(args) => shares::unseal(&args),
        IdentityCommand::Drill(args) => shares::drill_at(&args.brought),
        IdentityCommand::Seal(args) => seal(&args),
        IdentityCommand::Status(args) => show_seal(&args),
    }
}
