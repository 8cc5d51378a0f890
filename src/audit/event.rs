//! What entries say: the closed list of events.

use serde::Serialize;

use super::details::{
    AccessDetails, ClockLowerDetails, CustodyDetails, EraseDetails, InspectionDetails,
    LookUpDetails, MigrationPageDetails, OpenedEpoch, OrderActDetails, OrderLodgeDetails,
    ReidentifyDetails, SegmentsDetails, StatementNote, TokenizeDetails, UtisDetails,
};
use crate::code::Code;
use crate::id::Id;

/// What an entry says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum AuditEvent {
    /// The process began to serve.
    Start {
        /// `vault`, `node` or `identity`.
        entity: &'static str,
        /// Version of the program.
        program: &'static str,
        /// Version of the register in force.
        register_version: u64,
        /// SHA-256 of the register in force, hex.
        register_digest: String,
        /// Epochs that this start opened: the first epochs of new sectors, and epochs that a
        /// changed register needed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        opened: Vec<OpenedEpoch>,
    },
    /// Another register came into force while the process ran.
    Register {
        /// The operator, officer or custodian who asked for it; `signal` for a SIGHUP.
        actor: String,
        /// Version of the register that is in force from here on.
        register_version: u64,
        /// Its SHA-256, hex.
        register_digest: String,
        /// Version of the register that was in force before.
        before_version: u64,
        /// Its SHA-256, hex.
        before_digest: String,
        /// The first epochs of new sectors.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        opened: Vec<OpenedEpoch>,
    },
    /// A backup of the store was begun; it holds this entry.
    Backup {
        /// The operator or custodian who asked for it; `timer` for one that the server takes
        /// itself.
        actor: String,
        /// Its id.
        backup: String,
    },
    /// An entry of the register was suspended, or its suspension was lifted.
    Suspension {
        /// `suspend` or `lift`.
        act: &'static str,
        /// Who brought the statement.
        bearer: String,
        /// The id of the register entry.
        entry: Id,
        /// Why, as one of the closed list.
        reason: String,
        /// Who signed.
        signers: Vec<Id>,
        /// The statement's id.
        statement: String,
    },
    /// The first entry of a shard that follows another one.
    Continue {
        /// The last checkpoint of the shard before, signed.
        checkpoint: String,
    },
    /// The first entry of the shard in which the log continues after a restore that lost entries.
    Resume {
        /// The last checkpoint that was published before, signed: it covers entries that are lost.
        lost: String,
        /// The shard that the restored store ended with.
        kept: String,
        /// How many entries of it there are.
        kept_entries: u64,
        /// The Merkle root over them, hex.
        kept_root: String,
    },
    /// The store was restored although no place held the log after its backup, or the log went on
    /// from a copy of the store that others have seen longer.
    RestoreWithoutPlaces {
        /// The backup's id; absent for a copy.
        #[serde(skip_serializing_if = "Option::is_none")]
        backup: Option<String>,
        /// When the backup was taken, RFC 3339.
        #[serde(skip_serializing_if = "Option::is_none")]
        taken: Option<String>,
        /// When that was: orders that were not issued later are over.
        restored: String,
        /// The reference of the case in which it was decided to restore the backup.
        #[serde(skip_serializing_if = "Option::is_none")]
        case: Option<String>,
        /// The statement that allowed that.
        #[serde(flatten)]
        statement: Option<StatementNote>,
    },
    /// After such a restore: two operators confirmed a sector's epoch, or that lost erasures were
    /// lodged again.
    RestoreConfirm {
        /// Who brought the statement.
        operator: Id,
        /// `epoch` or `erasures`.
        what: &'static str,
        /// Sector name, for `epoch`.
        #[serde(skip_serializing_if = "Option::is_none")]
        sector: Option<String>,
        /// The epoch.
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u32>,
        /// The statement that allowed it.
        #[serde(flatten)]
        statement: StatementNote,
    },
    /// State changed in a commit that describes no request; the member `journal` names the record.
    Journal,
    /// The second place was empty although checkpoints of this log were published, and the log
    /// continues.
    SecondLost {
        /// The last checkpoint that the store has, signed. A later one may have been published.
        checkpoint: String,
    },
    /// Two operators had the clock's high-water mark lowered: the clock once ran ahead.
    ClockLower(Box<ClockLowerDetails>),
    /// An officer or custodian has acknowledged that the vault's log continued after a restore that
    /// lost entries.
    AcknowledgeResume {
        /// The officer or custodian.
        actor: Id,
        /// The log that continues.
        log: String,
        /// Leaf hash of its first entry, hex.
        entry: String,
        /// The log that lost entries.
        lost_log: String,
        /// How many it had.
        lost_entries: u64,
        /// How many are left.
        kept_entries: u64,
    },
    /// A batch, or the single-item requests of one client within one commit.
    Tokenize(Box<TokenizeDetails>),
    /// Requests that were refused as a whole.
    Refuse {
        /// Client, operator, authority or officer id; `unknown` for a certificate that the register
        /// does not know.
        actor: String,
        /// What was asked for, e.g. `tokenize`.
        operation: &'static str,
        /// Why it was refused.
        code: Code,
        /// How many requests within one second.
        count: u64,
    },
    /// A sector's epoch was advanced.
    EpochAdvance {
        /// Who did it.
        operator: Id,
        /// Sector name.
        sector: String,
        /// The new epoch.
        epoch: u32,
        /// The version of the sector secret that it derives from.
        secret_version: u32,
        /// Whether no other epoch uses that version.
        own_secret: bool,
        /// The earlier epoch whose overlap this ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        ended_overlap: Option<u32>,
        /// The statement that allowed it, if one was needed.
        #[serde(flatten)]
        statement: Option<StatementNote>,
    },
    /// A new version of the sector secret was made, for the next epochs.
    SecretRotate {
        /// The operator who asked for it.
        operator: Id,
        /// The new version.
        version: u32,
        /// The sector for whose next epoch alone it was made; absent if all may take it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sector: Option<String>,
    },
    /// An operator said that the custody of a version of the sector secret holds it off this
    /// machine: epochs may name it from now on.
    SecretConfirm {
        /// The operator.
        operator: Id,
        /// The version.
        version: u32,
    },
    /// A version of the sector secret, which no epoch needed, was retired: it is destroyed after
    /// this entry.
    SecretRetire {
        /// The operator who asked for it.
        operator: Id,
        /// The version.
        version: u32,
        /// The statement that allowed it.
        #[serde(flatten)]
        statement: StatementNote,
    },
    /// The vault released sealed mappings to an authority's node.
    Release(Box<ReidentifyDetails>),
    /// The authority node opened mappings for an officer.
    Reveal(Box<ReidentifyDetails>),
    /// The vault handed a page of an epoch's mappings, still sealed, to an authority's node, under
    /// an order for continuity.
    MigrationRelease(Box<MigrationPageDetails>),
    /// The authority node opened such a page, for the vault alone.
    MigrationReveal(Box<MigrationPageDetails>),
    /// The vault derived the new pseudonyms of such a page, stored their mappings and sealed the
    /// pairs to the sector.
    Migrate {
        /// Authority id.
        authority: Id,
        /// Order id.
        order: String,
        /// The request under which the page was handed out.
        request: String,
        /// Sector name.
        sector: String,
        /// The epoch that is migrated from.
        from: u32,
        /// The epoch that is migrated to.
        to: u32,
        /// The page.
        page: u32,
        /// Pairs that were made.
        migrated: u64,
        /// Mappings that the node could not open.
        skipped: u64,
    },
    /// A sector system fetched pairs, or acknowledged them.
    MigrationPairs {
        /// Client id.
        client: Id,
        /// Sector name.
        sector: String,
        /// Order id.
        order: String,
        /// `fetch` or `acknowledge`.
        action: &'static str,
        /// How many pages.
        pages: u64,
        /// How many pairs.
        pairs: u64,
    },
    /// A sector retired an epoch: its mappings are gone.
    EpochRetire {
        /// Client id.
        client: Id,
        /// Sector name.
        sector: String,
        /// The epoch.
        epoch: u32,
        /// How many mappings it had.
        mappings: u64,
        /// How many of them were never migrated.
        unmigrated: u64,
        /// The statement that allowed it.
        #[serde(flatten)]
        statement: StatementNote,
    },
    /// Something happened to a private key of the authority's node.
    Custody(CustodyDetails),
    /// Segments were sealed to other keys of authorities, or proved to open with them.
    Segments(Box<SegmentsDetails>),
    /// An act upon an order came in: a revocation, a suspension, its lifting, the closing of a
    /// review.
    OrderAct(Box<OrderActDetails>),
    /// An order was shown to the vault before it was used, which copied what it lists.
    OrderLodge(Box<OrderLodgeDetails>),
    /// The copies that the vault kept for an order were destroyed.
    OrderEnd {
        /// Authority id.
        authority: String,
        /// Order id.
        order: String,
        /// `over` or `revoked`.
        why: &'static str,
    },
    /// An inspection was entered, or closed before its time.
    Inspection(Box<InspectionDetails>),
    /// An auditor read under an inspection.
    Access(Box<AccessDetails>),
    /// An auditor read bundles of entries, to verify the log.
    Read {
        /// Id of the auditor.
        actor: String,
        /// How many bundles within one minute.
        count: u64,
    },
    /// A rights officer looked up who resolved a person's pseudonym.
    LookUp(Box<LookUpDetails>),
    /// Two rights officers had a person's traces in a sector destroyed, as far as they are old
    /// enough.
    Erase(Box<EraseDetails>),
    /// An authority asks for far more than before, or for half of its limit.
    ReleaseAlarm {
        /// Authority id.
        authority: Id,
        /// `migrations` where mappings handed out for continuity were counted; absent for
        /// pseudonyms asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<&'static str>,
        /// The hour, RFC 3339.
        hour: String,
        /// Pseudonyms asked for in that hour so far.
        items: u64,
        /// The number that raised the alarm.
        threshold: u64,
        /// What the register allows in an hour.
        limit: u64,
    },
    /// An identity source derived UTIs for the vault.
    Utis(Box<UtisDetails>),
    /// At an identity source, the vault asks for far more in a caller's name than before.
    UtisAlarm {
        /// Whose quota was counted: an organisation; `migrations/<authority>`; `rights/<officer>`.
        holder: String,
        /// The hour, RFC 3339.
        hour: String,
        /// Values in that hour so far.
        items: u64,
        /// The number that raised the alarm.
        threshold: u64,
    },
}

impl AuditEvent {
    /// The names of all events, as entries have them.
    pub const NAMES: &'static [&'static str] = &[
        "start",
        "register",
        "backup",
        "suspension",
        "continue",
        "resume",
        "restore-without-places",
        "restore-confirm",
        "journal",
        "second-lost",
        "clock-lower",
        "acknowledge-resume",
        "tokenize",
        "refuse",
        "epoch-advance",
        "secret-rotate",
        "secret-confirm",
        "secret-retire",
        "release",
        "reveal",
        "migration-release",
        "migration-reveal",
        "migrate",
        "migration-pairs",
        "epoch-retire",
        "custody",
        "segments",
        "order-act",
        "order-lodge",
        "order-end",
        "inspection",
        "access",
        "read",
        "look-up",
        "erase",
        "release-alarm",
        "utis",
        "utis-alarm",
    ];
}
