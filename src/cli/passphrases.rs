//! Asks people for passphrases: says what one must have, forgives slips, and makes one in words for
//! those who have none.

use std::io::{self, Write as _};

use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::custody::PassphraseSource;
use crate::keys::custody::words::{WORDS, new_passphrase};
use crate::keys::file::FileError;
use crate::register::Id;
use crate::system::echo::EchoOff;
use crate::terminal::CommandError;

/// The shortest passphrase that a new share is guarded with, in characters.
const SHORTEST: usize = 12;
/// How often a person may try.
const TRIES: u32 = 3;

/// A place among several: `2 of 5`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// From 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

/// Keeps what is typed from being shown while a ceremony lasts, also between its questions.
///
/// # Errors
/// When passphrases come from a terminal and there is none.
pub(super) fn begin(source: &PassphraseSource) -> Result<Option<EchoOff>, CommandError> {
    if *source != PassphraseSource::Terminal {
        return Ok(None);
    }
    let begun = EchoOff::begin().map_err(|error| {
        CommandError::usage(
            format_args!("there is no terminal to ask for passphrases at: {error}"),
            "run it at a terminal, or hand them over with --passphrase fd:N",
        )
    })?;
    Ok(Some(begun))
}

/// A passphrase for a custodian's new share. At a terminal it is asked for twice; an empty line
/// gets one in words.
///
/// # Errors
/// When it cannot be read, is too short, or a person at the terminal slipped [`TRIES`] times.
pub(super) fn for_new_share(
    source: &PassphraseSource,
    custodian: &Id,
    turn: Turn,
) -> Result<SecretString, CommandError> {
    if *source != PassphraseSource::Terminal {
        let read = source.read("").map_err(unread)?;
        return match fault(&read) {
            None => Ok(read),
            Some(fault) => Err(CommandError::new(
                format_args!("the passphrase of {custodian}'s share {fault}"),
                "take seven random words: with the file, an attacker can try passphrases without limit",
            )),
        };
    }
    let question = format!(
        "Passphrase of {custodian}'s share ({turn}), at least {SHORTEST} characters; empty: one of {WORDS} words is made"
    );
    for _ in 0..TRIES {
        let chosen = match source.read_or_none(&question).map_err(unread)? {
            Some(typed) => typed,
            None => shown(custodian),
        };
        if let Some(fault) = fault(&chosen) {
            tell(&format!("It {fault}. Again:"));
            continue;
        }
        let again = source.read_or_none("The same again").map_err(unread)?;
        if again.is_some_and(|again| again.expose_secret() == chosen.expose_secret()) {
            return Ok(chosen);
        }
        tell("The two differ. Again, from the first:");
    }
    Err(CommandError::new(
        format_args!("no passphrase for {custodian}'s share after {TRIES} tries"),
        "nothing was written: begin again; an empty line gets a passphrase in words",
    ))
}

/// Asks for the passphrase of something that `open` tries it on; at a terminal again where it is
/// wrong.
///
/// # Errors
/// The last one of `open`; when no passphrase can be read.
pub(super) fn to_open<T>(
    source: &PassphraseSource,
    what: &str,
    turn: Turn,
    mut open: impl FnMut(SecretString) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let tries = match source {
        PassphraseSource::Terminal => TRIES,
        _ => 1,
    };
    let mut tried = 1;
    loop {
        let typed = source
            .read_or_none(&format!("Passphrase of {what} ({turn})"))
            .map_err(unread)?;
        let why = match typed.map(&mut open) {
            Some(Ok(opened)) => return Ok(opened),
            Some(Err(error)) => error,
            None => CommandError::new(
                format_args!("{what}: the passphrase is empty"),
                "a share opens with its custodian's passphrase, or with --identity FILE",
            ),
        };
        if tried == tries {
            return Err(why);
        }
        tell(&format!("{why}. Again:"));
        tried += 1;
    }
}

/// Makes a passphrase in words and shows it, until it was typed once.
fn shown(custodian: &Id) -> SecretString {
    let made = new_passphrase();
    tell(&format!(
        "\n    {}\n\nThis opens {custodian}'s share. Write it down now: it is shown once. Then type it.",
        made.expose_secret()
    ));
    made
}

/// What a passphrase lacks.
fn fault(passphrase: &SecretString) -> Option<String> {
    let length = passphrase.expose_secret().chars().count();
    (length < SHORTEST).then(|| format!("has fewer than {SHORTEST} characters"))
}

/// Says something to the person at the terminal. Standard error may be closed; the next question
/// then has to do.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn unread(error: FileError) -> CommandError {
    CommandError::new(
        error,
        "a passphrase comes from the terminal, or a line of fd:N",
    )
}
