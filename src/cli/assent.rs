//! Asks before a command does what cannot be undone.

use std::io::{self, IsTerminal as _, Write as _};

use crate::terminal::CommandError;

/// The option of every command that does what cannot be undone.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub struct Assent {
    /// Do it without asking: for scripts
    #[arg(long)]
    yes: bool,
}

/// What a command is about to do, in two sentences for people.
#[derive(Debug)]
pub(super) struct Irreversible {
    /// What changes.
    pub changes: String,
    /// What cannot be undone.
    pub lost: &'static str,
}

impl Assent {
    /// A person has agreed already.
    pub(super) const GIVEN: Self = Self { yes: true };

    /// Returns where `--yes` was given or the person at the terminal writes `yes`.
    ///
    /// # Errors
    /// When the person writes anything else, or no terminal is there to ask at.
    pub(super) fn obtain(self, act: &Irreversible) -> Result<(), CommandError> {
        if self.yes {
            return Ok(());
        }
        if !is_terminal() {
            return Err(CommandError::usage(
                format_args!(
                    "nothing was done: there is no terminal to ask at. With --yes: {} {}",
                    act.changes, act.lost
                ),
                "add --yes to do it without being asked",
            ));
        }
        ask(&format!("{}\n{}\nGo on?", act.changes, act.lost))
    }

    /// The same for a command that does no harm by itself, such as a signature, or that another one
    /// undoes and that must not wait for a person, such as a suspension: without a terminal it
    /// returns.
    ///
    /// # Errors
    /// When the person at the terminal writes anything but `yes`.
    pub(super) fn obtain_at_terminal(self, question: &str) -> Result<(), CommandError> {
        if self.yes || !is_terminal() {
            Ok(())
        } else {
            ask(question)
        }
    }
}

fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Only `yes` is yes: a key pressed by habit decides nothing.
fn ask(question: &str) -> Result<(), CommandError> {
    let failed = |error: io::Error| {
        CommandError::new(
            format_args!("the terminal: {error}"),
            "add --yes, or try again",
        )
    };
    let mut answer = String::new();
    write!(io::stderr(), "{question} Write yes: ").map_err(failed)?;
    io::stdin().read_line(&mut answer).map_err(failed)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(CommandError::new(
            "nothing was done",
            "write yes to go on, or give --yes",
        )),
    }
}
