//! The log: lines on standard error, as much as `-v`, `--quiet` or `CLOISON_LOG` ask for. Servers
//! log always, other commands with `-v`. Times are in UTC.
//!
//! All of these apply to our own lines only. At `trace` the library of the HTTP client prints what
//! goes over the wire, pseudonyms included; so only warnings and errors of libraries are printed,
//! whatever is asked for.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Voice, voice};

/// Begins to log. Called by a process that serves, and by any other with `-v`.
pub fn start() {
    let by_option = match voice() {
        Voice { verbose: 2.., .. } => Some(LevelFilter::TRACE),
        Voice { verbose: 1, .. } => Some(LevelFilter::DEBUG),
        Voice { quiet: true, .. } => Some(LevelFilter::WARN),
        _ => None,
    };
    let filter = EnvFilter::builder()
        .with_env_var("CLOISON_LOG")
        .with_default_directive(by_option.unwrap_or(LevelFilter::INFO).into());
    // The command line is nearer than the environment.
    let wanted = match by_option {
        Some(_) => filter.parse_lossy(""),
        None => filter.from_env_lossy(),
    };
    // https://no-color.org: present and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color);
    let lines = if voice().json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    let lines = lines.with_filter(wanted.and(filter_fn(may_be_logged)));
    // It fails when a log was already begun, which then goes on.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Our own lines, and what libraries say that is a warning or worse.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    line.target().split("::").next() == Some("cloison") || *line.level() <= Level::WARN
}
