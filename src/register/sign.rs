//! The register's signatures: k of n register keys from two bodies at least, one of them the
//! commission (`docs/register.md`).
//!
//! `register.jws` is a JWS of type `cloison-register+json` whose payload names deployment, version
//! and SHA-256 of the register file's bytes. Who may sign is pinned in each side's own
//! configuration, never in the register itself. Only a store can tell whether the version went back
//! or a frozen fact changed: see [`Register::changed_facts`].

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{Fault, Id, LEAST_BODIES, Register, SignedText};
use crate::json::{JsonFault, JsonObject};
use crate::jws::{self, JwsError};
use crate::statement::SignatureCheck;

/// The `typ` of the register's signatures.
pub const TYP: &str = "cloison-register+json";

/// The most bytes that a register file may have.
pub const MAX_FILE: u64 = 4 << 20;

/// What each side knows about a register in advance, from its own configuration.
#[derive(Debug, Clone)]
pub struct RegisterPins {
    /// The deployment that the register must be for.
    pub deployment: Id,
    /// The register keys.
    pub keys: Vec<PinnedKey>,
    /// How many of them must have signed.
    pub quorum: usize,
    /// The body that must sign every register.
    pub commission: Id,
}

/// A register key.
#[derive(Debug, Clone)]
pub struct PinnedKey {
    /// The `kid` of its signatures.
    pub id: Id,
    /// The body that holds it.
    pub body: Id,
    /// Ed25519.
    pub key: VerifyingKey,
}

/// What the signatures say about a register file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterStatement {
    /// The deployment's id.
    pub deployment: Id,
    /// The register's version.
    pub version: u64,
    /// SHA-256 of the register file's bytes.
    pub digest: [u8; 32],
}

impl RegisterStatement {
    /// What signers of this register would state.
    pub fn of(register: &Register) -> Self {
        RegisterStatement {
            deployment: register.deployment.clone(),
            version: register.version,
            digest: register.digest,
        }
    }

    /// The payload: `{"aud":deployment,"version":n,"sha256":hex}`, without white space.
    pub fn payload(&self) -> Vec<u8> {
        let (aud, sha256) = (&self.deployment, HEXLOWER.encode(&self.digest));
        format!(
            r#"{{"aud":"{aud}","version":{},"sha256":"{sha256}"}}"#,
            self.version
        )
        .into_bytes()
    }

    fn read(payload: &[u8]) -> Result<Self, JsonFault> {
        let mut members = JsonObject::parse(payload)?;
        let statement = Self {
            deployment: members.id("aud")?,
            version: members.number("version")?,
            digest: members.digest("sha256")?,
        };
        members.end()?;
        Ok(statement)
    }
}

/// Why a register's signatures do not make it valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterSignatureFault {
    /// There is no signature.
    #[error("the register is not signed; `cloison register sign` does that")]
    Unsigned,
    /// Not a JWS of the strict form.
    #[error("not a register's signatures: {0}")]
    Malformed(#[from] JwsError),
    /// A JWS, but over something that is not a register.
    #[error("the payload is not a register's: an id as `aud`, a version, a SHA-256")]
    Payload,
    /// Signed for another deployment.
    #[error(
        "the register is foreign: it was signed for the deployment `{signed_for}`, and this is `{here}`"
    )]
    Foreign {
        /// The deployment in the payload.
        signed_for: Id,
        /// The pinned deployment.
        here: Id,
    },
    /// The signatures are over another text.
    #[error(
        "the register file is not the one that was signed (version {signed_version}); was it changed afterwards?"
    )]
    OtherText {
        /// The version of the text that was signed.
        signed_version: u64,
    },
    /// The payload contradicts the text, though its digest is right.
    #[error("deployment or version in the signed payload are not those in the register file")]
    Contradiction,
    /// A signature of a pinned key does not verify.
    #[error("the signature by `{0}` is forged or damaged")]
    Forged(Id),
    /// Not enough register keys signed.
    #[error(
        "signed by {have} register keys of the {need} that must sign; missing could be: {missing}"
    )]
    Quorum {
        /// How many signed.
        have: usize,
        /// How many must.
        need: usize,
        /// The pinned keys that did not, by id.
        missing: String,
    },
    /// The commission did not sign.
    #[error("no register key of `{0}` signed, and without the commission no register is valid")]
    NoCommission(Id),
    /// All who signed hold their keys for the commission.
    #[error("only register keys of `{0}` signed, and a register needs those of two bodies")]
    OneBody(Id),
}

/// Why a register cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RegisterOpenError {
    /// A file cannot be read, or is not text of a sensible size.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signatures do not make it valid.
    #[error("{}: {fault}", path.display())]
    Signatures {
        /// The file with the signatures.
        path: PathBuf,
        /// Why.
        fault: RegisterSignatureFault,
    },
    /// The register is signed and has faults, or cannot be signed for that reason.
    #[error("{}", FaultList(path, faults))]
    Faults {
        /// The register file.
        path: PathBuf,
        /// All of them, in the order of the file.
        faults: Vec<Fault>,
    },
}

struct FaultList<'a>(&'a Path, &'a [Fault]);

impl fmt::Display for FaultList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.1 {
            writeln!(f, "{}", fault.in_file(self.0))?;
        }
        let plural = if self.1.len() == 1 { "fault" } else { "faults" };
        write!(f, "{}: {} {plural}", self.0.display(), self.1.len())
    }
}

/// Reads a register and its signatures, verifies these against the pins and only then reads what
/// the register says.
///
/// # Errors
/// [`RegisterOpenError`]: unreadable, unsigned, foreign, changed after signing, below the quorum,
/// without the commission, or faulty.
pub fn open(
    file: &Path,
    signatures: &Path,
    pins: &RegisterPins,
) -> Result<Register, RegisterOpenError> {
    let text = read_text(file)?;
    let of_signatures = |fault| RegisterOpenError::Signatures {
        path: signatures.into(),
        fault,
    };
    let jws = match read_text(signatures) {
        Err(RegisterOpenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(of_signatures(RegisterSignatureFault::Unsigned));
        }
        other => other?,
    };
    read_signed(text, jws, pins).map_err(|fault| match fault {
        SignedTextFault::Signatures(fault) => of_signatures(fault),
        SignedTextFault::Faults(faults) => RegisterOpenError::Faults {
            path: file.into(),
            faults,
        },
    })
}

/// Reads a register that was in force, with its signatures; `None` if it does not verify any more,
/// as after a change of the pins.
pub fn reopen(text: &str, signatures: &str, pins: &RegisterPins) -> Option<Register> {
    read_signed(text.to_owned(), signatures.to_owned(), pins).ok()
}

/// What is wrong with a register and its signatures.
enum SignedTextFault {
    Signatures(RegisterSignatureFault),
    Faults(Vec<Fault>),
}

fn read_signed(
    text: String,
    jws: String,
    pins: &RegisterPins,
) -> Result<Register, SignedTextFault> {
    let statement = verify(text.as_bytes(), &jws, pins).map_err(SignedTextFault::Signatures)?;
    let mut register = super::parse_beside(&text, pins.keys.iter().map(|pinned| pinned.key))
        .map_err(SignedTextFault::Faults)?;
    register.commission = pins
        .keys
        .iter()
        .filter(|pinned| pinned.body == pins.commission)
        .cloned()
        .collect();
    if RegisterStatement::of(&register) == statement {
        register.pins = Some(Arc::new(pins.clone()));
        register.signed = Some(Arc::new(SignedText {
            text,
            signatures: jws,
        }));
        Ok(register)
    } else {
        let fault = RegisterSignatureFault::Contradiction;
        Err(SignedTextFault::Signatures(fault))
    }
}

/// Verifies signatures over a register file's bytes and says what they state.
///
/// Signatures by keys that are not pinned are ignored, so that a new register key can sign before
/// everyone has pinned it.
///
/// # Errors
/// [`RegisterSignatureFault`].
pub fn verify(
    text: &[u8],
    signatures: &str,
    pins: &RegisterPins,
) -> Result<RegisterStatement, RegisterSignatureFault> {
    let signed = jws::parse(signatures, TYP)?;
    if signed.signers().next().is_none() {
        return Err(RegisterSignatureFault::Unsigned);
    }
    let pinned = |kid: &str| pins.keys.iter().find(|pinned| pinned.id.as_str() == kid);
    let check = SignatureCheck::of(&signed, |kid| {
        pinned(kid).map(|pinned| (pinned, &pinned.key))
    });
    if let Some(forged) = check.bad.as_ref().and_then(|bad| pinned(bad.kid())) {
        return Err(RegisterSignatureFault::Forged(forged.id.clone()));
    }
    let bodies: BTreeSet<_> = check.persons.iter().map(|pinned| &pinned.body).collect();
    let (have, need) = (check.persons.len(), pins.quorum.max(1));
    if have < need {
        let has = |pinned: &&PinnedKey| signed.signers().any(|kid| kid == pinned.id.as_str());
        let missing: Vec<_> = pins
            .keys
            .iter()
            .filter(|pinned| !has(pinned))
            .map(|pinned| pinned.id.as_str())
            .collect();
        return Err(RegisterSignatureFault::Quorum {
            have,
            need,
            missing: missing.join(", "),
        });
    }
    if !bodies.contains(&pins.commission) {
        return Err(RegisterSignatureFault::NoCommission(
            pins.commission.clone(),
        ));
    }
    if bodies.len() < LEAST_BODIES {
        return Err(RegisterSignatureFault::OneBody(pins.commission.clone()));
    }
    let statement = RegisterStatement::read(signed.payload()).map_err(|fault| match fault {
        JsonFault::Value { .. } => RegisterSignatureFault::Payload,
        form => RegisterSignatureFault::Malformed(form.into()),
    })?;
    if statement.deployment != pins.deployment {
        return Err(RegisterSignatureFault::Foreign {
            signed_for: statement.deployment,
            here: pins.deployment.clone(),
        });
    }
    if statement.digest != digest_of(text) {
        return Err(RegisterSignatureFault::OtherText {
            signed_version: statement.version,
        });
    }
    Ok(statement)
}

/// What signatures are over, without verifying any of them. `None` where the text is not a
/// register's signatures.
pub fn stated(signatures: &str) -> Option<RegisterStatement> {
    let signed = jws::parse(signatures, TYP).ok()?;
    RegisterStatement::read(signed.payload()).ok()
}

/// Signs a register that has no fault. Signatures over the same text are kept and the new one joins
/// them; signatures over another text (an earlier version) are replaced.
///
/// # Errors
/// The faults of the register, or why the signatures at hand cannot be added to.
pub fn sign(
    text: &str,
    signatures: Option<&str>,
    kid: &Id,
    key: &SigningKey,
) -> Result<String, RegisterSignError> {
    let register = super::parse(text).map_err(RegisterSignError::Faults)?;
    let payload = RegisterStatement::of(&register).payload();
    let draft = match signatures {
        Some(signatures) if jws::parse(signatures, TYP)?.payload() == payload => {
            signatures.to_owned()
        }
        _ => jws::draft(&payload),
    };
    Ok(jws::add_signature(&draft, TYP, kid.as_str(), key)?)
}

/// Why a register was not signed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterSignError {
    /// It has faults; all of them, in the order of the file.
    #[error("a register with faults is not signed")]
    Faults(Vec<Fault>),
    /// The signatures at hand are not a JWS, or the key's id signed already.
    #[error("the signatures at hand: {0}")]
    Jws(#[from] JwsError),
}

/// SHA-256 of a register file's bytes.
pub fn digest_of(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Reads a text file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// [`RegisterOpenError::Read`] when it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, RegisterOpenError> {
    let fault = |source| RegisterOpenError::Read {
        path: path.into(),
        source,
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Err(source) => Err(fault(source)),
        Ok(bytes) if bytes as u64 > MAX_FILE => Err(fault(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "longer than 4 MiB",
        ))),
        Ok(_) => Ok(text),
    }
}
