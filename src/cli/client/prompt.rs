//! `client tokenize` at a terminal: identifiers that are typed, answered one by one.

use std::io::{self, BufRead as _, Write as _};

use super::explain::explanation;
use crate::client::Client;
use crate::identifier::Scheme;
use crate::terminal::{CommandError, output_error, print};
use crate::transfer::tokenize::TokenizeQuery;

/// Asks for identifiers until the input ends.
///
/// # Errors
/// When the vault refuses, or the terminal has gone.
pub(super) fn run(
    client: &Client,
    query: &TokenizeQuery,
    scheme: Option<&Scheme>,
) -> Result<(), CommandError> {
    let (path, mut answer) = (query.path(), vec![]);
    say("One identifier a line; Ctrl-D ends.\n")?;
    loop {
        say(&format!("{}> ", query.scheme))?;
        let mut line = zeroize::Zeroizing::new(String::new());
        let read = io::stdin().lock().read_line(&mut line);
        match read {
            Ok(0) => return say("\n"),
            Ok(_) if line.trim().is_empty() => continue,
            Ok(_) => {}
            Err(error) => {
                return Err(CommandError::new(
                    format_args!("standard input: {error}"),
                    "type identifiers as UTF-8",
                ));
            }
        }
        client.post(&path, "text/plain", line.as_bytes(), &mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let answer = answer.trim_end();
        print(answer)?;
        if let (Some(code), Some(scheme)) = (answer.strip_prefix('!'), scheme) {
            let why = explanation(scheme, line.trim_end_matches(['\r', '\n']), code);
            say(&format!("  {why}\n"))?;
        }
    }
}

/// Writes to standard error, where prompts go.
fn say(text: &str) -> Result<(), CommandError> {
    io::stderr()
        .write_all(text.as_bytes())
        .map_err(|error| output_error(&error))
}
