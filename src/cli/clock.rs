//! `cloison clock lower`: lowers the high-water mark after a vault's or a node's clock ran ahead.

use std::path::PathBuf;

use super::assent::{Assent, Irreversible};
use super::statement;
use crate::cli::client_file::ClientFile;
use crate::epoch::clock::{LowerClock, LoweredClock};
use crate::terminal::{CommandError, print, print_json};

/// Lower the clock's high-water mark after a clock ran ahead
#[derive(clap::Subcommand)]
pub enum ClockCommand {
    /// Lower the clock's high-water mark of a vault or a node to the present time
    Lower(ClockLowerArgs),
}

/// The arguments of `clock lower`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison statement new --register register.toml --lower-clock-mark vault:2036-11-20T12:00:00Z \\\n    \
    --out statement.jws\n  \
    cloison clock lower --statement statement.jws --client clients/operator.toml\n\n\
    The mark is the latest time on which the vault or the node ever acted. While the clock is behind it, they refuse what depends \
    on the time (`clock-behind`). /readyz names it (`clock`). First set the clock right: the mark becomes what it shows. Two operators sign the \
    statement (`cloison statement sign`). The vault and each node have marks of their own.")]
pub struct ClockLowerArgs {
    /// The statement that two operators signed
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// When the other side cannot be reached or refuses.
pub fn run(command: ClockCommand) -> Result<(), CommandError> {
    let ClockCommand::Lower(args) = command;
    let statement = statement::bring(Some(&args.statement))?.unwrap_or_default();
    args.assent.obtain(&Irreversible {
        changes: "The clock's high-water mark becomes what the clock shows now.".to_owned(),
        lost: "What the time between them had closed is open again, and what is done then stays done.",
    })?;
    let lowered: LoweredClock = args
        .client
        .open()?
        .post_json("/v1/clock-mark", &LowerClock { statement })?;
    if args.json {
        print_json(&lowered)
    } else {
        print(format_args!(
            "The mark was at {} and is at {} now.",
            lowered.from, lowered.to
        ))
    }
}
