//! `cloison ready`: whether servers take requests; waits until they do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;

use super::status::Server;
use crate::terminal::{CommandError, print_either};

/// How often a server is asked while it is waited for.
const AGAIN: Duration = Duration::from_millis(200);

/// Say whether servers are ready, or wait until they are
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison ready --wait 30s --config pilot/vault.toml --config pilot/node.toml\n  \
    cloison ready --client pilot/clients/cnss-health.toml\n\n\
    With --config the command asks the process that runs on it, over its health listener; with --client the server that \
    the client file leads to. Exit codes: 0 all are ready; 1 one is not, and why.")]
pub struct ReadyArgs {
    /// The configuration of a vault, node or witness that runs here (repeatable)
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A client file (repeatable) [default: the one in CLOISON_CLIENT, if no --config is named]
    #[arg(long, value_name = "FILE")]
    client: Vec<PathBuf>,
    /// How long to wait until all are ready, such as 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = wait)]
    wait: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads a time such as `30s`.
fn wait(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok();
    time.and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "a time is a number and its unit: 30s, 2m".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When a server is not ready, or a file cannot be read.
pub fn run(args: &ReadyArgs) -> Result<(), CommandError> {
    let servers = Server::all(&args.config, &args.client)?;
    let end = Instant::now() + args.wait;
    for server in &servers {
        loop {
            match server.why_not_ready() {
                Ok(()) => break,
                Err(why) if Instant::now() >= end => {
                    return Err(CommandError::new(
                        format_args!("{}: {why}", server.called()),
                        "see its log; `cloison status` says more",
                    ));
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }
    print_either("ready", || json!({"ready": true}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(wait("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(wait("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "30", "soon", "-1s"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }
}
