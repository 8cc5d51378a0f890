//! `cloison client`: a sector system's operations from a shell.

mod explain;
mod migration;
mod prompt;
mod request;
mod suspend;

use std::io::{self, IsTerminal as _};

use super::transfer::{self, SchemeWants, TransferArgs, TransferCall, wants};
use crate::cli::client_file::ClientFile;
use crate::client::{Client, ClientError};
use crate::code::Code;
use crate::identifier::Scheme;
use crate::status::{SectorStatus, StatusReport};
use crate::terminal::CommandError;
use crate::transfer::resume::TransferJob;
use crate::transfer::tokenize::{TokenizeQuery, Tokenizer};

/// Use the vault as a sector system does
#[derive(clap::Subcommand)]
pub enum ClientCommand {
    /// Turn a file of identifiers into pseudonyms: one a line, or a column of a table
    Tokenize(TokenizeArgs),
    /// Make a key and the block of the register to hand in, to become a client of the vault
    Request(request::ClientRequestArgs),
    /// Shut out an entry of the register at once
    Suspend(suspend::SuspendArgs),
    /// Say why identifiers are rejected
    Explain(explain::ExplainArgs),
    /// Make the key to which pairs of a migration are sealed
    Keygen(migration::MigrationKeygenArgs),
    /// Fetch the pairs (old pseudonym, new one) of a migration
    #[command(subcommand)]
    Migration(migration::MigrationCommand),
    /// Destroy the mappings of a closed epoch that the sector no longer needs
    RetireEpoch(migration::RetireEpochArgs),
}

/// Turn a file of identifiers into pseudonyms: one a line, or a column of a table
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison client tokenize --client clients/cnss-health.toml --sector health --scheme cnie \\\n    \
    --purpose billing --in cards.txt --out pseudonyms.txt\n  \
    cloison client tokenize --sector health --scheme cnie --purpose billing --in people.csv \\\n    \
    --csv --column CIN --as pseudonym --out health.csv --resume\n  \
    cut -d';' -f1 people.csv | cloison client tokenize --sector health --scheme cnie \\\n    \
    | paste -d';' - rest.csv\n\n\
    The order is kept: line n out answers line n in. A line that is not an identifier of the scheme becomes `!` and a code; \
    the others are answered all the same. A file may have any size; it is sent in batches, each of which is stored when it is answered, and \
    sending the same line again gives the same answer. The command keeps the pace of your quota.\n\n\
    With --out the answers grow in FILE.partial, and FILE.progress says how far they are; both become FILE when all is \
    there. After an interruption of any kind the same command with --resume goes on. With --csv one column is replaced and every other byte of the \
    file stays: quotes, line ends, encodings. At a terminal, without --in, it asks line by line.\n\n\
    Exit codes: 0 every line has a pseudonym; 3 some lines were rejected; 1 stopped early (the hint says how to go on).")]
pub struct TokenizeArgs {
    /// The sector whose pseudonyms are wanted
    #[arg(long)]
    sector: String,
    /// The scheme of the identifiers: cnie, idcs, passport, …
    #[arg(long)]
    scheme: String,
    /// The declared purpose, where the sector needs one
    #[arg(long)]
    purpose: Option<String>,
    /// Identifiers in one request
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Add the previous epoch's pseudonym after a tab, while the sector moves its tables
    #[arg(long)]
    previous: bool,
    /// Print the closing summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: TransferArgs,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// As the command's help says.
pub fn run(command: ClientCommand) -> Result<(), CommandError> {
    match command {
        ClientCommand::Tokenize(args) => tokenize(&args),
        ClientCommand::Request(args) => request::run(&args),
        ClientCommand::Suspend(args) => suspend::run(&args),
        ClientCommand::Explain(args) => explain::run(&args),
        ClientCommand::Keygen(args) => migration::keygen(&args),
        ClientCommand::Migration(command) => migration::run(&command),
        ClientCommand::RetireEpoch(args) => migration::retire_epoch(&args),
    }
}

fn tokenize(args: &TokenizeArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    let mut query = TokenizeQuery {
        sector: args.sector.clone(),
        scheme: args.scheme.clone(),
        purpose: args.purpose.clone(),
        previous: args.previous,
        ..TokenizeQuery::default()
    };
    let status = ask_status(&client)?;
    refuse_while_restored(status.as_ref(), &args.sector)?;
    let scheme = status
        .as_ref()
        .and_then(|status| scheme_of(status, &args.scheme));
    if args.files.is_plain() && io::stdin().is_terminal() {
        return prompt::run(&client, &query, scheme.as_ref());
    }
    let sector = status
        .as_ref()
        .and_then(|status| sector_of(status, &args.sector));
    if let (Some(sector), Some(_)) = (sector, args.files.out()) {
        // A file has one domain from its first line to its last, whatever advances meanwhile.
        (query.epoch, query.period) = (sector.epoch, sector.period.clone());
    }
    let call = TransferCall {
        args: &args.files,
        given: None,
        batch: batch_within_quota(args.batch, &client),
        job: job(&client, &query, status.as_ref(), sector),
        wants: scheme.as_ref().map(|scheme| wants(scheme.rules())),
    };
    transfer::run(call, &mut Tokenizer::new(&client, &query))
}

/// Asks the vault who we are there and what is left of the quota. A vault of an earlier version
/// does not know; what else it refuses, it refuses to the request itself, too.
fn ask_status(client: &Client) -> Result<Option<StatusReport>, CommandError> {
    match client.status() {
        Ok(status) => Ok(Some(status)),
        Err(ClientError::Problem(_) | ClientError::Answer { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says what a restore without places has closed, before a batch is refused for it.
fn refuse_while_restored(status: Option<&StatusReport>, sector: &str) -> Result<(), CommandError> {
    let Some(restore) = status.and_then(|status| status.restored.as_ref()) else {
        return Ok(());
    };
    let code = if restore.closed.iter().any(|closed| closed == sector) {
        Code::EpochUnconfirmed
    } else if restore.quotas_until.is_some() {
        Code::QuotaExceeded
    } else {
        return Ok(());
    };
    let said = format!("nothing was sent: the vault was restored {restore}");
    let hint = "wait for that; those who run the vault can say when its sectors are confirmed";
    Err(CommandError::refused(code.as_str(), &said).instead(&said, hint))
}

fn sector_of<'s>(status: &'s StatusReport, name: &str) -> Option<&'s SectorStatus> {
    status.sectors.iter().find(|sector| sector.sector == name)
}

/// A scheme as the vault's register has it.
fn scheme_of(status: &StatusReport, id: &str) -> Option<Scheme> {
    let known = status.schemes.iter().find(|scheme| scheme.scheme == id)?;
    Scheme::new(known.rules()?).ok()
}

/// A batch that the quota lets pass without a debt.
fn batch_within_quota(wanted: u32, client: &Client) -> usize {
    let most = client.quota().map_or(u64::MAX, |told| told.left.capacity());
    u64::from(wanted).min(most).max(1) as usize
}

/// What shapes the answers: a run goes on with another's output only if all of it is the same.
fn job(
    client: &Client,
    query: &TokenizeQuery,
    status: Option<&StatusReport>,
    sector: Option<&SectorStatus>,
) -> TransferJob {
    let mut job = TransferJob::default()
        .with("the command", "tokenize")
        .with("the server", client.base())
        .with("--sector", &query.sector)
        .with("--scheme", &query.scheme)
        .with("--previous", query.previous);
    if let Some(purpose) = &query.purpose {
        job = job.with("--purpose", purpose);
    }
    if let Some(status) = status {
        let organisation = status.caller.organisation.clone().unwrap_or_default();
        job = job
            .with("the deployment", &status.server.deployment)
            .with("the organisation", organisation);
    }
    let Some(sector) = sector else { return job };
    if let Some(uuid) = &sector.uuid {
        job = job.with("the sector's uuid", uuid);
    }
    if let Some(epoch) = query.epoch {
        job = job.with("the sector's epoch", epoch);
    }
    match &query.period {
        Some(period) => job.with("the period", period),
        None => job,
    }
}
