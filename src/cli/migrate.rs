//! `cloison migrate`: an officer executes an order for continuity.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::client_file::ClientFile;
use super::inputs::{officer_of, only, read_order_file, read_person_key};
use crate::client::officer::{OfficerCall, OfficerCallError};
use crate::client::{Client, ClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::migrate::MigrateResponse;
use crate::order::LegalBasis;
use crate::terminal::{CommandError, print, print_json};

/// How long the command waits for a side that does not answer before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bring a sector's pseudonyms from one epoch to the next, under a signed order
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison migrate --order orders/migration.jws --key secrets/people/officer.pem \\\n    \
    --client clients/officer.toml\n\n\
    For a sector that keeps only pseudonyms and must follow an epoch. The node opens the epoch's mappings and hands them \
    back to the vault, which makes pairs (old pseudonym, new one) and seals them to the sector: it fetches them with \
    `cloison client migration fetch`. No identifier is shown: this command prints counts.\n\n\
    When it was stopped or killed, run it again: it goes on where it was. The officer's key signs each page of 10 000.\n\n\
    Exit codes: 0 all migrated; 3 some mappings did not open; 1 stopped early or refused.")]
pub struct MigrateArgs {
    /// The order, signed
    #[arg(long, value_name = "FILE")]
    order: PathBuf,
    /// The officer's own private key (PKCS#8 PEM, mode 0600), to sign the requests
    #[arg(long, value_name = "FILE", env = "CLOISON_OFFICER_KEY")]
    key: PathBuf,
    /// The officer's id, where the order names several
    #[arg(long, value_name = "ID")]
    officer: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// The counts of a run.
#[derive(Debug, Default, Serialize)]
struct MigrationSummary {
    order: String,
    sector: String,
    from: u32,
    to: u32,
    /// Pages of this run.
    pages: u64,
    /// Pairs made in this run.
    migrated: u64,
    /// Mappings that did not open in this run.
    skipped: u64,
    /// Mappings examined under the order, in this run and earlier ones.
    seen: u64,
}

/// Runs the command.
///
/// # Errors
/// When the order cannot be used or a side refuses; with exit code 3 when some mappings did not
/// open.
pub fn run(args: MigrateArgs) -> Result<(), CommandError> {
    let (order, payload) = read_order_file(&args.order)?;
    if !matches!(payload.basis, LegalBasis::Continuity(_)) {
        return Err(CommandError::usage(
            "this is not an order for continuity",
            "`cloison order new --continuity FROM:TO` makes one",
        ));
    }
    let officer = officer_of(&payload, args.officer.as_deref())?;
    let sector = only(&payload.sectors, "sectors", "an order for one")?;
    let key = read_person_key(&args.key, "officer")?;
    let client = args.client.open()?;
    let call = OfficerCall {
        order: &order,
        officer: &officer,
        key: &key,
        sector,
        pseudonyms: &[],
    };
    let bar = bar();
    let outcome = all(&client, &call, &bar);
    bar.finish_and_clear();
    let summary = outcome?;
    if args.json {
        print_json(&summary)?;
    } else {
        print(summary.text())?;
    }
    match summary.skipped {
        0 => Ok(()),
        skipped => Err(CommandError::rejected(
            format_args!(
                "{} mappings did not open, and have no pair",
                HumanCount(skipped)
            ),
            "see the node's log and check that the node holds every key of the authority; a new order goes through all of them again",
        )),
    }
}

/// Asks for page after page until the last one.
fn all(
    client: &Client,
    call: &OfficerCall<'_>,
    bar: &ProgressBar,
) -> Result<MigrationSummary, CommandError> {
    let mut summary = MigrationSummary::default();
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        // Each page has a request of its own: the officer signs each one.
        let page = match call.migrate(client, SystemClock.now()) {
            Ok(page) => page,
            Err(error) => match pause(&summary, &error) {
                // Asking again is harmless.
                Some(pause) if Instant::now() + pause < deadline => {
                    std::thread::sleep(pause);
                    continue;
                }
                _ => return Err(stopped(&summary, error.into())),
            },
        };
        deadline = Instant::now() + PATIENCE;
        let done = page.progress.done;
        summary.take(page, bar);
        if done {
            return Ok(summary);
        }
    }
}

/// How long to wait before the same page is asked for again, if that may help.
fn pause(summary: &MigrationSummary, error: &OfficerCallError) -> Option<Duration> {
    match error {
        // A node that was never reached is more likely a wrong address than a passing fault.
        OfficerCallError::Node(ClientError::Connection { .. }) if summary.pages == 0 => None,
        OfficerCallError::Node(error) => error.retry_after(),
        OfficerCallError::Order(_) => None,
    }
}

fn stopped(summary: &MigrationSummary, error: CommandError) -> CommandError {
    match summary.pages {
        0 => error,
        _ => CommandError::new(
            format_args!(
                "{}; stopped after {} mappings",
                error.message(),
                HumanCount(summary.seen)
            ),
            "run the same command again: it goes on where it was",
        ),
    }
}

impl MigrationSummary {
    fn take(&mut self, page: MigrateResponse, bar: &ProgressBar) {
        let progress = page.progress;
        self.pages += u64::from(progress.migrated + progress.skipped > 0);
        self.migrated += progress.migrated;
        self.skipped += progress.skipped;
        self.seen = progress.seen;
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
        (self.order, self.sector, self.from, self.to) =
            (page.order, page.sector, page.from, page.to);
    }

    fn text(&self) -> String {
        let Self {
            sector, from, to, ..
        } = self;
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {} did not open", HumanCount(skipped)),
        };
        format!(
            "{sector}, epoch {from} to {to}: {} pairs made{skipped}; {} mappings examined under this order.\n\
             The sector fetches them: cloison client migration fetch --sector {sector}",
            HumanCount(self.migrated),
            HumanCount(self.seen)
        )
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(
        "{bar:24} {percent:>3} %  {human_pos} of {human_len} mappings, {eta} left",
    );
    bar.set_style(style.expect("the template is a constant"));
    bar
}
