//! Reads what people give to commands (ids, registers, keys, orders), and writes new files.

use std::path::Path;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use crate::client::officer::read_order;
use crate::clock::{Clock as _, SystemClock};
use crate::keys::file::{FileError, read_signing_key, write_private};
use crate::order::OrderPayload;
use crate::register::{self, Fault, Id, Register};
use crate::terminal::CommandError;
use crate::terminal::files::read_text;

/// Reads an id for clap.
pub(super) fn parse_id(text: &str) -> Result<Id, String> {
    Id::parse(text).ok_or_else(|| "an id is 1 to 64 of a-z, 0-9 and '-'".to_owned())
}

/// The id that was given with an option.
///
/// # Errors
/// When it is not an id; the option is named.
pub(super) fn id_of_option(option: &str, text: &str) -> Result<Id, CommandError> {
    parse_id(text).map_err(|rule| CommandError::usage(format_args!("{option} is not an id"), rule))
}

/// Reads a register without verifying its signatures.
///
/// # Errors
/// When it cannot be read, or has faults, which are all listed.
pub(super) fn read_register(path: &Path) -> Result<Register, CommandError> {
    register::parse(&read_text(path)?).map_err(|faults| {
        CommandError::new(
            list_faults(path, &faults),
            "use the complete register that is in force",
        )
    })
}

/// Every fault on lines of its own, as editors and people read them.
pub(super) fn list_faults(file: &Path, faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| fault.in_file(file).to_string())
        .collect();
    lines.join("\n")
}

/// The private key with which a person signs: an approver, an officer, an operator.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_person_key(path: &Path, role: &str) -> Result<SigningKey, CommandError> {
    read_signing_key(path).map_err(|error| {
        CommandError::new(
            error,
            format_args!("name the {role}'s own private key to sign with"),
        )
    })
}

/// Writes a text with a line end to a new file that only its owner may read.
///
/// # Errors
/// When the file exists or cannot be written.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), CommandError> {
    write_private(path, format!("{text}\n").as_bytes()).map_err(not_written)
}

/// A new file could not be written.
pub(super) fn not_written(error: FileError) -> CommandError {
    CommandError::new(
        error,
        "nothing is overwritten: choose a path in a folder that exists",
    )
}

/// The present time in whole seconds, as signed texts carry it.
///
/// # Errors
/// When the clock is out of range.
pub(super) fn present_second() -> Result<Timestamp, CommandError> {
    Timestamp::from_second(SystemClock.now().as_second())
        .map_err(|error| CommandError::new(error, "set the clock of this machine"))
}

/// Reads an order and what it says, without verifying it.
///
/// # Errors
/// When the file cannot be read, or is not an order.
pub(super) fn read_order_file(path: &Path) -> Result<(String, OrderPayload), CommandError> {
    let text = read_text(path)?;
    let payload = order_payload(path, &text)?;
    Ok((text, payload))
}

/// What an order says. Proves nothing about who signed it.
///
/// # Errors
/// When the text is not an order.
pub(super) fn order_payload(path: &Path, text: &str) -> Result<OrderPayload, CommandError> {
    read_order(text).map_err(|refusal| {
        let what = format_args!("{}: is not an order: {refusal}", path.display()).to_string();
        CommandError::new(
            what,
            "`cloison order new` makes one, `cloison order sign` signs it",
        )
    })
}

/// The officer who executes an order: the one that was named, or the only one that the order names.
///
/// # Errors
/// When the name is not an id, or the order names several officers and no name was given.
pub(super) fn officer_of(order: &OrderPayload, named: Option<&str>) -> Result<Id, CommandError> {
    match named {
        Some(officer) => id_of_option("--officer", officer),
        None => only(&order.officers, "officers", "--officer").cloned(),
    }
}

/// The only one of what an order names.
///
/// # Errors
/// When it names several.
pub(super) fn only<'a, T>(all: &'a [T], what: &str, option: &str) -> Result<&'a T, CommandError> {
    match all {
        [one] => Ok(one),
        _ => Err(CommandError::usage(
            format_args!("the order names several {what}"),
            format_args!("say which with {option}"),
        )),
    }
}
