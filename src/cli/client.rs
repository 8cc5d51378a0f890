//! `cloison client`: what a sector system does, from a shell.

mod batches;
mod migration;

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use self::batches::{Batch, Batches};
use super::remote::{self, ClientFile};
use super::{Error, output_error};
use crate::client::{self, Client, ClientError};

/// How long one batch may wait for a busy vault or a lost connection before the command gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Do what a sector system does
#[derive(clap::Subcommand)]
pub enum Command {
    /// Turn a file of identifiers, one a line, into pseudonyms, one a line
    Tokenize(Tokenize),
    /// Make the key to which pairs of a migration are sealed
    Keygen(migration::Keygen),
    /// Fetch the pairs (old pseudonym, new one) of a migration
    #[command(subcommand)]
    Migration(migration::Command),
    /// Say that the sector needs a closed epoch no more: its mappings go, for good
    RetireEpoch(migration::RetireEpoch),
}

/// Turn a file of identifiers, one a line, into pseudonyms, one a line
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison client tokenize --client clients/cnss-health.toml --sector health --scheme cnie --purpose billing \
    < cards.txt > pseudonyms.txt\n  \
    cut -d';' -f1 people.csv | cloison client tokenize --sector health --scheme cnie | paste -d';' - rest.csv\n\n\
    The order is kept: line n out answers line n in. A line that is no identifier of the scheme becomes `!` and a code, \
    and fails no other. A file may have any size; it is sent in batches, each of which is stored when it is answered, and \
    sending the same line again gives the same answer.\n\n\
    Exit codes: 0 every line has a pseudonym; 3 some lines were rejected; 1 stopped early (the hint says where to go on).")]
pub struct Tokenize {
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
    /// Answer also the previous epoch's pseudonym, after a tab, while the sector moves its tables
    #[arg(long)]
    previous: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// As the command's help says.
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Tokenize(args) => tokenize(&args),
        Command::Keygen(args) => migration::keygen(&args),
        Command::Migration(command) => migration::run(&command),
        Command::RetireEpoch(args) => migration::retire_epoch(&args),
    }
}

fn tokenize(args: &Tokenize) -> Result<(), Error> {
    let client = args.client.open()?;
    let bar = progress_beside_answers(input_length());
    let target = Target { client: &client, path: args.path() };
    let mut output = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let outcome = stream(&target, io::stdin(), &mut output, args.batch as usize, &bar);
    // Whatever was answered is kept, also when the next batch failed.
    let flushed = output.flush().map_err(|error| output_error(&error));
    bar.finish_and_clear();
    let totals = outcome?;
    flushed?;
    if bar.is_hidden() {
        // Not on a terminal, and so perhaps in a log: one line instead of a bar.
        eprintln!("{}", totals.summary());
    }
    match totals.rejected {
        0 => Ok(()),
        rejected => Err(Error::rejected(
            format_args!("{} of {} lines were rejected", HumanCount(rejected), HumanCount(totals.items)),
            "they are the lines that start with '!'; the code after it says why",
        )),
    }
}

impl Tokenize {
    fn path(&self) -> String {
        path(&self.sector, &self.scheme, self.purpose.as_deref(), self.previous)
    }
}

/// The request's path and query. Names that are none are left to the vault to refuse, but must not become other paths.
pub(super) fn path(sector: &str, scheme: &str, purpose: Option<&str>, previous: bool) -> String {
    // A part's encoding leaves no character that means something in a query, either.
    let value = |text: &str| client::path(&[text])[1..].to_owned();
    let mut path = client::path(&["v1", "sectors", sector, "pseudonyms"]);
    path += &format!("?scheme={}", value(scheme));
    if let Some(purpose) = purpose {
        path += &format!("&purpose={}", value(purpose));
    }
    if previous {
        path += "&previous=true";
    }
    path
}

/// Where batches go.
pub(super) struct Target<'a> {
    pub(super) client: &'a Client,
    pub(super) path: String,
}

/// What became of a stream.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) items: u64,
    pub(super) rejected: u64,
    /// From the first batch sent to the last answer.
    pub(super) elapsed: Duration,
}

impl Totals {
    pub(super) fn rate(&self) -> f64 {
        self.items as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn summary(&self) -> String {
        let rejected = match self.rejected {
            0 => String::new(),
            rejected => format!(", {} rejected", HumanCount(rejected)),
        };
        format!("{} identifiers{rejected}, {} a second", HumanCount(self.items), HumanCount(self.rate() as u64))
    }
}

/// Sends `input` in batches and writes the answers to `output`, in order.
pub(super) fn stream(
    target: &Target<'_>,
    input: impl io::Read + Send + 'static,
    output: &mut impl io::Write,
    batch: usize,
    bar: &ProgressBar,
) -> Result<Totals, Error> {
    let started = Instant::now();
    let (mut totals, mut answers) = (Totals::default(), Vec::new());
    for batch in Batches::read_ahead(input, batch) {
        let batch = batch.map_err(|error| Error::new(format_args!("standard input: {error}"), "check the input"))?;
        target.send(&batch, totals.items, &mut answers)?;
        let lines = answers.iter().filter(|byte| **byte == b'\n').count();
        if lines != batch.lines {
            return Err(stopped(totals.items, "the vault answered another number of lines than it was sent"));
        }
        output.write_all(&answers).map_err(|error| output_error(&error))?;
        totals.items += batch.lines as u64;
        totals.rejected += answers.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"!")).count() as u64;
        totals.elapsed = started.elapsed();
        bar.inc(batch.taken);
        bar.set_message(totals.summary());
    }
    Ok(totals)
}

impl Target<'_> {
    /// Sends one batch until it is answered. Sending it twice is harmless: the same line gives the same pseudonym.
    fn send(&self, batch: &Batch, done: u64, answers: &mut Vec<u8>) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self.client.post(&self.path, "text/plain", &batch.bytes, answers) else { return Ok(()) };
            // A vault that was never reached is more likely a wrong address than a passing fault.
            let hopeless = done == 0 && matches!(error, ClientError::Connection { .. });
            match error.retry_after() {
                Some(pause) if !hopeless && Instant::now() + pause < deadline => std::thread::sleep(pause),
                _ => return Err(after(done, remote::failed(&error))),
            }
        }
    }
}

/// The same error, with where to go on when some lines are already answered.
fn after(done: u64, error: Error) -> Error {
    match done {
        0 => error,
        done => stopped(done, error.message()),
    }
}

fn stopped(done: u64, why: &str) -> Error {
    Error::new(
        format_args!("{why}; stopped after {} answered lines", HumanCount(done)),
        format_args!("send the rest later and append: tail -n +{} input", done + 1),
    )
}

/// A bar on standard error over `length` bytes, or a counter where the length is not known; nothing unless it is a terminal.
pub(super) fn progress(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{prefix}{bar:24} {percent:>3} %  {wide_msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar
}

/// The same while answers go to standard output: none where that is a terminal, on which it would stand between them.
fn progress_beside_answers(length: Option<u64>) -> ProgressBar {
    if io::stdout().is_terminal() { ProgressBar::hidden() } else { progress(length) }
}

/// How many bytes standard input has, if it is a file.
fn input_length() -> Option<u64> {
    let input = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    input.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_other_paths_or_parameters() {
        assert_eq!(path("health", "cnie", None, false), "/v1/sectors/health/pseudonyms?scheme=cnie");
        assert_eq!(
            path("a/../b?x", "c&previous=true", Some("p q"), true),
            "/v1/sectors/a%2F..%2Fb%3Fx/pseudonyms?scheme=c%26previous%3Dtrue&purpose=p%20q&previous=true"
        );
    }
}
