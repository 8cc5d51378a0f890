//! The columns and the shape of their keys and values.
//!
//! Values that change their meaning change the store's format version and get a migration file of their own.

/// One column family. `State` columns are those that must not roll back at a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// sector number ‖ epoch ‖ sequence (u32be, u32be, u64be) → sealed chunk
    Chunk,
    /// sector number ‖ epoch ‖ place (u32be, u32be, u8) ‖ tag (16) → sequence of the chunk (u32be): index entries that the
    /// memory had no room for; made anew from the chunks where it is lost
    Index,
    /// sector number ‖ epoch ‖ place → version of the key that made place and tags (u32be) ‖ check of that key (8) ‖
    /// sequence (u32be) ‖ entries (u64be): of the chunks below that sequence, all entries of that place lie in `Index`, and so
    /// many they are
    IndexMark,
    /// segment id (16) → segment record
    Segment,
    /// segment id (16) ‖ authority key id → SHA-256 of the recipient entry that this key was proved to open (32)
    SegmentProof,
    /// audit entry index (u64be) → entry (canonical JSON)
    Audit,
    /// audit entry index (u64be) → salt (16); prunable
    AuditSalt,
    /// audit entry index (u64be) ‖ place (u32be) → tag (16) ‖ salt (16; absent in rows of older versions); prunable
    AuditTag,
    /// kind (u8: 0 tags of releases and reveals, 1 tags of look-ups, 2 orders) ‖ tag or order id (16) ‖ audit entry index
    /// (u64be) ‖ place (u32be) → nothing: where a tag or an order's release lies
    EntryIndex,
    /// shard (year, part: u16be each) → the tree over its entries: [`super::TreeRow`]
    AuditTree,
    /// shard (4) ‖ level (u8) ‖ number (u64be) → a full tile of that tree (256 hashes)
    AuditTile,
    /// shard (4) → the last checkpoint of that tree (signed note)
    AuditCheckpoint,
    /// state: sector UUID (16) → sector number (u32be)
    Sector,
    /// state: sector UUID (16) ‖ epoch (u32be) → [`super::EpochRow`]
    Epoch,
    /// state: sector UUID (16) ‖ epoch (u32be) → when the epoch was retired (i64be, Unix seconds)
    Retired,
    /// state: name of a frozen fact → digest (32)
    Frozen,
    /// state: authority id ‖ 0 ‖ order id (16) → payload digest (32)
    Order,
    /// state: authority id ‖ 0 ‖ order id (16) ‖ tag of a pseudonym asked for (16) → nothing
    OrderPair,
    /// state: authority id ‖ 0 ‖ order id (16) → the order's life so far (canonical JSON)
    OrderLife,
    /// state: authority id ‖ 0 ‖ order id (16) ‖ SHA-256 of an act's payload (32) → the act (JSON)
    OrderAct,
    /// state: authority id ‖ 0 ‖ order id (16) → when the order is over (i64be, Unix seconds) ‖ whether everything that it lists was
    /// looked for (u8): an order that has copies
    OrderCopies,
    /// state: authority id ‖ 0 ‖ order id (16) ‖ tag of a pseudonym (16) → epoch (u32be) ‖ chunk of that one mapping, wrapped for
    /// [`super::copy_location`]
    OrderCopy,
    /// state: inspection id (16) → the inspection: decision as it was signed, and its end (JSON)
    Inspection,
    /// state: sector UUID (16) ‖ tombstone of an erased pseudonym (16) → when (i64be, Unix seconds)
    Tombstone,
    /// state: when the tags of an erased pseudonym are old enough (i64be, Unix seconds) ‖ tag (16) → nothing
    ErasureDue,
    /// state: rights officer's id ‖ 0 ‖ days since 1970 (u32be) → look-ups made that day (u64be)
    LookUps,
    /// state: time of an officer's request (i64be, Unix seconds) ‖ its id (16) → nothing; prunable when long over. Rows of
    /// older versions may be of what `CarriedOut` is for
    Request,
    /// state: time when a request to erase, or a statement that allows a destruction, is too old (i64be, Unix seconds) ‖ its
    /// id (16) → nothing: it was carried out here. Never pruned, so that a clock that ran ahead has none forgotten
    CarriedOut,
    /// state: authority id ‖ 0 ‖ hour since 1970 (u32be) → pseudonyms asked for (u64be)
    ReleaseRate,
    /// state: authority id ‖ 0 ‖ order id (16) → how far the migration under it has come: [`super::MigrationRow`]
    Migration,
    /// client id ‖ 0 ‖ authority id ‖ 0 ‖ order id (16) ‖ page (u32be) → pairs of old and new pseudonyms, sealed to the client
    MigrationPairs,
    /// state: organisation id ‖ day (u32be) → items (u64be)
    Quota,
    /// state: single values by name
    Meta,
}

impl Column {
    pub(super) const ALL: [Column; 33] = [
        Column::Chunk,
        Column::Index,
        Column::IndexMark,
        Column::Segment,
        Column::SegmentProof,
        Column::Audit,
        Column::AuditSalt,
        Column::AuditTag,
        Column::EntryIndex,
        Column::AuditTree,
        Column::AuditTile,
        Column::AuditCheckpoint,
        Column::Sector,
        Column::Epoch,
        Column::Retired,
        Column::Frozen,
        Column::Order,
        Column::OrderPair,
        Column::OrderLife,
        Column::OrderAct,
        Column::OrderCopies,
        Column::OrderCopy,
        Column::Inspection,
        Column::Tombstone,
        Column::ErasureDue,
        Column::LookUps,
        Column::Request,
        Column::CarriedOut,
        Column::ReleaseRate,
        Column::Migration,
        Column::MigrationPairs,
        Column::Quota,
        Column::Meta,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Column::Chunk => "chunk",
            Column::Index => "index",
            Column::IndexMark => "index-mark",
            Column::Segment => "segment",
            Column::SegmentProof => "segment-proof",
            Column::Audit => "audit",
            Column::AuditSalt => "audit-salt",
            Column::AuditTag => "audit-tag",
            Column::EntryIndex => "entry-index",
            Column::AuditTree => "audit-tree",
            Column::AuditTile => "audit-tile",
            Column::AuditCheckpoint => "audit-checkpoint",
            Column::Sector => "state-sector",
            Column::Epoch => "state-epoch",
            Column::Retired => "state-retired",
            Column::Frozen => "state-frozen",
            Column::Order => "state-order",
            Column::OrderPair => "state-order-pair",
            Column::OrderLife => "state-order-life",
            Column::OrderAct => "state-order-act",
            Column::OrderCopies => "state-order-copies",
            Column::OrderCopy => "state-order-copy",
            Column::Inspection => "state-inspection",
            Column::Tombstone => "state-tombstone",
            Column::ErasureDue => "state-erasure-due",
            Column::LookUps => "state-look-up",
            Column::Request => "state-request",
            Column::CarriedOut => "state-carried-out",
            Column::ReleaseRate => "state-release-rate",
            Column::Migration => "state-migration",
            Column::MigrationPairs => "migration-pairs",
            Column::Quota => "state-quota",
            Column::Meta => "state-meta",
        }
    }
}

/// Where a chunk lies: sorted so that a sector's epoch is one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The sector's number in this store.
    pub sector: u32,
    /// The sector's epoch.
    pub epoch: u32,
    /// Counts up within sector and epoch, from 1.
    pub sequence: u32,
}

impl ChunkKey {
    /// The row's key, 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&self.sector.to_be_bytes());
        key[4..8].copy_from_slice(&self.epoch.to_be_bytes());
        key[8..].copy_from_slice(&u64::from(self.sequence).to_be_bytes());
        key
    }

    pub(super) fn from_bytes(key: &[u8]) -> Option<Self> {
        let key: &[u8; 16] = key.try_into().ok()?;
        let sequence = u64::from_be_bytes(key[8..].try_into().ok()?);
        Some(Self {
            sector: u32::from_be_bytes(key[..4].try_into().ok()?),
            epoch: u32::from_be_bytes(key[4..8].try_into().ok()?),
            sequence: u32::try_from(sequence).ok()?,
        })
    }
}

/// One epoch of one sector. Written once, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRow {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// The version of the sector secret that it derives from.
    pub secret_version: u32,
    /// Whether no other epoch may name that version.
    pub own_secret: bool,
    /// When it was opened (Unix seconds).
    pub opened_at: i64,
    /// What only a new epoch may change (granularity, text form, reversible), as the vault encodes it.
    pub terms: [u8; 4],
}

impl EpochRow {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut value = vec![1, u8::from(self.own_secret)];
        value.extend_from_slice(&self.secret_version.to_be_bytes());
        value.extend_from_slice(&self.opened_at.to_be_bytes());
        value.extend_from_slice(&self.terms);
        value
    }

    pub(super) fn from_bytes(epoch: u32, value: &[u8]) -> Option<Self> {
        let value: &[u8; 18] = value.try_into().ok()?;
        (value[0] == 1).then_some(())?;
        Some(Self {
            epoch,
            own_secret: value[1] == 1,
            secret_version: u32::from_be_bytes(value[2..6].try_into().ok()?),
            opened_at: i64::from_be_bytes(value[6..14].try_into().ok()?),
            terms: value[14..].try_into().ok()?,
        })
    }
}
