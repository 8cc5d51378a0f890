//! `cloison migrate`: an officer executes an order for continuity.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::reidentify::{Asking, only, payload, signed_request};
use super::remote::{self, ClientFile};
use super::{Error, print, print_json};
use crate::client::{Client, ClientError};
use crate::keys::file::read_signing_key;
use crate::migrate::Migrated;
use crate::order::LegalBasis;
use crate::register::Id;

/// How long the command waits for a side that does not answer before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Migrate, as an officer, a sector's pseudonyms from one epoch to the next, under a signed order
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison migrate --order orders/migration.jws --key secrets/people/officer.pem --client clients/officer.toml\n\n\
    For a sector that keeps only pseudonyms and must follow an epoch. The node opens the epoch's mappings and hands them \
    back to the vault, which makes pairs (old pseudonym, new one) and seals them to the sector: it fetches them with \
    `cloison client migration fetch`. Nobody is shown an identifier; this command prints counts.\n\n\
    Stopped, or killed, it goes on where it was when it is run again. The officer's key signs each page of 10 000.\n\n\
    Exit codes: 0 all migrated; 3 some mappings did not open; 1 stopped early or refused.")]
pub struct Args {
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

/// What came of a run.
#[derive(Debug, Default, Serialize)]
struct Summary {
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
    /// Mappings gone through under the order, this run and earlier ones.
    seen: u64,
}

/// Runs the command.
///
/// # Errors
/// When the order cannot be used or a side refuses; with exit code 3 when some mappings did not open.
pub fn run(args: Args) -> Result<(), Error> {
    let order = super::read_text(&args.order)?;
    let payload = payload(&order)?;
    if !matches!(payload.basis, LegalBasis::Continuity(_)) {
        return Err(Error::usage(
            "this is no order for continuity",
            "`cloison order new --continuity FROM:TO` makes one",
        ));
    }
    let officer = match args.officer {
        Some(officer) => {
            Id::parse(&officer).ok_or_else(|| Error::usage("--officer is no id", "as the order spells it"))?
        }
        None => only(&payload.officers, "officers", "--officer")?.clone(),
    };
    let sector = only(&payload.sectors, "sectors", "an order for one")?;
    let key = read_signing_key(&args.key)
        .map_err(|error| Error::new(error, "the officer's own key is needed to sign the requests"))?;
    let client = args.client.open()?;
    let asking = Asking { order: &order, officer: &officer, key: &key, sector, pseudonyms: &[] };
    let bar = bar();
    let outcome = all(&client, &asking, &bar);
    bar.finish_and_clear();
    let summary = outcome?;
    match args.json {
        true => print_json(&summary)?,
        false => print(summary.text())?,
    }
    match summary.skipped {
        0 => Ok(()),
        skipped => Err(Error::rejected(
            format_args!("{} mappings did not open, and have no pair", HumanCount(skipped)),
            "the node's log says more: does it hold every key of the authority? A new order goes through all again",
        )),
    }
}

/// Asks for page after page until there is none left.
fn all(client: &Client, asking: &Asking<'_>, bar: &ProgressBar) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        // Each page has a request of its own: an officer wants it now.
        let request = signed_request(asking)?;
        let body = serde_json::json!({ "order": asking.order, "request": request, "sector": asking.sector });
        let page: Migrated = match client.post_json("/v1/migrations", &body) {
            Ok(page) => page,
            Err(error) => match error.retry_after() {
                // Asking again is harmless. A node that was never reached is more likely a wrong address than a passing fault.
                Some(pause) if !hopeless(&summary, &error) && Instant::now() + pause < deadline => {
                    std::thread::sleep(pause);
                    continue;
                }
                _ => return Err(stopped(&summary, remote::failed(&error))),
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

fn hopeless(summary: &Summary, error: &ClientError) -> bool {
    summary.pages == 0 && matches!(error, ClientError::Connection { .. })
}

fn stopped(summary: &Summary, error: Error) -> Error {
    match summary.pages {
        0 => error,
        _ => Error::new(
            format_args!("{}; stopped after {} mappings", error.message(), HumanCount(summary.seen)),
            "run the same command again: it goes on where it was",
        ),
    }
}

impl Summary {
    fn take(&mut self, page: Migrated, bar: &ProgressBar) {
        let progress = page.progress;
        self.pages += u64::from(progress.migrated + progress.skipped > 0);
        self.migrated += progress.migrated;
        self.skipped += progress.skipped;
        self.seen = progress.seen;
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
        (self.order, self.sector, self.from, self.to) = (page.order, page.sector, page.from, page.to);
    }

    fn text(&self) -> String {
        let Self { sector, from, to, .. } = self;
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {} did not open", HumanCount(skipped)),
        };
        format!(
            "{sector}, epoch {from} to {to}: {} pairs made{skipped}; {} mappings gone through under this order.\n\
             The sector fetches them: cloison client migration fetch --sector {sector}",
            HumanCount(self.migrated),
            HumanCount(self.seen)
        )
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style =
        ProgressStyle::with_template("{bar:24} {percent:>3} %  {human_pos} of {human_len} mappings, {eta} left");
    bar.set_style(style.expect("the template is a constant"));
    bar
}
