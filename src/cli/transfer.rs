//! What `client tokenize` and `reidentify` share: a file in, a file out.

mod source;
mod summary;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use indicatif::{HumanCount, ProgressBar};

use crate::system::process::stop_flag;
use crate::terminal::{CommandError, is_quiet, progress, transfer_progress};
use crate::transfer::input::{InputForm, read_batches};
use crate::transfer::output::{AnswerSink, OutputFile, OutputPlan, OutputStart, StreamSink};
use crate::transfer::resume::{TransferJob, TransferProgress};
use crate::transfer::table::TablePlan;
use crate::transfer::{self, Answerer, TransferError, Waits};
use source::Source;
pub(super) use source::listed;
pub(super) use summary::{SchemeWants, wants};

/// Where items come from, and where answers go.
#[derive(clap::Args)]
pub struct TransferArgs {
    /// The file with the items [default: standard input]
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the answers go: a new file of mode 0600, whole or not there [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with what an earlier run with the same --out left, if it left something
    #[arg(long, requires = "out")]
    resume: bool,
    /// Replace the file of --out if it exists, and drop what an earlier run left
    #[arg(long, requires = "out")]
    force: bool,
    /// The input is a table (CSV) whose first line names its columns
    #[arg(long, requires = "column")]
    csv: bool,
    /// The column of the table that holds the items; a number, from 1, if no column has it as its
    /// name
    #[arg(long, value_name = "NAME", requires = "csv")]
    column: Option<String>,
    /// The name of the column with the answers [default: that of the old one]
    #[arg(long = "as", value_name = "NAME", requires = "csv")]
    name: Option<String>,
    /// Keep the old column before the new one
    #[arg(long, requires_all = ["csv", "name"])]
    keep: bool,
    /// The table's delimiter [default: the one of , ; tab | by which the first line has the column]
    #[arg(long, value_name = "C", requires = "csv", value_parser = delimiter)]
    delimiter: Option<u8>,
}

/// Reads a delimiter: one ASCII character that is in no pseudonym and no quoting.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [byte @ (b'\t' | b' '..=b'~')]
            if !byte.is_ascii_alphanumeric() && !b"\"-!".contains(byte) =>
        {
            Ok(*byte)
        }
        _ => Err("a delimiter is one character such as , ; | or tab".to_owned()),
    }
}

/// A transfer that is to be run.
pub(super) struct TransferCall<'a> {
    /// Where from, where to.
    pub(super) args: &'a TransferArgs,
    /// Items that were given on the command line, in place of an input.
    pub(super) given: Option<Vec<u8>>,
    /// Items in one request.
    pub(super) batch: usize,
    /// What shapes the answers, beside the table.
    pub(super) job: TransferJob,
    /// What the scheme wants, for the summary.
    pub(super) wants: Option<SchemeWants>,
}

impl TransferArgs {
    /// Whether neither input nor output is named.
    pub(super) fn is_plain(&self) -> bool {
        self.input.is_none() && self.out.is_none() && !self.csv
    }

    /// Whether the answers go to a file.
    pub(super) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// Whether an input is named.
    pub(super) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    fn table(&self) -> Option<TablePlan> {
        Some(TablePlan {
            column: self.column.clone().filter(|_| self.csv)?,
            name: self.name.clone(),
            keep: self.keep,
            delimiter: self.delimiter,
        })
    }

    fn plan(&self) -> OutputPlan {
        OutputPlan {
            resume: self.resume,
            force: self.force,
        }
    }
}

/// Runs a transfer, and says at the end what became of the items.
///
/// # Errors
/// When it ends early, with how to go on; with exit code 3 when items were rejected.
pub(super) fn run(call: TransferCall<'_>, answerer: &mut dyn Answerer) -> Result<(), CommandError> {
    let table = call.args.table();
    let source = Source::open(
        call.args.input.as_deref(),
        call.given,
        call.args.out.as_deref(),
    )?;
    if let Some(path) = &call.args.out {
        OutputFile::look(path, call.args.plan())?;
    }
    let mut source = source.prepare(table.as_ref(), answerer.suffixes())?;
    let job = source.describe(call.job, table.as_ref());
    let start = match &call.args.out {
        None => None,
        Some(path) => Some(OutputFile::begin(path, call.args.plan(), job.clone())?),
    };
    let (file, mut done) = match start {
        None => (None, TransferProgress::begin(job)),
        Some(OutputStart::Begun(file, known)) => (Some(file), known),
        Some(OutputStart::Done(known)) => {
            note("an earlier run had finished this file");
            return summary::close(&known.totals, call.wants.as_ref());
        }
    };
    let begun = source.go_on_at(&done);
    if let Err(error) = begun {
        return Err(source.named(error));
    }
    let bar = progress_beside_answers(source.length, file.is_some());
    bar.set_position(done.read.bytes);
    let goes_on = GoesOn::of(file.is_some(), &source);
    let mut sink = Sink::of(file);
    let ended = send(source, call.batch, answerer, &mut sink, &mut done, &bar);
    let ended = sink.end(ended, &done);
    bar.finish_and_clear();
    match ended {
        Ok(()) => summary::close(&done.totals, call.wants.as_ref()),
        Err(error) => {
            summary::say(&done.totals, call.wants.as_ref());
            Err(goes_on.explain(error, &done))
        }
    }
}

fn send(
    source: source::ReadySource,
    batch: usize,
    answerer: &mut dyn Answerer,
    sink: &mut Sink,
    done: &mut TransferProgress,
    bar: &ProgressBar,
) -> Result<(), TransferError> {
    let mut tell = transfer_progress(bar);
    let waits = Waits::new(&mut tell, stop_flag());
    let form = source
        .table
        .map_or(InputForm::Lines, |table| InputForm::Table(Box::new(table)));
    let batches = read_batches(
        source.input,
        form,
        batch,
        done.line.max(source.header_lines),
    );
    transfer::run(&batches, answerer, sink.as_sink(), done, waits)
}

/// Where the answers go.
enum Sink {
    File(Box<OutputFile>),
    Stream(StreamSink<io::BufWriter<io::StdoutLock<'static>>>),
}

impl Sink {
    fn of(file: Option<Box<OutputFile>>) -> Self {
        match file {
            Some(file) => Self::File(file),
            None => {
                let out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
                Self::Stream(StreamSink(out))
            }
        }
    }

    fn as_sink(&mut self) -> &mut dyn AnswerSink {
        match self {
            Self::File(file) => &mut **file,
            Self::Stream(stream) => stream,
        }
    }

    /// Ends the output: what was answered is kept, and a whole file gets its name.
    fn end(
        self,
        ended: Result<(), TransferError>,
        done: &TransferProgress,
    ) -> Result<(), TransferError> {
        match self {
            Self::Stream(mut stream) => {
                let flushed = stream.0.flush();
                ended?;
                flushed.map_err(|error| crate::transfer::output::OutputError::Stream(error).into())
            }
            Self::File(file) if ended.is_ok() => Ok(file.finish()?),
            Self::File(file) => {
                if done.totals.items == 0 {
                    // Nothing was answered: nothing is left to go on with.
                    file.discard_empty()?;
                }
                ended
            }
        }
    }
}

/// How to go on after an early end.
struct GoesOn {
    to_file: bool,
    input: String,
}

impl GoesOn {
    fn of(to_file: bool, source: &source::ReadySource) -> Self {
        let input = source.called.clone();
        Self { to_file, input }
    }

    fn explain(&self, error: TransferError, done: &TransferProgress) -> CommandError {
        let why = match &error {
            TransferError::Input(error) => format!("{}: {error}", self.input),
            TransferError::Stopped => "told to stop".to_owned(),
            other => other.to_string(),
        };
        let failed = CommandError::from(error);
        if failed.message().is_empty() || done.totals.items == 0 {
            return failed;
        }
        let answered = HumanCount(done.totals.items);
        if self.to_file {
            let what = format!("{why}; {answered} items are answered and kept");
            failed.instead(what, format_args!("go on with: {}", command_to_resume()))
        } else {
            let what = format!("{why}; stopped after {answered} answered lines");
            let next = done.totals.items + 1;
            failed.instead(
                what,
                format_args!("send the rest later and append: tail -n +{next} input"),
            )
        }
    }
}

/// The command that was given, with `--resume`.
fn command_to_resume() -> String {
    let mut words: Vec<String> = std::env::args_os()
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    if let Some(program) = words.first_mut() {
        "cloison".clone_into(program);
    }
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Says something on standard error, unless it is to be quiet.
fn note(what: impl Display) {
    if !is_quiet() {
        let _ = writeln!(io::stderr(), "{what}");
    }
}

/// A bar while answers go somewhere: hidden when that is the terminal, where it would stand between
/// the answers.
pub(super) fn progress_beside_answers(length: Option<u64>, to_file: bool) -> ProgressBar {
    if !to_file && io::stdout().is_terminal() {
        ProgressBar::hidden()
    } else {
        progress(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character_that_no_pseudonym_has() {
        for (text, byte) in [
            (";", b';'),
            (",", b','),
            ("|", b'|'),
            ("\t", b'\t'),
            ("tab", b'\t'),
        ] {
            assert_eq!(delimiter(text), Ok(byte));
        }
        for text in ["", "a", "0", "-", "\"", "!", ";;", "é", "\n"] {
            assert!(delimiter(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--in"), "--in");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("d'un"), r"'d'\''un'");
        assert_eq!(quoted(";"), "';'");
    }
}
