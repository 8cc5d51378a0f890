//! What all commands share that talk to a vault or an authority node.

use std::path::{Path, PathBuf};

use super::Error;
use crate::client::{Client, ClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::config::ClientConfig;

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
///
/// # Errors
/// When the file, or one that it names, cannot be read or is not what it should be.
pub fn open(file: &Path) -> Result<Client, Error> {
    const HINT: &str = "`cloison init` writes such files to clients/; private keys have mode 0600";
    let config = ClientConfig::load(file).map_err(|error| Error::new(error, HINT))?;
    let client = Client::new(&config).map_err(|error| Error::new(error, HINT))?;
    let own = client.own_certificate();
    match own.validity.map(|validity| validity.check(SystemClock.now())) {
        Some(Err(fault)) => Err(Error::new(
            format_args!("your certificate {own} {fault}"),
            "have a new one issued for the same key; or, if it is this machine's clock that is wrong, set that",
        )),
        _ => Ok(client),
    }
}

/// What a failed request means to the person at the keyboard.
pub fn failed(error: &ClientError) -> Error {
    let hint = match error {
        ClientError::Setup(_) => "check the certificates and the key that the client file names",
        ClientError::Handshake { fault, .. } => fault.remedy(),
        ClientError::Connection { .. } => {
            "check `url` and `ca` in the client file, and that the server runs and is ready"
        }
        ClientError::Answer { .. } => {
            "check that `url` in the client file leads to a cloison listener of the right kind"
        }
        ClientError::Request => "report this as a fault of cloison",
        ClientError::Problem(problem) => problem.known().map_or("use the same version on both sides", advice),
    };
    Error::new(error, hint)
}

/// What to do next.
fn advice(code: Code) -> &'static str {
    match code {
        Code::UnknownClient => "have the digest entered in the register as this client's, or use the right client file",
        Code::Forbidden => {
            "use the client file of a role that may do this; `cloison register show` says what each client may"
        }
        Code::UnknownSector => {
            "check the sector's spelling and that the register gives it to this client; `cloison register show`"
        }
        Code::NotFound | Code::MethodNotAllowed => {
            "check `url` in the client file: this listener has no such operation, or none for this certificate"
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
        Code::Sealed => "the custodians unseal it: `cloison authority unseal`",
        Code::ShareInvalid => "bring the share file that was made for you, over your own client file; is it damaged?",
        Code::ShareForeign => "bring the share of the key that the node waits for: `cloison authority status` names it",
        Code::OrderRevoked => "its authority has revoked it, for good: `cloison order list` says who and when",
        Code::OrderSuspended => "its authority has suspended it: `cloison order list` says who and when",
        Code::UnknownOrder => "check the id: `cloison order list` has the orders that were seen there",
        Code::ActInvalid => "`cloison order revoke --help` and its neighbours say who may sign what",
        Code::RequestReplayed => "ask again: each request is answered once",
        Code::ReleaseRate => "come back when the hour is over, or have the authority's rate in the register raised",
        Code::ActRate => "another approver signs it, or bring it tomorrow",
        Code::OutOfStep => "vault and node could not exchange their acts: see the log of both",
        Code::NoMigrationKey => {
            "have `migrate` and a `migration-key` (`cloison client keygen`) entered for a client of the sector"
        }
        Code::EpochOpen => "advance the epoch first and wait until its overlap is over: `cloison epoch list`",
        Code::EpochRetired => "its sector has retired it: there is nothing left to go back to",
        Code::EpochNotCurrent => "`cloison epoch list` says where the sector stands: name that with --from",
        Code::EpochOverlaps => "wait until its overlap is over, or end it for good with --end-overlap EPOCH",
        Code::EpochUnmigrated => {
            "have them migrated (an order for continuity), or give them up for good with --unmigrated"
        }
        Code::StatementRequired => "`cloison statement new` makes one; operators sign it, and --statement brings it",
        Code::StatementInvalid => "`cloison statement check` says what is wrong; each allows one act, for seven days",
        Code::NoDeliveryKey => "have a `sealing-key` (age1…) entered for the officer in the register",
        Code::InspectionInvalid => "`cloison audit inspection new --help` says who signs what",
        Code::InspectionRequired => {
            "the commission decides on one (`cloison audit inspection new`); `cloison audit verify` and `copy` need none"
        }
        Code::UnknownInspection => "check the id: `cloison audit inspection list` has those that were entered there",
        Code::LookUpLimit => "come back tomorrow (UTC), or have another rights officer look",
        Code::RightsInvalid => "two rights officers of the sector sign it: `cloison rights erase --help`",
        Code::UnknownSecret => "`cloison secrets versions` lists them",
        Code::SecretNeeded => {
            "`cloison secrets versions` says by which epochs; the newest is needed until there is a newer one"
        }
        Code::SecretReadOnly => {
            "make the version by hand (`systemd-creds`, or let the vault's user write to the folder) and restart the vault"
        }
        Code::RecipientInvalid => "use the same version and the same register on both sides, and see the vault's log",
        Code::PeerUnavailable => "the other side (vault or node) does not answer: see its log and /readyz",
        Code::ProofInvalid => {
            "do not go on: verify the vault's log (`cloison audit verify`) and compare it with the checkpoints you have"
        }
        Code::CosignatureMissing => {
            "the node cosigns the vault's log and the vault the node's: see both logs and /readyz"
        }
        Code::ClockBehind => "set the server's clock right; if it once ran ahead, docs/operations.md says what to do",
        Code::Internal => "see the server's log",
        _ => "see `--help` for what the command takes",
    }
}
