//! Why a request is refused: one type for every use case, and helpers for the two refusals that are
//! not the caller's fault.
//!
//! `http::problem` turns a [`Refusal`] into an answer, and the command line prints it. So its
//! sentence names neither a person nor a pseudonym, and for an internal error it says only that the
//! log has the cause.

use std::borrow::Cow;
use std::fmt;

use crate::clock::ClockBehind;
use crate::code::Code;

/// Why a request is refused: a stable code and, if the code is not enough, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    why: Option<Cow<'static, str>>,
    retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal with `code`; `why` is a short sentence that is safe to show and to log.
    pub fn new(code: Code, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            why: Some(why.into()),
            retry_after: None,
        }
    }

    /// Nothing can be logged, so nothing is done.
    pub fn unavailable(code: Code) -> Self {
        Self::new(code, "nothing can be logged now, so nothing is done").come_back_in(5)
    }

    /// The same refusal, which tells the caller to come back after `seconds`.
    pub fn come_back_in(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// After how many seconds the caller may come back, if waiting helps.
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// The stable outward code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, if the code is not enough.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

/// For `map_err`: an internal error. The log gets `what` failed and the error; the caller learns
/// neither.
pub fn fault<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| {
        tracing::error!(%error, "{what}");
        Refusal::new(Code::Internal, "a fault of ours; the log says more")
    }
}

/// For `map_err`: the audit log took no entry, and `therefore` says what is not done.
pub fn not_logged(therefore: &'static str) -> impl Fn(Code) -> Refusal + Copy {
    move |code| {
        Refusal::new(
            code,
            format!("the audit log takes no entry, so {therefore}"),
        )
    }
}

/// A refusal whose code is enough.
impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self {
            code,
            why: None,
            retry_after: None,
        }
    }
}

impl From<ClockBehind> for Refusal {
    fn from(behind: ClockBehind) -> Self {
        Self::new(Code::ClockBehind, behind.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why().unwrap_or(self.code.as_str()))
    }
}

impl std::error::Error for Refusal {}
