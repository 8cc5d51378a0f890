//! `cloison client`: a sector system's operations from a shell.

mod migration;
mod request;
mod suspend;

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use indicatif::{HumanCount, ProgressBar};

use crate::cli::client_file::ClientFile;
use crate::client::lines::{LineTokenizer, tokenize_path};
use crate::terminal::{
    CommandError, line_progress, line_summary, output_error, progress, say_wait,
};

/// Use the vault as a sector system does
#[derive(clap::Subcommand)]
pub enum ClientCommand {
    /// Turn a file of identifiers, one a line, into pseudonyms, one a line
    Tokenize(TokenizeArgs),
    /// Make a key and the block of the register to hand in, to become a client of the vault
    Request(request::ClientRequestArgs),
    /// Shut out an entry of the register at once
    Suspend(suspend::SuspendArgs),
    /// Make the key to which pairs of a migration are sealed
    Keygen(migration::MigrationKeygenArgs),
    /// Fetch the pairs (old pseudonym, new one) of a migration
    #[command(subcommand)]
    Migration(migration::MigrationCommand),
    /// Destroy the mappings of a closed epoch that the sector no longer needs
    RetireEpoch(migration::RetireEpochArgs),
}

/// Turn a file of identifiers, one a line, into pseudonyms, one a line
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison client tokenize --client clients/cnss-health.toml --sector health --scheme cnie \\\n    \
    --purpose billing < cards.txt > pseudonyms.txt\n  \
    cut -d';' -f1 people.csv | cloison client tokenize --sector health --scheme cnie \\\n    \
    | paste -d';' - rest.csv\n\n\
    The order is kept: line n out answers line n in. A line that is not an identifier of the scheme becomes `!` and a code; \
    the others are answered all the same. A file may have any size; it is sent in batches, each of which is stored when it is answered, and \
    sending the same line again gives the same answer.\n\n\
    Exit codes: 0 every line has a pseudonym; 3 some lines were rejected; 1 stopped early (the hint says where to go on).")]
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
        ClientCommand::Keygen(args) => migration::keygen(&args),
        ClientCommand::Migration(command) => migration::run(&command),
        ClientCommand::RetireEpoch(args) => migration::retire_epoch(&args),
    }
}

fn tokenize(args: &TokenizeArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    let bar = progress_beside_answers(input_length());
    let path = tokenize_path(
        &args.sector,
        &args.scheme,
        args.purpose.as_deref(),
        args.previous,
    );
    let on_wait = say_wait(&bar);
    let lines = LineTokenizer {
        client: &client,
        path,
        batch: args.batch as usize,
        on_wait: &on_wait,
    };
    let mut output = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let outcome = lines.run(io::stdin(), &mut output, line_progress(&bar));
    // Answers that came are kept, also when a later batch failed.
    let flushed = output.flush().map_err(|error| output_error(&error));
    bar.finish_and_clear();
    let totals = outcome?;
    flushed?;
    if bar.is_hidden() {
        // Without a terminal the bar is hidden; one line of summary replaces it.
        eprintln!("{}", line_summary(&totals));
    }
    match totals.rejected {
        0 => Ok(()),
        rejected => Err(CommandError::rejected(
            format_args!(
                "{} of {} lines were rejected",
                HumanCount(rejected),
                HumanCount(totals.items)
            ),
            "they are the lines that start with '!'; the code after it says why",
        )),
    }
}

/// A bar while answers go to standard output: hidden when that is a terminal, where it would stand
/// between the answers.
fn progress_beside_answers(length: Option<u64>) -> ProgressBar {
    if io::stdout().is_terminal() {
        ProgressBar::hidden()
    } else {
        progress(length)
    }
}

/// How many bytes standard input has, if it is a file.
fn input_length() -> Option<u64> {
    let input = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    input
        .metadata()
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
}
