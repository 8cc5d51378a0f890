//! The input of a transfer: a file, standard input, or what the command line gave.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use crate::terminal::CommandError;
use crate::transfer::input::{DigestInput, InputError};
use crate::transfer::resume::{TransferJob, TransferProgress};
use crate::transfer::table::{self, TablePlan, TableReader};

/// An input that was opened.
pub(super) struct Source {
    input: DigestInput,
    /// Its path, if it is a file that can be read twice.
    path: Option<PathBuf>,
    called: String,
    length: Option<u64>,
}

/// An input that was looked into.
pub(super) struct ReadySource {
    pub(super) input: DigestInput,
    pub(super) table: Option<TableReader>,
    pub(super) header_lines: u64,
    /// How messages call it.
    pub(super) called: String,
    /// Its bytes, where they are known.
    pub(super) length: Option<u64>,
}

impl Source {
    /// Opens the input.
    ///
    /// # Errors
    /// When it cannot be read, is a directory, is the output, or is not text.
    pub(super) fn open(
        path: Option<&Path>,
        given: Option<Vec<u8>>,
        out: Option<&Path>,
    ) -> Result<Self, CommandError> {
        let mut source = match (path, given) {
            (_, Some(items)) => Self::of(
                "the list".into(),
                Some(items.len() as u64),
                Cursor::new(items),
            ),
            (Some(path), None) => Self::of_file(path, out)?,
            (None, None) => {
                let length = length_of_input();
                Self::of("standard input".into(), length, io::stdin())
            }
        };
        source.refuse_foreign()?;
        Ok(source)
    }

    fn of(called: String, length: Option<u64>, input: impl Read + Send + 'static) -> Self {
        Self {
            input: DigestInput::new(input),
            path: None,
            called,
            length,
        }
    }

    fn of_file(path: &Path, out: Option<&Path>) -> Result<Self, CommandError> {
        let unread = |error: &io::Error| CommandError::file(path, error);
        let file = File::open(path).map_err(|error| unread(&error))?;
        let facts = file.metadata().map_err(|error| unread(&error))?;
        let called = path.display().to_string();
        if facts.is_dir() {
            return Err(CommandError::new(
                format_args!("{called}: is a directory"),
                "name a file with --in",
            ));
        }
        let same = |out: &Path| match (fs::canonicalize(path), fs::canonicalize(out)) {
            (Ok(path), Ok(out)) => path == out,
            _ => false,
        };
        if out.is_some_and(same) {
            return Err(CommandError::new(
                format_args!("{called}: is the input and the output"),
                "choose another path for --out",
            ));
        }
        let is_file = facts.is_file();
        Ok(Self {
            path: is_file.then(|| path.to_owned()),
            ..Self::of(called, is_file.then(|| facts.len()), file)
        })
    }

    /// Refuses what people take for text: workbooks, archives, UTF-16.
    fn refuse_foreign(&mut self) -> Result<(), CommandError> {
        let first = self.input.first_bytes();
        let first = first.map_err(|error| {
            CommandError::new(format_args!("{}: {error}", self.called), "check the input")
        })?;
        let (what, hint) = match first {
            [b'P', b'K', 3, 4, ..] => ("is a workbook or an archive, not text", "save it as CSV"),
            [0xd0, 0xcf, 0x11, 0xe0, ..] => {
                ("is a workbook of an old Excel, not text", "save it as CSV")
            }
            [0x1f, 0x8b, ..] => ("is compressed", "unpack it: gunzip"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("is UTF-16", "save it as UTF-8"),
            _ => return Ok(()),
        };
        Err(CommandError::new(
            format_args!("{}: {what}", self.called),
            hint,
        ))
    }

    /// Reads the header of a table; a file is read whole first, so that a fault in it is told
    /// before anything is sent.
    ///
    /// # Errors
    /// When the table has a fault.
    pub(super) fn prepare(
        mut self,
        plan: Option<&TablePlan>,
        suffixes: &[&str],
    ) -> Result<ReadySource, CommandError> {
        let called = self.called.clone();
        let fault = |error| name(&called, error);
        let table = match plan {
            None => None,
            Some(plan) => {
                if let Some(path) = &self.path {
                    let file =
                        File::open(path).map_err(|error| CommandError::file(path, &error))?;
                    let mut file = io::BufReader::with_capacity(1 << 20, file);
                    table::check(&mut file, plan, suffixes).map_err(fault)?;
                }
                Some(TableReader::begin(&mut self.input, plan, suffixes).map_err(fault)?)
            }
        };
        Ok(ReadySource {
            input: self.input,
            header_lines: table.as_ref().map_or(0, TableReader::line),
            table,
            called: self.called,
            length: self.length,
        })
    }
}

impl ReadySource {
    /// Adds to a job what of the input shapes the answers.
    pub(super) fn describe(&self, job: TransferJob, plan: Option<&TablePlan>) -> TransferJob {
        let job = match self.length {
            Some(length) => job.with("bytes of the input", length),
            None => job,
        };
        let (Some(plan), Some(table)) = (plan, &self.table) else {
            return job;
        };
        job.with("--column", &plan.column)
            .with("--as", plan.name.as_deref().unwrap_or(&plan.column))
            .with("--keep", plan.keep)
            .with("--delimiter", char::from(table.delimiter()))
    }

    /// Goes on where an earlier run left the input.
    ///
    /// # Errors
    /// When it is not the input of that run.
    pub(super) fn go_on_at(&mut self, done: &TransferProgress) -> Result<(), InputError> {
        if done.read.bytes == 0 {
            return Ok(());
        }
        let bytes = done.read.bytes;
        let mark = done.read.mark().ok_or(InputError::Changed { bytes })?;
        self.input.go_on_at(&mark)?;
        if let Some(table) = &mut self.table {
            table.go_on_at(done.line);
        }
        Ok(())
    }

    /// The error with the input's name.
    pub(super) fn named(&self, error: InputError) -> CommandError {
        name(&self.called, error)
    }
}

fn name(called: &str, error: InputError) -> CommandError {
    let what = format!("{called}: {error}");
    let failed = CommandError::from(error);
    let hint = failed.hint().to_owned();
    failed.instead(what, hint)
}

/// How many bytes standard input has, if it is a file.
fn length_of_input() -> Option<u64> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let facts = input.metadata().ok()?;
    facts.is_file().then(|| facts.len())
}

/// The items of a list, one a line.
pub(in crate::cli) fn listed(items: &[String]) -> Vec<u8> {
    let mut bytes = vec![];
    for item in items {
        bytes.extend_from_slice(item.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}
