//! Says why a transfer ended, and what to do next.

use std::io;

use indicatif::HumanCount;
use jiff::SignedDuration;

use super::{CommandError, output_error};
use crate::transfer::TransferError;
use crate::transfer::fault::{InputError, TableError};
use crate::transfer::output::OutputError;

impl From<TransferError> for CommandError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Input(error) => error.into(),
            TransferError::Output(error) => error.into(),
            TransferError::Server(error) => error.into(),
            TransferError::Order(refusal) => Self::new(
                refusal,
                "`cloison order check` says what is wrong with an order",
            ),
            TransferError::Count => Self::bug(error),
            TransferError::DayOver {
                left,
                per_day,
                ends_in,
            } => {
                let ends_in = SignedDuration::try_from(ends_in).unwrap_or_default();
                let ends_in = SignedDuration::from_mins(ends_in.as_mins());
                Self::new(
                    format_args!(
                        "the quota of the day is used up: {} of {} items are left",
                        HumanCount(left),
                        HumanCount(per_day)
                    ),
                    format_args!("it begins anew at 00:00 UTC, in {ends_in:#}"),
                )
            }
            TransferError::Stopped => Self::new(error, "run the command again"),
        }
    }
}

impl From<InputError> for CommandError {
    fn from(error: InputError) -> Self {
        let hint = match &error {
            InputError::Read(_) => "check the input",
            InputError::Changed { .. } => {
                "bring back the input that was begun with, or begin anew with --force"
            }
            InputError::Table(TableError::NoColumn { .. }) => {
                "check the name in the file's first line, and the --delimiter if it is not one of , ; tab |"
            }
            InputError::Table(TableError::TwoColumns { .. } | TableError::NameTaken { .. }) => {
                "give each column a name of its own: --as names the new one"
            }
            InputError::Table(TableError::Empty) => {
                "name a table whose first line names its columns"
            }
            InputError::Table(TableError::HeaderQuote) => {
                "put that name in quotation marks and double the mark within, or take the mark out"
            }
            InputError::Table(TableError::LineEnds) => "save the file with CR LF or LF",
            InputError::Table(_) => {
                "correct the file, or save it anew as CSV where it comes from; nothing was sent of what follows"
            }
        };
        Self::new(error, hint)
    }
}

impl From<OutputError> for CommandError {
    fn from(error: OutputError) -> Self {
        let hint = match &error {
            OutputError::Stream(error) => return output_error(error),
            OutputError::File { path, error } => {
                // Beyond the limit on file sizes it is as full as a disk.
                return match error.kind() {
                    io::ErrorKind::FileTooLarge => Self::new(
                        format_args!("{}: {error}", path.display()),
                        "raise this process's limit on file sizes (`ulimit -f`) and go on",
                    ),
                    _ => Self::file(path, error),
                };
            }
            OutputError::Exists(_) => {
                "nothing is overwritten: choose another path, or replace it with --force"
            }
            OutputError::NotAFile { .. } => "name a file in a folder that exists",
            OutputError::Interrupted(_) => {
                "go on with that run (--resume), or drop it and begin anew (--force)"
            }
            OutputError::Busy(_) => "wait until it has ended, or choose another path",
            OutputError::Foreign(_) => "move it away, or drop it and begin anew (--force)",
            OutputError::OtherJob { .. } => {
                "go on with the options of that run, or drop it and begin anew (--force)"
            }
        };
        Self::new(error, hint)
    }
}
