//! `cloison restore state` and `cloison restore confirm`: what holds at a side since it was restored
//! without places, and the statements that end it.

use std::path::PathBuf;

use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::ClientFile;
use crate::cli::statement;
use crate::losses::{ConfirmRestore, RestoreState};
use crate::terminal::{CommandError, print, print_json, voice};

/// The arguments of `restore state`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison restore state --client clients/operator.toml")]
pub(super) struct RestoreStateArgs {
    #[command(flatten)]
    client: ClientFile,
}

/// The arguments of `restore confirm`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison statement new --register register.toml --confirm-epoch health:3 --out statement.jws\n  \
    cloison restore confirm --statement statement.jws --client clients/operator.toml\n  \
    cloison statement new --register register.toml --erasures-lodged vault --out statement.jws\n\n\
    Two operators sign each statement (`cloison statement sign`) after the restore. Confirm an epoch only where neither others' \
    copies of the log nor the clients know of a later one; where they do, advance the sector first.")]
pub(super) struct RestoreConfirmArgs {
    /// The statement that two operators signed
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs `restore state`.
///
/// # Errors
/// When the server does not answer or refuses.
pub(super) fn state(args: &RestoreStateArgs) -> Result<(), CommandError> {
    show(&args.client.open()?.get_json("/v1/restore")?)
}

/// Runs `restore confirm`.
///
/// # Errors
/// When the server does not answer or refuses.
pub(super) fn run(args: &RestoreConfirmArgs) -> Result<(), CommandError> {
    let statement = statement::bring(Some(&args.statement))?.unwrap_or_default();
    args.assent.obtain(&Irreversible {
        changes: "What the statement confirms is open again.".to_owned(),
        lost: "What is answered or released then stays so, even if the lost time had closed it.",
    })?;
    let asked = ConfirmRestore { statement };
    show(&args.client.open()?.post_json("/v1/restore", &asked)?)
}

fn show(state: &RestoreState) -> Result<(), CommandError> {
    if voice().json {
        return print_json(state);
    }
    let Some(loss) = &state.loss else {
        return print("This side was never restored without places.");
    };
    let from = loss.backup.as_deref().unwrap_or("a copy of its store");
    let mut text = format!(
        "Restored without places at {}, from {from}.\n  orders       issued before are over",
        loss.restored
    );
    for closed in &loss.closed {
        text += &format!(
            "\n  closed       sector {}, until its epoch is confirmed: {} or a later one",
            closed.sector, closed.least
        );
    }
    text += if loss.erasures_missing {
        "\n  releases     wait until lost erasures were lodged again"
    } else {
        "\n  releases     go on"
    };
    print(text)
}
