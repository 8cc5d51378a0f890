//! The columns: for each its name, and the types of its rows' keys and values, which say what bytes
//! stand in them.
//!
//! Values that change their meaning change the store's format version and get a migration file of
//! their own.

use std::borrow::Cow;
use std::marker::PhantomData;

use uuid::Uuid;

use super::StoreError;
use super::audit::Shard;
use super::fields::{NameField, RowField};
use super::migrations::MigrationRow;
use super::moved::{BlindingKeyId, MovedKey, MovedMark};
use super::order_copies::{CopiesRow, CopyRow};
use super::orders::OrderKey;
use super::tags::TagPlace;

/// The name of a column; there are no others than [`COLUMNS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnName(&'static str);

impl ColumnName {
    /// Whether its rows are state: they must not roll back at a restore, so every change of them is
    /// in a side record of the log.
    pub const fn is_state(self) -> bool {
        matches!(self.0.as_bytes(), [b's', b't', b'a', b't', b'e', b'-', ..])
    }

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// A column whose rows have keys of type `K` and values of type `V`.
pub(super) struct TypedColumn<K: ?Sized, V: ?Sized> {
    pub(super) name: ColumnName,
    rows: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> TypedColumn<K, V> {
    const fn named(name: &'static str) -> Self {
        Self {
            name: ColumnName(name),
            rows: PhantomData,
        }
    }

    /// The error of a row that is not what was written.
    pub(super) fn corrupt(&self) -> StoreError {
        StoreError::Corrupt(self.name.0)
    }
}

macro_rules! columns {
    ($($(#[$doc:meta])+ $column:ident = $name:literal: $key:ty => $value:ty;)+) => {
        $($(#[$doc])+ pub(super) const $column: TypedColumn<$key, $value> = TypedColumn::named($name);)+

        /// Every column.
        pub const COLUMNS: &[ColumnName] = &[$($column.name),+];
    };
}

// The columns called `state-…` must not roll back at a restore.
columns! {
    /// Sealed chunks.
    CHUNK = "chunk": ChunkKey => [u8];
    /// Sector number, epoch, place and tag → sequence of the chunk: index entries that the memory
    /// had no room for. They are made anew from the chunks where they are lost.
    INDEX = "index": MovedKey => u32;
    /// Sector number, epoch and place → key that made place and tags, and how far: of the chunks
    /// below a sequence, all entries of that place lie in `INDEX`.
    INDEX_MARK = "index-mark": (u32, u32, u8) => (BlindingKeyId, MovedMark);
    /// Segment id → segment record.
    SEGMENT = "segment": [u8; 16] => [u8];
    /// Segment id and authority key id → SHA-256 of the recipient entry that this key was proved to
    /// open. Without a key id: the SHA-256 of what shows that a key opened the segment.
    SEGMENT_PROOF = "segment-proof": ([u8; 16], String) => [u8; 32];
    /// Number of an audit entry → the entry (canonical JSON).
    AUDIT = "audit": u64 => [u8];
    /// Number of an audit entry → its salt; prunable.
    AUDIT_SALT = "audit-salt": u64 => [u8; 16];
    /// Entry and place → tag (16) ‖ salt (16; absent in rows of older versions); prunable.
    AUDIT_TAG = "audit-tag": TagPlace => [u8];
    /// Kind (0 tags of releases and reveals, 1 tags of look-ups, 2 orders), tag or order id, entry
    /// and place: where a tag or an order's release lies.
    ENTRY_INDEX = "entry-index": (u8, [u8; 16], TagPlace) => ();
    /// The tree over a shard's entries: [`super::TreeRow`].
    AUDIT_TREE = "audit-tree": Shard => [u8; 49];
    /// Shard, level and number → a full tile of that tree (256 hashes).
    AUDIT_TILE = "audit-tile": (Shard, u8, u64) => [u8];
    /// The last checkpoint of a shard's tree (signed note).
    AUDIT_CHECKPOINT = "audit-checkpoint": Shard => [u8];
    /// Number of an audit entry → the sealed side record that it names; prunable.
    JOURNAL = "journal": u64 => [u8];
    /// Sector → its number.
    SECTOR = "state-sector": Uuid => u32;
    /// Sector and epoch → [`EpochRow`].
    EPOCH = "state-epoch": (Uuid, u32) => [u8; 18];
    /// Sector and epoch → when the epoch was retired (Unix seconds).
    RETIRED = "state-retired": (Uuid, u32) => i64;
    /// Name of a frozen fact → its digest.
    FROZEN = "state-frozen": str => [u8; 32];
    /// Order → digest of its payload.
    ORDER = "state-order": OrderKey => [u8; 32];
    /// Order and tag of a pseudonym asked for.
    ORDER_PAIR = "state-order-pair": (OrderKey, [u8; 16]) => ();
    /// Order → its life so far (canonical JSON).
    ORDER_LIFE = "state-order-life": OrderKey => [u8];
    /// Order and SHA-256 of an act's payload → the act (JSON).
    ORDER_ACT = "state-order-act": (OrderKey, [u8; 32]) => [u8];
    /// Order that has copies → until when, and whether everything that it lists was looked for.
    ORDER_COPIES = "state-order-copies": OrderKey => CopiesRow;
    /// Order and tag of a pseudonym → epoch, and chunk of that one mapping, wrapped for
    /// [`super::copy_location`].
    ORDER_COPY = "state-order-copy": (OrderKey, [u8; 16]) => CopyRow;
    /// Inspection id → the inspection: the decision as it was signed, and its end (JSON).
    INSPECTION = "state-inspection": Uuid => [u8];
    /// Sector and tombstone of an erased pseudonym → when (Unix seconds).
    TOMBSTONE = "state-tombstone": (Uuid, [u8; 16]) => i64;
    /// When the tags of an erased pseudonym are old enough (Unix seconds), and such a tag.
    ERASURE_DUE = "state-erasure-due": (i64, [u8; 16]) => ();
    /// Rights officer and days since 1970 → look-ups made that day.
    LOOK_UPS = "state-look-up": (NameField, u32) => u64;
    /// Time of an officer's request (Unix seconds) and its id; prunable when long over. Rows of
    /// older versions may be of what `CARRIED_OUT` is for.
    REQUEST = "state-request": (i64, Uuid) => ();
    /// Time when a request to erase, or a statement that allows a destruction, is too old (Unix
    /// seconds), and its id: it was carried out here. Never pruned, so that a clock that ran ahead
    /// has none forgotten.
    CARRIED_OUT = "state-carried-out": (i64, Uuid) => ();
    /// Authority and hour since 1970 → pseudonyms asked for.
    RELEASE_RATE = "state-release-rate": (NameField, u32) => u64;
    /// Order → how far the migration under it has come.
    MIGRATION = "state-migration": OrderKey => MigrationRow;
    /// Client, order and page → pairs of old and new pseudonyms, sealed to the client.
    MIGRATION_PAIRS = "migration-pairs": (NameField, OrderKey, u32) => [u8];
    /// Organisation and day → items.
    QUOTA = "state-quota": (NameField, u32) => u64;
    /// Version → a register that was in force: [`super::RegisterRow`].
    REGISTER = "state-register": u64 => [u8];
    /// Statement → the suspension of a register entry, and its end (JSON).
    SUSPENSION = "state-suspension": Uuid => [u8];
    /// Single values by name.
    META = "state-meta": [u8] => [u8];
}

/// The columns whose keys begin with sector number and epoch.
pub const PARTITIONED: [ColumnName; 3] = [CHUNK.name, INDEX.name, INDEX_MARK.name];

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
}

impl RowField for ChunkKey {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.to_bytes().to_vec())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (sector, epoch, sequence) = <(u32, u32, u64)>::read_front(bytes)?;
        Some(Self {
            sector,
            epoch,
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
    /// What only a new epoch may change (granularity, text form, reversible), as the vault encodes
    /// it.
    pub terms: [u8; 4],
}

impl EpochRow {
    pub(super) fn to_bytes(self) -> [u8; 18] {
        let mut value = [1; 18];
        value[1] = u8::from(self.own_secret);
        value[2..6].copy_from_slice(&self.secret_version.to_be_bytes());
        value[6..14].copy_from_slice(&self.opened_at.to_be_bytes());
        value[14..].copy_from_slice(&self.terms);
        value
    }

    pub(super) fn from_bytes(epoch: u32, value: &[u8; 18]) -> Option<Self> {
        let mut rest = value.strip_prefix(&[1])?;
        Some(Self {
            epoch,
            own_secret: u8::read_front(&mut rest)? == 1,
            secret_version: u32::read_front(&mut rest)?,
            opened_at: i64::read_front(&mut rest)?,
            terms: <[u8; 4]>::read_front(&mut rest)?,
        })
    }
}
