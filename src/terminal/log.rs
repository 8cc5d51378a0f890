//! A server's log: lines on standard error, as much as `CLOISON_LOG` asks for.
//!
//! `CLOISON_LOG` applies to our own lines only. At `trace` the library of the HTTP client prints what
//! goes over the wire, pseudonyms included; so only warnings and errors of libraries are printed,
//! whatever `CLOISON_LOG` asks for.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins to log. Called once, by a process that serves.
pub fn start() {
    let wanted = EnvFilter::builder()
        .with_env_var("CLOISON_LOG")
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(wanted.and(filter_fn(may_be_logged)));
    // It fails when a log was already begun, which then goes on.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Our own lines, and what libraries say that is a warning or worse.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    line.target().split("::").next() == Some("cloison") || *line.level() <= Level::WARN
}
