//! `cloison status`: who I am at a server, what I may do there, and how the server is.

mod condition;
mod lines;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

pub(super) use condition::Server;

use crate::status::StatusReport;
use crate::terminal::{CommandError, print, print_json};

/// Say who I am at a server, what I may do there, and how the server is
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison status --client clients/cnss-health.toml\n  \
    cloison status --config vault.toml --json\n\n\
    With --client it asks the server that the client file leads to, and shows what the caller may know by their role. With \
    --config it asks the process that runs on it, over its health listener, and looks into the files that it names.\n\n\
    Prints one line a fact, the worst first; exit codes as monitoring plugins have them: 0 good; 1 warning: it works, and \
    something needs to be seen to; 2 critical: it does not work; 3 unknown: a file cannot be read.")]
pub struct StatusArgs {
    /// A client file [default: that of CLOISON_CLIENT, without --config]
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// The configuration of a vault, node or witness that runs here
    #[arg(long, value_name = "FILE", conflicts_with = "client")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How good a fact is. Its number is the exit code of monitoring plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum FactState {
    Ok = 0,
    Warning = 1,
    Critical = 2,
}

impl FactState {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// One line of a status.
#[derive(Debug, Clone, Serialize)]
struct StatusFact {
    /// What it is about.
    about: &'static str,
    state: FactState,
    says: String,
}

impl StatusFact {
    fn ok(about: &'static str, says: impl Into<String>) -> Self {
        let (state, says) = (FactState::Ok, says.into());
        Self { about, state, says }
    }

    fn warning(about: &'static str, says: impl Into<String>) -> Self {
        let state = FactState::Warning;
        Self {
            state,
            ..Self::ok(about, says)
        }
    }

    fn critical(about: &'static str, says: impl Into<String>) -> Self {
        let state = FactState::Critical;
        Self {
            state,
            ..Self::ok(about, says)
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read (exit code 3); when something needs to be seen to (1) or does not
/// work (2), which the lines have said then.
pub fn run(args: &StatusArgs) -> Result<(), CommandError> {
    let server = Server::named(args.config.as_deref(), args.client.as_deref());
    let server = server.map_err(|error| error.with_exit(3))?;
    let (facts, report) = server.facts();
    let worst = facts.iter().map(|fact| fact.state).max();
    let worst = worst.unwrap_or(FactState::Ok);
    if args.json {
        show_json(&facts, worst, report.as_ref())?;
    } else {
        show(&facts, worst)?;
    }
    match worst {
        FactState::Ok => Ok(()),
        worst => Err(CommandError::said(worst as u8)),
    }
}

/// The first line is what monitoring shows: the worst fact, or that all is well.
fn show(facts: &[StatusFact], worst: FactState) -> Result<(), CommandError> {
    let first = facts.iter().find(|fact| fact.state == worst);
    let summary = match (worst, first) {
        (FactState::Ok, _) | (_, None) => format!("{}: all is well", worst.word()),
        (_, Some(fact)) => format!("{}: {}: {}", worst.word(), fact.about, fact.says),
    };
    print(summary)?;
    facts.iter().try_for_each(|fact| {
        let mark = match fact.state {
            FactState::Ok => String::new(),
            state => format!("{}: ", state.word()),
        };
        print(format_args!("{:<11} {mark}{}", fact.about, fact.says))
    })
}

fn show_json(
    facts: &[StatusFact],
    worst: FactState,
    report: Option<&StatusReport>,
) -> Result<(), CommandError> {
    print_json(&json!({"state": worst, "facts": facts, "server": report}))
}

/// A file's name, for messages.
fn called(path: &Path) -> String {
    path.display().to_string()
}
