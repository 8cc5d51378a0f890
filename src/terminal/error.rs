//! How a command fails: what is wrong, what to do next, and the exit code for scripts.

use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::voice;

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub struct CommandError {
    message: String,
    hint: String,
    exit: u8,
    /// The server's code, if it was a server that refused.
    code: Option<String>,
}

impl CommandError {
    /// A failure (exit code 1): what is wrong, without an identifier or a secret, and what to do
    /// next.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_string(),
            exit: 1,
            code: None,
        }
    }

    /// The same failure with the code by which a server refused.
    pub(super) fn with_code(self, code: &str) -> Self {
        Self {
            code: Some(code.to_owned()),
            ..self
        }
    }

    /// What a server told of work that it refused or could not finish, with the hint for its code.
    pub fn refused(code: &str, message: impl Display) -> Self {
        let known = crate::code::Code::ALL
            .iter()
            .find(|known| known.as_str() == code);
        let hint = known.map_or("see the server's log", |known| {
            super::advice::advice(*known)
        });
        Self::new(message, hint).with_code(code)
    }

    /// A failure that can only be a bug of cloison (exit code 1).
    pub fn bug(message: impl Display) -> Self {
        Self::new(message, "report this as a bug of cloison")
    }

    /// A wrong command line (exit code 2).
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self {
            exit: 2,
            ..Self::new(message, hint)
        }
    }

    /// The work is done, but some items were rejected (exit code 3).
    pub fn rejected(message: impl Display, hint: impl Display) -> Self {
        Self {
            exit: 3,
            ..Self::new(message, hint)
        }
    }

    /// Two copies of one log contradict each other (exit code 4, so that scripts can tell it from
    /// other failures).
    pub fn contradiction(message: impl Display, hint: impl Display) -> Self {
        Self {
            exit: 4,
            ..Self::new(message, hint)
        }
    }

    /// A server could not start for a reason that may pass by itself (exit code 75, `EX_TEMPFAIL`):
    /// the units start it again.
    pub fn temporary(message: impl Display, hint: impl Display) -> Self {
        Self {
            exit: 75,
            ..Self::new(message, hint)
        }
    }

    /// The same failure, said otherwise.
    pub fn instead(self, message: impl Display, hint: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_string(),
            ..self
        }
    }

    /// The same failure with another exit code.
    pub fn with_exit(self, exit: u8) -> Self {
        Self { exit, ..self }
    }

    /// The result said everything already; only the exit code is left to tell.
    pub fn said(exit: u8) -> Self {
        Self::unheard().with_exit(exit)
    }

    /// The reader of our output has gone (`… | head`), so nothing is reported.
    pub(super) fn unheard() -> Self {
        Self {
            message: String::new(),
            hint: String::new(),
            exit: 1,
            code: None,
        }
    }

    /// A file that could not be read or written, named, with a hint that fits the reason.
    pub fn file(path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => {
                "run the command as the user who owns it, or choose another path"
            }
            io::ErrorKind::AlreadyExists => {
                "nothing is overwritten: choose another path, or move it away first"
            }
            io::ErrorKind::StorageFull => "make room on the disk and try again",
            _ => "check the path and the disk",
        };
        Self::new(format_args!("{}: {error}", path.display()), hint)
    }

    /// The exit code.
    pub fn exit(&self) -> u8 {
        self.exit
    }

    /// The code by which a server refused.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Writes message and hint to standard error, as JSON where that was asked for; the code to
    /// exit with.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            // Standard error may be closed, too; then the exit code alone tells.
            let _ = if voice().json {
                writeln!(io::stderr(), "{}", self.to_json())
            } else {
                writeln!(
                    io::stderr(),
                    "error: {}\n hint: {}",
                    self.message,
                    self.hint
                )
            };
        }
        ExitCode::from(self.exit)
    }

    /// `error`, `hint`, `exit`, and `code` where a server refused.
    fn to_json(&self) -> serde_json::Value {
        let mut object = json!({"error": self.message, "hint": self.hint, "exit": self.exit});
        if let Some(code) = &self.code {
            object["code"] = code.as_str().into();
        }
        object
    }
}

impl Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
