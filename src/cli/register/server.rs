//! `cloison register reload`, `history` and `show --at`: the register at a running vault or node.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cli::client_file::{ClientFile, at_each, usual_client};
use crate::cli::waiting::waiting_for_places;
use crate::reload::{PastRegister, PastRegisterFiles, RegisterReloaded};
use crate::terminal::{CommandError, open_client, print, print_json};

/// The arguments of `reload`.
#[derive(clap::Args)]
pub struct RegisterReloadArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The client file of an operator, or of an officer or custodian; several for several servers
    #[arg(
        long = "client",
        value_name = "FILE",
        env = "CLOISON_CLIENT",
        required = true
    )]
    clients: Vec<PathBuf>,
}

/// The arguments of `history`.
#[derive(clap::Args)]
pub struct RegisterHistoryArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Has the other side read its register again.
pub(super) fn reload(args: &RegisterReloadArgs) -> Result<(), CommandError> {
    at_each(&args.clients, |client| {
        let reloaded = client.reload_register()?;
        if args.json {
            return print_json(&reloaded);
        }
        let url = &client.config().url;
        print(format_args!("{url}: {}", words(&reloaded)))
    })
}

fn words(reloaded: &RegisterReloaded) -> String {
    let version = reloaded.register.version;
    let Some(before) = &reloaded.before else {
        return format!("version {version} is in force already: nothing to do");
    };
    let opened = match reloaded.opened.as_slice() {
        [] => String::new(),
        epochs => format!("\nopened: {}", epochs.join(", ")),
    };
    format!(
        "version {version} is in force, in place of version {}{opened}\nsha256 {}",
        before.version, reloaded.register.sha256
    )
}

/// Lists the registers that were in force.
pub(super) fn history(args: &RegisterHistoryArgs) -> Result<(), CommandError> {
    let history = args.client.open()?.register_history()?;
    if args.json {
        return print_json(&history);
    }
    let mut table = format!("{:<8} {:<21} SHA-256", "VERSION", "IN FORCE SINCE (UTC)");
    for PastRegister {
        version,
        sha256,
        since,
    } in &history.registers
    {
        table += &format!("\n{version:<8} {since:<21} {sha256}");
    }
    print(table + &waiting_for_places(&history.waiting))
}

/// Fetches the register that was in force at the end of a day.
pub(super) fn at(day: Date, client: Option<PathBuf>) -> Result<PastRegisterFiles, CommandError> {
    let client = client.or_else(usual_client).ok_or_else(|| {
        CommandError::usage(
            "--at asks a server which register was in force",
            "name an operator's or auditor's client file: --client FILE",
        )
    })?;
    let client = open_client(&client)?;
    let until = day
        .tomorrow()
        .and_then(|next| next.to_zoned(TimeZone::UTC))
        .map_err(|error| CommandError::usage(error, "a day, as in 2026-11-28"))?
        .timestamp();
    let history = client.register_history()?;
    let was = history.registers.iter().rev().find(|register| {
        let since = register.since.parse::<Timestamp>();
        since.is_ok_and(|since| since < until)
    });
    let was = was.ok_or_else(|| {
        CommandError::new(
            format_args!("no register that was in force on {day} was kept there"),
            "`cloison register history` lists those that were",
        )
    })?;
    Ok(client.past_register(was.version)?)
}
