//! What every program of cloison needs at a terminal: an error that says what to do next, results
//! on standard output, files, a log on standard error, and the client of a server.

mod advice;
mod error;
pub mod files;
pub mod log;
mod progress;
mod remote;
pub mod table;
mod transfer;
mod voice;

use std::fmt::Display;
use std::io::{self, Write as _};

pub use error::CommandError;
pub use progress::{progress, transfer_progress};
pub use remote::open_client;
pub use voice::{Voice, is_quiet, set_voice, voice};

/// Writes a result and a line end to standard output. Unlike `println!` it does not panic when the
/// reader has gone.
///
/// # Errors
/// When standard output takes no more.
pub fn print(text: impl Display) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| output_error(&error))
}

/// Writes a result to standard output as indented JSON.
///
/// # Errors
/// When standard output takes no more.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CommandError::bug(format_args!("the result has no JSON form: {error}")))?;
    print(text)
}

/// Writes a result to standard output: as text, or as JSON where the command line asks for that.
///
/// # Errors
/// When standard output takes no more.
pub fn print_either(
    text: impl Display,
    json: impl FnOnce() -> serde_json::Value,
) -> Result<(), CommandError> {
    if voice().json {
        print_json(&json())
    } else {
        print(text)
    }
}

/// Writes what people read before or beside a result: to standard output, or to standard error
/// where the result is JSON.
///
/// # Errors
/// When standard output takes no more.
pub fn print_beside(text: impl Display) -> Result<(), CommandError> {
    if voice().json {
        // Standard error may be closed; the result does not depend on it.
        let _ = writeln!(io::stderr(), "{text}");
        return Ok(());
    }
    print(text)
}

/// What a failed write to standard output means.
pub fn output_error(error: &io::Error) -> CommandError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError::unheard(),
        _ => CommandError::new(
            format_args!("standard output: {error}"),
            "check where the output goes",
        ),
    }
}
