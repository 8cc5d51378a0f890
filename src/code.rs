//! The closed list of outward codes.
//!
//! A code is a promise: clients branch on it, so it never changes its meaning and never carries
//! data. Each room maps its own errors to these; `http::problem` gives them a status and a title,
//! and nothing else does.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A stable outward code: of a refused request, or of one refused item in an accepted one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The spelling that clients see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The code of that spelling.
            pub fn parse(text: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.as_str() == text)
            }
        }
    };
}

codes! {
    // --- the request as such
    /// The body is not the JSON that the operation takes.
    MalformedBody = "malformed-body",
    /// The content type is neither `application/json` nor, if the operation takes it,
    /// `text/plain`.
    UnsupportedMediaType = "unsupported-media-type",
    /// More bytes or items than a request may have.
    TooLarge = "too-large",
    /// The body did not arrive in time.
    RequestTimeout = "request-timeout",
    /// A batch without an item.
    EmptyBatch = "empty-batch",
    /// A query parameter is unknown, or its value is not allowed.
    BadParameter = "bad-parameter",
    /// No such path or method for this caller.
    NotFound = "not-found",
    /// The path exists, the method does not.
    MethodNotAllowed = "method-not-allowed",

    // --- who asks
    /// The certificate's key is not in the register.
    UnknownClient = "unknown-client",
    /// The register's entry for the certificate's key has ended: its `until` has passed.
    KeyEnded = "key-ended",
    /// The caller is known but may not do this.
    Forbidden = "forbidden",
    /// The request is a web page's: it has an `Origin`, or a `Sec-Fetch-Site` other than `none`.
    BrowserRefused = "browser-refused",
    /// No such sector, or none that this caller may know of.
    UnknownSector = "unknown-sector",
    /// The sector does not accept this scheme.
    UnknownScheme = "unknown-scheme",
    /// The purpose is not declared for this sector and client, or missing where the granularity
    /// needs it.
    UnknownPurpose = "unknown-purpose",
    /// The register's entry for this caller is suspended.
    Suspended = "suspended",
    /// So much of this log was brought today (UTC) that no more is taken; `Retry-After` says when
    /// to come back.
    LogLimit = "log-limit",
    /// The organisation's quota of items is used up; `Retry-After` says when to come back.
    QuotaExceeded = "quota-exceeded",
    /// The named epoch or period is closed, not yet open, or unknown.
    DomainClosed = "domain-closed",
    /// The sector is not reversible: it stores no mapping and has nothing to release.
    Irreversible = "irreversible",
    /// The epoch is the current one, or its overlap lasts: it cannot be retired.
    EpochOpen = "epoch-open",
    /// The epoch was retired by its sector: its mappings are gone.
    EpochRetired = "epoch-retired",
    /// The sector's current epoch is not the one that the call names.
    EpochNotCurrent = "epoch-not-current",
    /// The epoch before still overlaps, and the call does not end that.
    EpochOverlaps = "epoch-overlaps",
    /// Mappings of the epoch were never migrated, and the call does not give them up.
    EpochUnmigrated = "epoch-unmigrated",
    /// The vault was restored without places, and nobody has confirmed the sector's epoch yet.
    EpochUnconfirmed = "epoch-unconfirmed",

    // --- one identifier
    /// Nothing but separators, or nothing at all.
    IdentifierEmpty = "identifier-empty",
    /// Longer than any scheme allows.
    IdentifierTooLong = "identifier-too-long",
    /// Not a string: `null`, a number, a list, …
    IdentifierNotText = "identifier-not-text",
    /// The line is not UTF-8.
    IdentifierNotUtf8 = "identifier-not-utf8",
    /// A control character other than a tab.
    IdentifierControl = "identifier-control-character",
    /// A character beyond ASCII that is neither a space nor full-width: a direction mark, a digit
    /// of another script.
    IdentifierCharacter = "identifier-character",
    /// The canonical form does not match the scheme's pattern.
    IdentifierPattern = "identifier-pattern",
    /// The check digit is wrong.
    IdentifierCheckDigit = "identifier-check-digit",

    // --- one pseudonym
    /// Not the one canonical spelling of a pseudonym in this sector's text form.
    PseudonymMalformed = "pseudonym-malformed",
    /// The checksum does not match: a typing error.
    PseudonymChecksum = "pseudonym-checksum",
    /// The tag is another sector's.
    PseudonymOtherSector = "pseudonym-other-sector",
    /// The sector has no such epoch.
    PseudonymUnknownEpoch = "pseudonym-unknown-epoch",
    /// The vault holds no mapping for this pseudonym.
    NoMapping = "no-mapping",
    /// A mapping or its segment did not open or does not belong where it lay.
    MappingInvalid = "mapping-invalid",

    // --- orders
    /// Not a JWS of the strict form that orders have.
    OrderMalformed = "order-malformed",
    /// A signature does not verify, or its signer is not one of the authority's approvers.
    OrderSignature = "order-signature",
    /// Fewer signatures than the quorum, or all from one body.
    OrderQuorum = "order-quorum",
    /// The order is for another deployment.
    OrderAudience = "order-audience",
    /// The order is of an authority that is unknown, or not competent for the sector, or not this
    /// node's.
    OrderAuthority = "order-authority",
    /// The order is not valid yet.
    OrderNotYetValid = "order-not-yet-valid",
    /// The order is no longer valid.
    OrderExpired = "order-expired",
    /// Another payload was seen under this order id.
    OrderConflict = "order-conflict",
    /// The order breaks a rule of the register (legal basis, length, limit).
    OrderRule = "order-rule",
    /// The officer's request does not verify, is stale, or does not match the call that carried it.
    RequestInvalid = "request-invalid",
    /// The sector or pseudonym is not in the order.
    OutOfScope = "out-of-scope",
    /// The order's limit would be exceeded.
    LimitReached = "limit-reached",
    /// Vault and node hold different registers.
    RegisterMismatch = "register-mismatch",
    /// Vault and node are of versions that do not understand one another.
    WireVersion = "wire-version",
    /// The order was revoked.
    OrderRevoked = "order-revoked",
    /// The order is suspended.
    OrderSuspended = "order-suspended",
    /// The order was issued before this side was restored without places, or does not say when.
    OrderBeforeRestore = "order-before-restore",
    /// No order of that id was seen here.
    UnknownOrder = "unknown-order",
    /// Not a signed act upon an order, or not one that its signers may do.
    ActInvalid = "act-invalid",
    /// The officer's request was answered already: a new one has to be signed.
    RequestReplayed = "request-replayed",
    /// The authority has asked for as many pseudonyms as it may within the hour; `Retry-After` says
    /// when to come back.
    ReleaseRate = "release-rate",
    /// A signer has brought as many acts upon orders as one signer may in a day; `Retry-After` says
    /// when to come back.
    ActRate = "act-rate",
    /// Vault and node do not yet have each other's acts upon orders.
    OutOfStep = "out-of-step",
    /// The register has no key to which an answer to this officer could be sealed.
    NoDeliveryKey = "no-delivery-key",
    /// The register has no sector system with a key to which the pairs of a migration could be
    /// sealed.
    NoMigrationKey = "no-migration-key",

    // --- custody
    /// The node is sealed: it holds no key and opens nothing.
    Sealed = "sealed",
    /// Not a share, not a share of the custodian who brings it, or it does not fit the commitments
    /// of its set.
    ShareInvalid = "share-invalid",
    /// The share is of another set: of another key, or of an earlier or later splitting.
    ShareForeign = "share-foreign",

    // --- inspections and people's rights
    /// Not a decision of the commission on an inspection, or not one that this side accepts.
    InspectionInvalid = "inspection-invalid",
    /// No inspection that is open now names this auditor.
    InspectionRequired = "inspection-required",
    /// No inspection of that id was entered here.
    UnknownInspection = "unknown-inspection",
    /// The rights officer has made as many look-ups as one officer may in a day; `Retry-After` says
    /// when to come back.
    LookUpLimit = "look-up-limit",
    /// Not a request that two rights officers of the sector signed.
    RightsInvalid = "rights-invalid",
    // --- destruction
    /// The request destroys something and needs a signed statement.
    StatementRequired = "statement-required",
    /// Not a statement that operators signed for exactly this, or not a fresh one.
    StatementInvalid = "statement-invalid",
    // --- renewal
    /// There is no such version of the sector secret, and never was.
    UnknownSecret = "unknown-secret",
    /// An epoch still needs this version of the sector secret, or the next epochs will.
    SecretNeeded = "secret-needed",
    /// No operator has confirmed yet that the custody of this version of the sector secret holds it
    /// off the machine.
    SecretUnconfirmed = "secret-unconfirmed",
    /// The custody of the sector secrets cannot be written from here.
    SecretReadOnly = "secret-read-only",
    /// The register and the segment do not confirm a recipient that is to be added, or the proof of
    /// one.
    RecipientInvalid = "recipient-invalid",

    // --- the register
    /// The register that lies there has faults: the one before stays in force.
    RegisterRefused = "register-refused",
    /// No such register was in force here, or it was not kept.
    UnknownRegister = "unknown-register",

    // --- backups
    /// Another backup is being taken, verified or pruned.
    BackupRunning = "backup-running",
    /// No backup can be taken or read: none is configured, or the repository cannot be used now.
    BackupUnavailable = "backup-unavailable",
    /// The backup, or another one beside it, is not good.
    BackupDamaged = "backup-damaged",
    /// There is no such backup.
    UnknownBackup = "unknown-backup",

    // --- the other side and ourselves
    /// Too much work is waiting; `Retry-After` says when to come back.
    Overloaded = "overloaded",
    /// No entry can be logged, so nothing is done.
    AuditUnavailable = "audit-unavailable",
    /// This side was restored without places, and lost erasures were not lodged again yet.
    ErasuresMissing = "erasures-missing",
    /// Too few places off this machine hold the act yet.
    JournalUnavailable = "journal-unavailable",
    /// The other entity (vault or node) does not answer, or gave no valid answer.
    PeerUnavailable = "peer-unavailable",
    /// No identity source answers, or none gave a valid answer; `Retry-After` says when to come
    /// back.
    IdentityUnavailable = "identity-unavailable",
    /// The vault's log shows no entry of that name with which it went on after a restore.
    UnknownResume = "unknown-resume",
    /// The vault's proof that it logged the release does not hold, or its log is not the one that
    /// was seen before.
    ProofInvalid = "proof-invalid",
    /// The other entity has not cosigned this log within five minutes, so nothing is released.
    CosignatureMissing = "cosignature-missing",
    /// The clock is behind a time that was already seen.
    ClockBehind = "clock-behind",
    /// An internal fault. The log says more, without naming a person.
    Internal = "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Code::parse(&text).ok_or_else(|| serde::de::Error::custom("not a code"))
    }
}
