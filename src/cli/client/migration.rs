//! `cloison client keygen`, `migration` and `retire-epoch`: a sector system moves to the next
//! epoch.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use indicatif::HumanCount;
use serde::Serialize;

use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::ClientFile;
use crate::cli::inputs::not_written;
use crate::cli::statement;
use crate::cli::transfer;
use crate::client;
use crate::client::Client;
use crate::epoch::retire::{RetireEpochRequest, RetiredEpoch};
use crate::keys::Key;
use crate::keys::file::{SecretKind, read_secret, write_secret};
use crate::migrate::pairs::{
    PairsAcknowledgement, PairsRemoved, SealedPages, WaitingMigration, WaitingMigrations,
};
use crate::seal::pairs::MigrationKey;
use crate::terminal::{CommandError, output_error, print, print_json};

/// Make the key to which pairs of a migration are sealed
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison client keygen secrets/health.migration\n\n\
    The file stays with the sector. The printed line goes into the register: `migration-key` of the sector's client, which also \
    needs the operation `migrate`."
)]
pub struct MigrationKeygenArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where to write the private key (mode 0600); an existing file is never overwritten
    #[arg(value_name = "FILE")]
    out: PathBuf,
}

/// Fetch the pairs of a migration
#[derive(clap::Subcommand)]
pub enum MigrationCommand {
    /// List the migrations whose pairs are waiting
    #[command(after_long_help = "Example:\n  \
        cloison client migration list --sector health --client clients/cnss-health.toml")]
    List(MigrationListArgs),
    /// Fetch pairs and open them: a line `old,new` each, as CSV
    #[command(after_long_help = "Example:\n  \
    cloison client migration fetch --sector health --key secrets/health.migration --out pairs.csv \\\n    \
    --client clients/cnss-health.toml\n\n\
        Each page is on disk before the vault removes it. If the command was stopped, run it again with another file: pages that \
        were not removed come again, and lines that come twice are the same.")]
    Fetch(MigrationFetchArgs),
}

/// The arguments of `client migration list`.
#[derive(clap::Args)]
pub struct MigrationListArgs {
    /// The sector
    #[arg(long)]
    sector: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// The arguments of `client migration fetch`.
#[derive(clap::Args)]
pub struct MigrationFetchArgs {
    /// The sector
    #[arg(long)]
    sector: String,
    /// The private key, as `cloison client keygen` made it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Only this order's pairs [default: all that are waiting]
    #[arg(long, value_name = "UUID")]
    order: Option<String>,
    /// Where the pairs go (mode 0600); an existing file is never overwritten [default: standard
    /// output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave the pairs at the vault, to be fetched again
    #[arg(long)]
    keep: bool,
    /// Print what was fetched as JSON; needs --out
    #[arg(long, requires = "out")]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Destroy the mappings of a closed epoch that the sector no longer needs
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison client retire-epoch --sector health --epoch 1 --dry-run --client clients/cnss-health.toml\n  \
    cloison client retire-epoch --sector health --epoch 1 --statement statement.jws \\\n    \
    --client clients/cnss-health.toml\n\n\
    An operator signs the statement: `cloison statement new --retire-epoch health:1`. This cannot be undone: no pseudonym of the \
    epoch can be re-identified or migrated afterwards. Fetch the pairs of every migration first and check that your tables \
    have them. The vault refuses when mappings were never migrated, unless you give them up with --unmigrated.")]
pub struct RetireEpochArgs {
    /// The sector
    #[arg(long)]
    sector: String,
    /// The epoch: a closed one
    #[arg(long)]
    epoch: u32,
    /// Only say how many mappings would go
    #[arg(long)]
    dry_run: bool,
    /// Give up the mappings that were never migrated
    #[arg(long)]
    unmigrated: bool,
    /// The statement that an operator signed
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs `client keygen`.
///
/// # Errors
/// When the file cannot be written.
pub fn keygen(args: &MigrationKeygenArgs) -> Result<(), CommandError> {
    let secret = Key::random();
    write_secret(&args.out, SecretKind::Migration, &secret).map_err(not_written)?;
    let public = HEXLOWER.encode(MigrationKey::derive(&secret).public());
    if args.json {
        print_json(&serde_json::json!({"file": args.out, "migration-key": public}))
    } else {
        print(format_args!(
            "migration-key = \"{public}\"\nPrivate key in {}; the line above is for the register.",
            args.out.display()
        ))
    }
}

/// Runs `client migration`.
///
/// # Errors
/// When the vault refuses, or pairs do not open.
pub fn run(command: &MigrationCommand) -> Result<(), CommandError> {
    match command {
        MigrationCommand::List(args) => {
            let listed = list(&args.client.open()?, &args.sector)?;
            if args.json {
                print_json(&listed)
            } else {
                print(table(&listed))
            }
        }
        MigrationCommand::Fetch(args) => fetch(args),
    }
}

fn list(client: &Client, sector: &str) -> Result<WaitingMigrations, CommandError> {
    client
        .get_json(&client::path(&["v1", "sectors", sector, "migrations"]))
        .map_err(CommandError::from)
}

fn table(listed: &WaitingMigrations) -> String {
    if listed.migrations.is_empty() {
        return format!("No pairs are waiting in sector {}.", listed.sector);
    }
    let mut table = format!(
        "{:<36} {:<12} {:>6} {:>12}",
        "ORDER", "EPOCHS", "PAGES", "PAIRS"
    );
    for one in &listed.migrations {
        let epochs = format!("{} to {}", one.from, one.to);
        table += &format!(
            "\n{:<36} {epochs:<12} {:>6} {:>12}",
            one.order,
            one.pages,
            HumanCount(one.pairs).to_string()
        );
    }
    table
}

/// What was fetched.
#[derive(Default, Serialize)]
struct FetchedPairs {
    orders: Vec<String>,
    pages: u64,
    pairs: u64,
}

fn fetch(args: &MigrationFetchArgs) -> Result<(), CommandError> {
    let key = read_secret(&args.key, SecretKind::Migration).map_err(|error| {
        CommandError::new(
            error,
            "name the key that `cloison client keygen` made, to open pairs with",
        )
    })?;
    let key = MigrationKey::derive(&key);
    let client = args.client.open()?;
    let waiting = list(&client, &args.sector)?;
    let wanted =
        |one: &&WaitingMigration| args.order.as_deref().is_none_or(|order| order == one.order);
    let orders: Vec<&WaitingMigration> = waiting.migrations.iter().filter(wanted).collect();
    if orders.is_empty() {
        return Err(CommandError::new(
            "no such pairs are waiting",
            "`cloison client migration list` shows those that do",
        ));
    }
    let total = orders.iter().map(|one| one.pairs).sum();
    let mut output = PairsOutput::open(args.out.as_deref())?;
    let bar = match args.out {
        Some(_) => crate::terminal::progress(Some(total)),
        None => transfer::progress_beside_answers(Some(total), false),
    };
    let mut fetched = FetchedPairs::default();
    for order in orders {
        fetch_order(&client, args, &key, order, &mut output, &mut fetched, &bar)?;
        fetched.orders.push(order.order.clone());
    }
    bar.finish_and_clear();
    match &args.out {
        None => Ok(()),
        Some(_) if args.json => print_json(&fetched),
        Some(out) => print(format_args!(
            "{} pairs in {}",
            HumanCount(fetched.pairs),
            out.display()
        )),
    }
}

/// Fetches the pages of one order, each kept before it is acknowledged.
fn fetch_order(
    client: &Client,
    args: &MigrationFetchArgs,
    key: &MigrationKey,
    waiting: &WaitingMigration,
    output: &mut PairsOutput,
    fetched: &mut FetchedPairs,
    bar: &indicatif::ProgressBar,
) -> Result<(), CommandError> {
    let WaitingMigration {
        authority, order, ..
    } = waiting;
    let path = client::path(&["v1", "sectors", &args.sector, "migrations", order]);
    let mut last = 0;
    loop {
        let got: SealedPages =
            client.get_json(&format!("{path}?authority={authority}&after={last}"))?;
        for page in &got.pages {
            let sealed = BASE64URL_NOPAD
                .decode(page.sealed.as_bytes())
                .unwrap_or_default();
            let opened = key.open(&sealed).ok();
            let is_it = |(head, lines): &(crate::seal::pairs::PairsHead, String)| {
                head.order.to_string() == *order
                    && head.page == page.page
                    && lines.lines().count() as u32 == head.pairs
            };
            let (head, lines) = opened.filter(is_it).ok_or_else(|| {
                let what = format!("page {} of order {order} does not open", page.page);
                CommandError::new(
                    what,
                    "check that --key is the key whose public half the register has; the page stays at the vault",
                )
            })?;
            output.write(&lines)?;
            fetched.pages += 1;
            fetched.pairs += u64::from(head.pairs);
            bar.inc(u64::from(head.pairs));
            last = page.page;
        }
        output.keep()?;
        if !args.keep && !got.pages.is_empty() {
            let has = PairsAcknowledgement { page: last };
            let path = format!("{path}?authority={authority}");
            let _: PairsRemoved = client.post_json(&path, &has)?;
        }
        if !got.more {
            return Ok(());
        }
    }
}

/// Where pairs go.
enum PairsOutput {
    Standard,
    File(File, PathBuf),
}

impl PairsOutput {
    fn open(path: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = path else {
            return Ok(Self::Standard);
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        file.map(|file| Self::File(file, path.to_owned()))
            .map_err(|error| CommandError::file(path, &error))
    }

    fn write(&mut self, lines: &str) -> Result<(), CommandError> {
        match self {
            Self::Standard => io::stdout()
                .write_all(lines.as_bytes())
                .map_err(|error| output_error(&error)),
            Self::File(file, path) => file
                .write_all(lines.as_bytes())
                .map_err(|error| CommandError::file(path, &error)),
        }
    }

    /// Makes what was written durable; standard output is only flushed.
    fn keep(&mut self) -> Result<(), CommandError> {
        match self {
            Self::Standard => io::stdout().flush().map_err(|error| output_error(&error)),
            Self::File(file, path) => file
                .sync_all()
                .map_err(|error| CommandError::file(path, &error)),
        }
    }
}

/// Runs `client retire-epoch`.
///
/// # Errors
/// When the vault refuses.
pub fn retire_epoch(args: &RetireEpochArgs) -> Result<(), CommandError> {
    let statement = statement::bring(args.statement.as_deref())?;
    if !args.dry_run {
        let unmigrated = if args.unmigrated {
            ", also those that were never migrated"
        } else {
            ""
        };
        let changes = format!(
            "The mappings of epoch {} of sector {} go{unmigrated}.",
            args.epoch, args.sector
        );
        let lost = "No pseudonym of the epoch can be re-identified or migrated afterwards.";
        args.assent.obtain(&Irreversible { changes, lost })?;
    }
    let client = args.client.open()?;
    let path = client::path(&[
        "v1",
        "sectors",
        &args.sector,
        "epochs",
        &args.epoch.to_string(),
        "retire",
    ]);
    let how = RetireEpochRequest {
        dry_run: args.dry_run,
        unmigrated: args.unmigrated,
        statement,
    };
    let retired: RetiredEpoch = client.post_json(&path, &how)?;
    if args.json {
        return print_json(&retired);
    }
    let RetiredEpoch { epoch, sector, .. } = &retired;
    let (mappings, unmigrated) = (HumanCount(retired.mappings), HumanCount(retired.unmigrated));
    match (retired.retired, retired.mappings) {
        (true, 0) => print(format_args!(
            "Epoch {epoch} of {sector} is retired: it has no mappings any more."
        )),
        (true, _) => print(format_args!(
            "Epoch {epoch} of {sector} is retired: {mappings} mappings are gone."
        )),
        (false, _) => print(format_args!(
            "Epoch {epoch} of {sector}: {mappings} mappings would go, for good; {unmigrated} of them were never migrated. \
             Nothing was done."
        )),
    }
}
