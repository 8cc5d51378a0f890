//! What all commands share that talk to a vault or an authority node.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::client::{Answer, Client, ClientError};
use crate::code::Code;

/// The argument that says where to go, and as whom.
#[derive(clap::Args)]
pub struct ClientFile {
    /// The client file: the server's address, and the certificate and key to go there with
    #[arg(long = "client", value_name = "FILE", env = "CLOISON_CLIENT")]
    file: PathBuf,
}

impl ClientFile {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// When one of them cannot be read or is not what it should be.
    pub fn open(&self) -> Result<Client, Error> {
        open(&self.file)
    }
}

/// The same for a path that is no argument.
pub fn open(file: &std::path::Path) -> Result<Client, Error> {
    Client::open(file).map_err(|error| Error::new(error, "`cloison init` writes such files to clients/; keys are 0600"))
}

/// RFC 9457, as far as we show it.
#[derive(Deserialize)]
struct Problem {
    code: Code,
    title: Option<String>,
    detail: Option<String>,
}

/// The code of a refusal, when it has one of ours.
pub fn code_of(answer: &Answer) -> Option<Code> {
    serde_json::from_slice::<Problem>(&answer.body).ok().map(|problem| problem.code)
}

/// What a refusal means to the person at the keyboard.
pub fn refused(answer: &Answer) -> Error {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(Problem { code, title, detail }) => {
            let why = detail.or(title).unwrap_or_default();
            Error::new(format_args!("refused: {code}: {why}"), advice(code))
        }
        Err(_) => Error::new(
            format_args!("the server answered with HTTP status {} and no reason", answer.status),
            "check that `url` in the client file leads to a cloison listener of the right kind",
        ),
    }
}

/// Reads a successful answer.
///
/// # Errors
/// When it is a refusal, or not the JSON that the operation answers with.
pub fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    if answer.status != 200 {
        return Err(refused(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        Error::new("the answer is not what this version understands", "use the same version of cloison on both sides")
    })
}

/// No answer at all.
pub fn unreachable(error: &ClientError) -> Error {
    Error::new(error, "check `url` and `ca` in the client file, and that the server runs and is ready")
}

/// Percent-encoding (RFC 3986 §2.1) of everything that is not unreserved.
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What to do next.
fn advice(code: Code) -> &'static str {
    match code {
        Code::UnknownClient => "the register knows no client with this certificate: have it entered, or use the right file",
        Code::Forbidden | Code::UnknownSector | Code::NotFound => {
            "check the sector's spelling and that the register gives it to this client; `cloison register show`"
        }
        Code::UnknownScheme => "use a scheme that the register lists for the sector; `cloison register show`",
        Code::UnknownPurpose => "name a purpose with --purpose that the register lists for the sector and this client",
        Code::QuotaExceeded | Code::Overloaded | Code::AuditUnavailable => "try again a little later",
        Code::TooLarge => "send less at once: a smaller --batch",
        Code::DomainClosed => "the named epoch or period is over: leave it out to use the present one",
        Code::Irreversible => "this sector keeps no mappings, so there is nothing to go back to",
        Code::OrderQuorum => "have it signed by another approver, of another body: `cloison order sign`",
        Code::OrderNotYetValid => "wait until the order is valid; `cloison order show` says when",
        Code::OrderExpired => "ask for a new order: `cloison order new`",
        Code::OrderMalformed
        | Code::OrderSignature
        | Code::OrderAudience
        | Code::OrderAuthority
        | Code::OrderConflict
        | Code::OrderRule => "`cloison order check` names every rule that the order breaks",
        Code::RequestInvalid => "check the officer's key and this machine's clock",
        Code::OutOfScope => "the order does not cover this: `cloison order show`",
        Code::LimitReached => "the order allows no more pseudonyms: a new order is needed",
        Code::RegisterMismatch => "vault and node hold different registers: give both the same signed one",
        Code::PeerUnavailable => "the other side (vault or node) does not answer: see its log and /readyz",
        Code::ClockBehind => "set the server's clock",
        Code::Internal => "see the server's log",
        _ => "see `--help` for what the command takes",
    }
}
