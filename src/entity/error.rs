//! Why an entity does not start: one list for all sides, because operators read one
//! (docs/operations.md, "What an error at start means").

use crate::audit::log::LogError;
use crate::clock::ClockBehind;
use crate::code::Code;
use crate::register::{Fault, Id};
use crate::seal::SealError;
use crate::store::StoreError;

/// Why a side does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open, or is not ours.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The register is older than one that was in force.
    #[error(
        "register version {found} is older than version {seen}, which was in force; take the newer one"
    )]
    RegisterOlder {
        /// Version of the file.
        found: u64,
        /// Version in force before.
        seen: u64,
    },
    /// Another register of the same version was in force.
    #[error("another register of version {0} was in force; a change needs a higher version")]
    RegisterChanged(u64),
    /// The register changes what is frozen since its first use.
    #[error("the register changes what is frozen since its first use:{}", list(.0))]
    Frozen(Vec<Fault>),
    /// The register changes what only a new epoch may change.
    #[error(
        "the register changes granularity, text form or reversibility of sector {0}, which needs a new epoch; \
         start once with --advance {0}"
    )]
    TermsChanged(String),
    /// A new epoch would end an overlap, and the start was not told to end it.
    #[error(
        "epoch {epoch} of sector {sector} is still answered beside the present one, and a new epoch ends that for good; \
         wait until its overlap is over, or start once with --advance {sector}:{epoch}"
    )]
    EpochOverlaps {
        /// Sector name.
        sector: String,
        /// The epoch that still overlaps.
        epoch: u32,
    },
    /// The register forgets a text form that an epoch still has.
    #[error(
        "an epoch of sector {sector} has the text form {form}, which the register does not name; \
         add former-text-forms = [\"{form}\"] to it, so that orders can still name pseudonyms of that epoch"
    )]
    FormerTextForm {
        /// Sector name.
        sector: String,
        /// The form.
        form: &'static str,
    },
    /// The identity secret is not the one from which the store's pseudonyms derive.
    #[error(
        "the identity secret is not the one from which the pseudonyms in this store derive; \
         give the vault, or its identity source, the right one: every pseudonym would be another"
    )]
    OtherIdentity,
    /// The store is new, and no identity source says which secret its pseudonyms will derive from.
    #[error(
        "{0}. The first start of a vault needs one, which says from which secret its pseudonyms will derive"
    )]
    NoIdentity(String),
    /// A sector that is to have a new epoch is not in the register.
    #[error("the register knows no sector {0} to advance")]
    UnknownSector(String),
    /// The secret version that an epoch derives from is missing.
    #[error(
        "sector secret version {version}, from which epoch {epoch} of {sector} derives, is not here"
    )]
    SecretMissing {
        /// Sector name.
        sector: String,
        /// Its epoch.
        epoch: u32,
        /// The absent version.
        version: u32,
    },
    /// Secrets cannot be read or made.
    #[error("sector secrets: {0}")]
    SectorSecrets(String),
    /// A chunk does not open: wrong storage secret, or a damaged store.
    #[error(
        "chunk {sequence} of sector number {sector}, epoch {epoch} does not open: {source}; is this the right store secret?"
    )]
    Chunk {
        /// Sector number.
        sector: u32,
        /// Epoch.
        epoch: u32,
        /// Sequence.
        sequence: u32,
        /// Why.
        source: SealError,
    },
    /// An order's copy of a mapping does not open.
    #[error("a copy that an order keeps does not open: {0}; is this the right store secret?")]
    Copy(SealError),
    /// The register does not know the authority for which this node is configured.
    #[error("the register knows no authority {0}")]
    UnknownAuthority(Id),
    /// The register does not know the identity source for which this process is configured.
    #[error("the register knows no identity source {0}")]
    UnknownIdentity(Id),
    /// An authority's private key does not fit the register.
    #[error("the private key {0} is not one that the register states for this authority")]
    AuthorityKey(String),
    /// Not enough of a key's custodians are in the register to unseal it.
    #[error(
        "{able} custodians of the key {key} are in the register, and it takes {threshold} of them"
    )]
    Custodians {
        /// The key's id.
        key: String,
        /// How many of the set's custodians the register knows.
        able: usize,
        /// How many shares it takes.
        threshold: usize,
    },
    /// A new epoch would begin while the clock is behind its mark.
    #[error("a sector is to have a new epoch, and {0}")]
    Clock(ClockBehind),
    /// The log cannot be continued.
    #[error(transparent)]
    Log(LogError),
    /// The register states another key for the log's checkpoints.
    #[error(
        "the key that signs checkpoints (`[secrets] checkpoint`) is not the one that the register states"
    )]
    CheckpointKey,
    /// The register adds, removes or renews another side's key of checkpoints, in a running
    /// process.
    #[error(
        "the register adds, removes or renews a key by which another side signs its checkpoints, and who cosigns whom is set up at a start; \
         restart with this register"
    )]
    PeersChanged,
    /// Nothing can be logged.
    #[error("the audit log takes no entry ({0}); a vault does not start without one")]
    Audit(Code),
}

impl StartError {
    /// The stable code of a fault of a register.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RegisterOlder { .. } => "register-older",
            Self::RegisterChanged(_) => "register-changed",
            Self::Frozen(_) => "register-frozen",
            Self::TermsChanged(_) => "register-terms",
            Self::EpochOverlaps { .. } => "register-overlap",
            Self::FormerTextForm { .. } => "register-text-form",
            Self::UnknownSector(_) => "register-sector",
            Self::UnknownAuthority(_) => "register-authority",
            Self::UnknownIdentity(_) => "register-identity",
            Self::AuthorityKey(_) => "register-authority-key",
            Self::Custodians { .. } => "register-custodians",
            Self::CheckpointKey => "register-checkpoint-key",
            Self::PeersChanged => "register-restart",
            Self::SecretMissing { .. } | Self::SectorSecrets(_) | Self::OtherIdentity => {
                "secret-missing"
            }
            Self::NoIdentity(_) => "identity-unavailable",
            Self::Clock(_) => "clock-behind",
            Self::Audit(_) => "audit-unavailable",
            Self::Store(_) | Self::Chunk { .. } | Self::Copy(_) | Self::Log(_) => "internal",
        }
    }

    /// The first of several faults: a start stops at it.
    pub(crate) fn first(faults: Vec<Self>) -> Self {
        let mut faults = faults.into_iter();
        faults.next().expect("what failed names a fault")
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Store(error) => Self::Store(error),
            error => Self::Log(error),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
