//! The register: the declared facts about sectors, clients, authorities and schemes. The law as
//! configuration.
//!
//! A [`Register`] value exists only after the whole file was validated and its signatures were
//! checked; every other room may therefore rely on it: names resolve, trees have no cycle, keys
//! belong to one person.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::code::Code;
use crate::identifier::Scheme;
use crate::pseudonym::{self, ParsedPseudonym};

mod authority;
mod build;
mod difference;
mod file;
mod frozen;
mod identity;
pub(crate) mod read;
pub mod sign;
mod suite;
mod unique;
mod validate;
mod value;

pub use crate::id::Id;
pub use crate::pseudonym::TextForm;
pub use difference::{RegisterChange, WrittenRegister};
pub use frozen::FrozenFact;
pub use identity::{QuotaShare, RegisteredIdentity, RegisteredVault};
pub use sign::{PinnedKey, RegisterOpenError, RegisterPins, RegisterSignatureFault, open, reopen};
pub use suite::Suite;
pub(crate) use value::AgeRecipient;

/// The fewest persons who may carry an order together, whatever the register says.
pub const LEAST_PERSONS: usize = 2;
/// The fewest bodies that they come from; the same for those who sign the register.
pub const LEAST_BODIES: usize = 2;

/// A fault of a register: where it is, what it is and what to write instead. Ordered by line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line in the file (from 1).
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Fault {
    /// The fault as people read it, with the file's name in front.
    pub fn in_file(&self, file: &Path) -> impl fmt::Display {
        format!(
            "{}:{}: {}\n    write instead: {}",
            file.display(),
            self.line,
            self.what,
            self.instead
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: {}\n    write instead: {}",
            self.line, self.what, self.instead
        )
    }
}

/// Reads and validates a register file's text as a whole. Says nothing about who signed it: see
/// [`open`].
///
/// # Errors
/// Every fault that it has, in the order of the file. A text that is not TOML is judged no further
/// than its syntax.
pub fn parse(text: &str) -> Result<Register, Vec<Fault>> {
    parse_beside(text, std::iter::empty())
}

/// Reads an Ed25519 public key as registers and configurations write it: 64 hexadecimal digits in
/// lower case.
///
/// # Errors
/// What is wrong ("is not …"): the digits, or a key for which others than its owner could sign.
pub fn public_key(text: &str) -> Result<VerifyingKey, String> {
    value::read_ed25519(&value::hex(text)?)
}

/// Like [`parse`], but the keys in `taken` are in use already: a register key must not sign orders
/// or requests too.
fn parse_beside(
    text: &str,
    taken: impl Iterator<Item = VerifyingKey>,
) -> Result<Register, Vec<Fault>> {
    let mut faults = read::Faults::new(text);
    let Some(file) = file::read(text, &mut faults) else {
        return Err(faults.into_sorted());
    };
    let schemes = validate::check(&file, taken, &mut faults);
    let faults = faults.into_sorted();
    if !faults.is_empty() {
        return Err(faults);
    }
    let digest = sign::digest_of(text.as_bytes());
    build::build(file, schemes, digest).ok_or_else(|| {
        let what =
            "the register could not be built; this is a fault of cloison's, not of the register"
                .to_owned();
        vec![Fault {
            line: 1,
            what,
            instead: "what stands here, and report this fault to cloison's makers".into(),
        }]
    })
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (DER): by which the register knows a TLS peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpkiDigest(pub [u8; 32]);

impl SpkiDigest {
    /// SHA-256 of no bytes: what a failed pipe into a digest leaves.
    pub const OF_NOTHING: [u8; 32] = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ];
}

impl fmt::Debug for SpkiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// A register's two files, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedText {
    /// `register.toml`
    pub text: String,
    /// `register.jws`: JWS General JSON.
    pub signatures: String,
}

/// The whole register, valid.
#[derive(Debug)]
pub struct Register {
    /// The deployment's id; an order's `aud`.
    pub deployment: Id,
    /// Only increases.
    pub version: u64,
    /// SHA-256 of the register file's bytes: what vault and node compare.
    pub digest: [u8; 32],
    /// Controllers (art. 1 of law 09-08) whose systems are clients.
    pub organisations: BTreeMap<Id, Organisation>,
    /// Declared purposes: code → title.
    pub purposes: BTreeMap<Id, String>,
    /// Identifier schemes.
    pub schemes: BTreeMap<Id, Arc<Scheme>>,
    /// Sectors by name.
    pub sectors: BTreeMap<String, Arc<Sector>>,
    /// Sector systems by certificate key.
    pub clients: BTreeMap<SpkiDigest, Arc<RegisteredClient>>,
    /// Bodies that may re-identify.
    pub authorities: BTreeMap<Id, Arc<Authority>>,
    /// Those who run the vault: certificate key → operator.
    pub operators: BTreeMap<SpkiDigest, Operator>,
    /// Those who may read the logs: certificate key → id.
    pub auditors: BTreeMap<SpkiDigest, Id>,
    /// Those who execute people's rights: id → person.
    pub rights_officers: BTreeMap<Id, Arc<RightsOfficer>>,
    /// Those who watch the logs and cosign their checkpoints: id → Ed25519 key.
    pub witnesses: BTreeMap<Id, VerifyingKey>,
    /// For how many days the tags of look-ups, releases and reveals are kept: they are evidence of
    /// who looked at whom.
    pub evidence_days: u32,
    /// The key (Ed25519) that signs the checkpoints of the vault's log.
    pub vault_checkpoint_key: Option<VerifyingKey>,
    /// The vault as a caller of identity sources; `None` where the register does not state its
    /// certificate.
    pub vault: Option<RegisteredVault>,
    /// Processes of other bodies that hold the identity secret; empty where the vault holds it.
    pub identities: BTreeMap<Id, Arc<RegisteredIdentity>>,
    /// The commission's register keys, from this side's own configuration and not from the
    /// register: who decides on inspections. Empty where the register was read without its
    /// signatures.
    pub commission: Vec<PinnedKey>,
    /// All pinned register keys and their quorum, also from the configuration. None where the
    /// register was read without its signatures.
    pub pins: Option<Arc<RegisterPins>>,
    /// Certificate key → the last day (UTC) on which its entry is in force, where the entry has
    /// `until`.
    pub key_terms: BTreeMap<SpkiDigest, Date>,
    /// Text and signatures as they were read. None where the register was read without its
    /// signatures.
    pub signed: Option<Arc<SignedText>>,
    /// The facts that must not change after their first use.
    frozen: Vec<FrozenFact>,
}

impl Register {
    /// The shortest retention of a sector, in years; `None` without a sector.
    pub fn shortest_retention_years(&self) -> Option<u32> {
        self.sectors.values().map(|s| s.retention_years).min()
    }

    /// The sector of that name.
    pub fn sector(&self, name: &str) -> Option<&Arc<Sector>> {
        self.sectors.get(name)
    }

    /// Whether the entry of a certificate's key has ended: its last day (UTC) is over at `now`.
    /// Gives that day. An ended entry still names its holder in the log.
    pub fn ended(&self, key: SpkiDigest, now: Timestamp) -> Option<Date> {
        let until = *self.key_terms.get(&key)?;
        is_over(until, now).then_some(until)
    }

    /// Whether the register knows an actor of that id.
    pub fn names(&self, id: &str) -> bool {
        let Some(id) = &Id::parse(id) else {
            return false;
        };
        let of_authority = |authority: &Arc<Authority>| {
            authority.id == *id
                || authority.officers.contains_key(id)
                || authority.custodians.contains_key(id)
                || authority.approvers.contains_key(id)
        };
        self.clients.values().any(|client| client.id == *id)
            || self.organisations.contains_key(id)
            || self.operators.values().any(|operator| operator.id == *id)
            || self.auditors.values().any(|known| *known == *id)
            || self.rights_officers.contains_key(id)
            || self.authorities.values().any(of_authority)
            || self.callers().any(|(caller, _)| caller == id)
    }

    /// Every entry with a certificate's key, by the id under which the log names its holder. A node
    /// has the id of its authority.
    pub fn callers(&self) -> impl Iterator<Item = (&Id, SpkiDigest)> {
        let clients = self.clients.iter().map(|(key, client)| (&client.id, *key));
        let operators = self.operators.iter().map(|(key, known)| (&known.id, *key));
        let auditors = self.auditors.iter().map(|(key, id)| (id, *key));
        let rights = self.rights_officers.values();
        let rights = rights.map(|officer| (&officer.id, officer.certificate));
        let of_authorities = self.authorities.values().flat_map(|authority| {
            let officers = authority.officers.values();
            let officers = officers.map(|officer| (&officer.id, officer.certificate));
            let custodians = authority.custodians.values();
            let custodians = custodians.map(|custodian| (&custodian.id, custodian.certificate));
            std::iter::once((&authority.id, authority.node))
                .chain(officers)
                .chain(custodians)
        });
        let vault = self
            .vault
            .iter()
            .map(|vault| (&vault.id, vault.certificate));
        let of_identities = self.identities.values().flat_map(|identity| {
            let custodians = identity.custodians.values();
            std::iter::once((&identity.id, identity.certificate))
                .chain(custodians.map(|custodian| (&custodian.id, custodian.certificate)))
        });
        clients
            .chain(operators)
            .chain(auditors)
            .chain(rights)
            .chain(of_authorities)
            .chain(vault)
            .chain(of_identities)
    }

    /// Whether an entry with a certificate's key has that id: one that can be shut out.
    pub fn has_caller(&self, id: &Id) -> bool {
        self.callers().any(|(caller, _)| caller == id)
    }

    /// The keys to which a sector's segments are sealed: every key of every authority that is
    /// competent in it, with the authority that it is of.
    pub fn recipients<'r>(
        &'r self,
        sector: &'r Sector,
    ) -> impl Iterator<Item = (&'r Authority, &'r AuthorityKey)> {
        let competent = sector
            .authorities
            .iter()
            .filter_map(|id| self.authorities.get(id));
        competent.flat_map(|authority| authority.keys.iter().map(move |key| (&**authority, key)))
    }
}

/// Whether a last day (UTC) is over at `now`.
pub fn is_over(until: Date, now: Timestamp) -> bool {
    now.to_zoned(TimeZone::UTC).date() > until
}

/// An organisation: a controller, with the quota that all its certificates share.
#[derive(Debug, Clone)]
pub struct Organisation {
    /// Stable id; the `controller` granularity value.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// What it may ask for.
    pub quota: Quota,
}

/// How many items an organisation may send, over all its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Items a second (a bucket that holds ten seconds' worth).
    pub items_per_second: u64,
    /// Items a day (UTC).
    pub items_per_day: u64,
}

/// A node of the sector tree.
#[derive(Debug, Clone)]
pub struct Sector {
    /// Stable identity; what keys derive from.
    pub uuid: Uuid,
    /// Dotted name, e.g. `health.chu-rabat`; may change.
    pub name: String,
    /// Human-readable part of the bech32m form: `[a-z]{2,12}`.
    pub tag: String,
    /// UUIDs from the top-level sector down to this one (never empty; the last is `uuid`).
    pub path: Vec<Uuid>,
    /// What separates domains inside the sector.
    pub granularity: Granularity,
    /// How its pseudonyms are written.
    pub text_form: TextForm,
    /// How they were written in earlier epochs, where that was otherwise: orders may still name
    /// them so.
    pub former_text_forms: Vec<TextForm>,
    /// Whether mappings are stored at all.
    pub reversible: bool,
    /// Schemes that the sector accepts.
    pub schemes: Vec<Id>,
    /// Purposes declared for the sector.
    pub purposes: Vec<Id>,
    /// Competent authorities; any one of them suffices. Empty only where `reversible` is false.
    pub authorities: Vec<Id>,
    /// Days during which an advanced epoch's predecessor is still answered (`?previous=true`) and
    /// accepted.
    pub epoch_overlap_days: u32,
    /// Days during which the previous period may still be named.
    pub period_grace_days: u32,
    /// Years that mappings are kept.
    pub retention_years: u32,
    /// What art. 27 of decree 2-09-165 asks a request for authorisation to state.
    pub declaration: Declaration,
}

impl Sector {
    /// Reads a pseudonym of any epoch: in the present text form, or in one of the former ones. No
    /// text has two forms.
    ///
    /// # Errors
    /// Those of [`pseudonym::parse`] in the present form, or in the one former form that the text
    /// has the shape of.
    pub fn parse_pseudonym(&self, text: &str) -> Result<ParsedPseudonym, Code> {
        let present = pseudonym::parse(self.text_form, &self.tag, text);
        let former = || {
            self.former_text_forms
                .iter()
                .map(|form| pseudonym::parse(*form, &self.tag, text))
        };
        match present {
            Err(Code::PseudonymMalformed) => former()
                .find(|read| *read != Err(Code::PseudonymMalformed))
                .unwrap_or(present),
            read => read,
        }
    }
}

/// Which parts of a request separate domains inside one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Granularity {
    /// Each client organisation gets its own pseudonyms.
    pub controller: bool,
    /// Each declared purpose gets its own pseudonyms.
    pub purpose: bool,
    /// Each year or month gets its own pseudonyms.
    pub period: Option<PeriodLength>,
}

/// Length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeriodLength {
    /// `2026`
    Year,
    /// `2026-11`
    Month,
}

/// What a request for authorisation states (decree 2-09-165, art. 27) and how it was decided (art.
/// 28).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Declaration {
    /// The controller responsible, with its address.
    pub controller: String,
    /// What the processing is for.
    pub purpose: String,
    /// Categories of persons concerned.
    pub persons: String,
    /// Categories of data that the sector attaches to its pseudonyms.
    pub data: String,
    /// Recipients.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Transfers abroad (art. 46 to 50), as States (ISO 3166 alpha-3).
    #[serde(default)]
    pub transfers: Vec<String>,
    /// The day the request was received, `YYYY-MM-DD`.
    pub received: jiff::civil::Date,
    /// The day to which the examination was extended.
    #[serde(default)]
    pub extended: Option<jiff::civil::Date>,
    /// The day it was decided.
    pub decided: jiff::civil::Date,
    /// Explicitly, or by silence.
    pub decision: DeclarationDecision,
}

/// How an authorisation was decided (art. 28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclarationDecision {
    /// By a written decision.
    Explicit,
    /// By the end of the time limit.
    Tacit,
}

/// A sector system.
#[derive(Debug, Clone)]
pub struct RegisteredClient {
    /// Stable id, for the audit log.
    pub id: Id,
    /// Its controller.
    pub organisation: Id,
    /// Sectors, exactly; never their children.
    pub sectors: Vec<String>,
    /// What it may do.
    pub operations: Vec<Operation>,
    /// Purposes that it may name.
    pub purposes: Vec<Id>,
    /// The X25519 public key (HPKE, 32 bytes) to which pairs of a migration are sealed for it;
    /// present if it may `migrate`.
    pub migration_key: Option<[u8; 32]>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Ask for pseudonyms.
    Tokenize,
    /// Fetch the pairs (old pseudonym, new one) of a migration.
    Migrate,
    /// Retire a closed epoch of its sectors.
    RetireEpoch,
}

impl Operation {
    /// The spelling in the register.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Tokenize => "tokenize",
            Operation::Migrate => "migrate",
            Operation::RetireEpoch => "retire-epoch",
        }
    }
}

/// A body that may re-identify.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Stable id.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// Public keys to which segments are sealed, each of them. Two at once are one key being
    /// renewed by the other.
    pub keys: Vec<AuthorityKey>,
    /// Its node's certificate key.
    pub node: SpkiDigest,
    /// The key (Ed25519) that signs the checkpoints of its node's log.
    pub checkpoint_key: Option<VerifyingKey>,
    /// How many approvers must sign (at least two).
    pub quorum: usize,
    /// The quorum for force majeure, if it has its own (at least two).
    pub force_majeure_quorum: Option<usize>,
    /// The quorum for continuity (at least two); `None`: the authority may not order a migration.
    pub continuity_quorum: Option<usize>,
    /// The most pseudonyms that a statutory order may allow without listing them; `None`: it must
    /// list them.
    pub statutory_limit: Option<u64>,
    /// The longest validity of an order, in hours.
    pub max_hours: u32,
    /// The most pseudonyms that may be asked for in an hour (UTC), under all its orders together.
    pub releases_per_hour: u64,
    /// The most mappings that may be migrated in an hour (UTC), under all its orders together.
    pub migrations_per_hour: u64,
    /// Who signs its orders.
    pub approvers: BTreeMap<Id, Approver>,
    /// Who executes them.
    pub officers: BTreeMap<Id, Officer>,
    /// Who holds shares of its private keys, if these are split.
    pub custodians: BTreeMap<Id, Custodian>,
}

/// A public key of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityKey {
    /// Stable id; bound into every segment.
    pub id: Id,
    /// The suite that it belongs to.
    pub suite: Suite,
    /// The HPKE public key: 32 bytes (X25519) or 1216 (X-Wing).
    pub public: Vec<u8>,
}

/// A person who signs orders.
#[derive(Debug, Clone)]
pub struct Approver {
    /// Stable id; the `kid` of the signature.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// The body that the person belongs to.
    pub body: Id,
    /// Ed25519.
    pub key: VerifyingKey,
}

/// A person who holds a share of an authority's private key, or of an identity source's secret, and
/// brings it there.
#[derive(Debug, Clone)]
pub struct Custodian {
    /// Stable id; stands in the share.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// The certificate key with which the custodian reaches node or identity source.
    pub certificate: SpkiDigest,
}

/// A person, or a team, that runs the vault.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Stable id; the `kid` of the signatures.
    pub id: Id,
    /// Ed25519, for statements on what is destroyed; `None` if they sign none.
    pub key: Option<VerifyingKey>,
}

/// A person who executes people's rights (law 09-08, art. 7 to 9) in some sectors.
#[derive(Debug, Clone)]
pub struct RightsOfficer {
    /// Stable id; the `kid` of the person's signatures.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// Ed25519.
    pub key: VerifyingKey,
    /// The certificate key with which the person reaches vault and node.
    pub certificate: SpkiDigest,
    /// Sectors, exactly; never their children.
    pub sectors: Vec<String>,
}

/// A person who executes orders.
#[derive(Debug, Clone)]
pub struct Officer {
    /// Stable id; the `kid` of the signature on a request.
    pub id: Id,
    /// Display name.
    pub name: String,
    /// Ed25519.
    pub key: VerifyingKey,
    /// The certificate key with which the officer reaches the node.
    pub certificate: SpkiDigest,
    /// The key that answers are sealed to, if the officer has one: an age X25519 recipient
    /// (`age1…`).
    pub sealing_key: Option<String>,
}
