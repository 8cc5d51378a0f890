//! `cloison serve`, `cloison authority serve` and `cloison identity serve`.

use std::path::PathBuf;

use crate::serve::{self, StartOptions};
use crate::terminal::CommandError;
use crate::vault::SectorAdvance;

/// Run the vault: derives pseudonyms, stores sealed mappings, releases them under orders.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison serve --config vault.toml\n  \
    cloison serve --config vault.toml --advance health   # once, after its granularity changed\n\n\
    SIGTERM ends it after the requests that have begun.")]
pub struct ServeArgs {
    /// The vault's configuration (`vault.toml`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Open a new epoch for this sector, because the register changed its granularity, text form or
    /// reversibility; the overlap of a previous epoch ends only if EPOCH names it.
    #[arg(long, value_name = "SECTOR[:EPOCH]", value_parser = sector_advance)]
    advance: Vec<SectorAdvance>,
    #[command(flatten)]
    start: StartArgs,
}

/// A sector, and the epoch whose overlap ends: `health`, `health:1`.
fn sector_advance(text: &str) -> Result<SectorAdvance, String> {
    let Some((sector, epoch)) = text.rsplit_once(':') else {
        return Ok(SectorAdvance {
            sector: text.to_owned(),
            end_overlap: None,
        });
    };
    let epoch = epoch
        .parse()
        .map_err(|_| "write a sector and the epoch whose overlap ends as health:1".to_owned())?;
    Ok(SectorAdvance {
        sector: sector.to_owned(),
        end_overlap: Some(epoch),
    })
}

/// Run the authority node: opens mappings that the vault releases under an order.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison authority serve --config node.toml\n\n\
    SIGTERM ends it after the requests that have begun. A key in shares stays sealed until enough custodians bring theirs: `cloison \
    authority unseal`."
)]
pub struct ServeNodeArgs {
    /// The node's configuration (`node.toml`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    start: StartArgs,
}

/// Run the identity source: holds the identity secret, and counts, limits and logs what the vault
/// asks of it.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison identity serve --config identity.toml\n\n\
    SIGTERM ends it after the requests that have begun. A secret in shares stays sealed until enough custodians bring theirs: \
    `cloison identity unseal`."
)]
pub struct ServeIdentityArgs {
    /// The identity source's configuration (`identity.toml`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    start: StartArgs,
}

/// The options that all of them take.
#[derive(clap::Args)]
struct StartArgs {
    /// Accept the published keys of keys-example/: for trials, never for data of real persons.
    #[arg(long)]
    allow_example_keys: bool,
    /// Make a store although `cloison init` has not prepared one: give this once, and only if no
    /// disk is missing.
    #[arg(long)]
    first_start: bool,
}

impl StartArgs {
    fn options(&self) -> StartOptions {
        StartOptions {
            allow_example_keys: self.allow_example_keys,
            first_start: self.first_start,
        }
    }
}

/// Runs `cloison serve` until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run(args: ServeArgs) -> Result<(), CommandError> {
    serve::run_vault(&args.config, args.advance, args.start.options())
}

/// Runs `cloison authority serve` until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run_node(args: &ServeNodeArgs) -> Result<(), CommandError> {
    serve::run_node(&args.config, args.start.options())
}

/// Runs `cloison identity serve` until it is told to stop.
///
/// # Errors
/// When configuration, secrets, register or store are not in order, or a port is taken.
pub fn run_identity(args: &ServeIdentityArgs) -> Result<(), CommandError> {
    serve::run_identity(&args.config, args.start.options())
}
