//! The lines of an export. `docs/export.md` says for readers what stands here for the writer.

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use uuid::Uuid;

use crate::register::Granularity;
use crate::store::{OfflineRow, StoreError};
use crate::vault::Terms;

/// The name of the format.
pub const FORMAT: &str = "cloison-export-1";

/// One line. Times are Unix seconds.
#[derive(Debug, Serialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum ExportLine<'a> {
    /// The first line.
    Export(ExportHeader<'a>),
    /// A sector and its number, which row keys begin with.
    Sector { sector: Uuid, number: u32 },
    /// An epoch of a sector.
    Epoch(EpochLine),
    /// An epoch that was retired; its mappings are gone.
    Retired { sector: Uuid, epoch: u32, at: i64 },
    /// A pseudonym that was erased, as `docs/spec.md` §8 hides it.
    Tombstone {
        sector: Uuid,
        tombstone: String,
        at: i64,
    },
    /// A segment's record (`docs/spec.md` §5), in Base64.
    Segment { id: String, record: String },
    /// A chunk's row (`docs/spec.md` §7), in Base64.
    Chunk {
        number: u32,
        epoch: u32,
        sequence: u32,
        row: String,
    },
    /// The last line: how many lines of each kind, and SHA-256 of every byte before this line.
    End {
        #[serde(flatten)]
        counts: ExportCounts,
        sha256: String,
    },
}

/// What the export is of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExportHeader<'a> {
    /// [`FORMAT`]
    pub(super) format: &'static str,
    /// The deployment's id.
    pub(super) deployment: &'a str,
    /// The format of the store.
    pub(super) store_format: u32,
    /// The version of cloison that wrote the export.
    pub(super) program: &'static str,
    /// When it was written.
    pub(super) made: i64,
    /// The register that was last in force; none if the vault never started.
    pub(super) register: Option<RegisterDigest>,
    /// Versions of the sector secret that were destroyed.
    pub(super) retired_secrets: Vec<u32>,
}

/// Names a register.
#[derive(Debug, Serialize)]
pub(super) struct RegisterDigest {
    version: u64,
    /// SHA-256 of its text.
    digest: String,
}

impl RegisterDigest {
    pub(super) fn of((version, digest): (u64, [u8; 32])) -> Self {
        let digest = HEXLOWER.encode(&digest);
        Self { version, digest }
    }
}

/// An epoch, with its terms spelled as the register spells them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct EpochLine {
    sector: Uuid,
    epoch: u32,
    opened: i64,
    secret_version: u32,
    own_secret: bool,
    granularity: Granularity,
    text_form: &'static str,
    reversible: bool,
}

/// How many lines of each kind there are, without the first and the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExportCounts {
    /// Sectors that were ever used.
    pub sectors: u64,
    /// Epochs.
    pub epochs: u64,
    /// Retired epochs.
    pub retired: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Segments.
    pub segments: u64,
    /// Chunks.
    pub chunks: u64,
}

impl ExportCounts {
    pub(super) fn add(&mut self, line: &ExportLine<'_>) {
        let count = match line {
            ExportLine::Sector { .. } => &mut self.sectors,
            ExportLine::Epoch(_) => &mut self.epochs,
            ExportLine::Retired { .. } => &mut self.retired,
            ExportLine::Tombstone { .. } => &mut self.tombstones,
            ExportLine::Segment { .. } => &mut self.segments,
            ExportLine::Chunk { .. } => &mut self.chunks,
            ExportLine::Export(_) | ExportLine::End { .. } => return,
        };
        *count += 1;
    }
}

impl ExportLine<'_> {
    /// The line of a row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for an epoch whose terms are not terms.
    pub(super) fn of(row: &OfflineRow<'_>) -> Result<Self, StoreError> {
        Ok(match *row {
            OfflineRow::Sector(sector, number) => Self::Sector { sector, number },
            OfflineRow::Epoch(sector, row) => {
                let terms =
                    Terms::from_bytes(row.terms).ok_or(StoreError::Corrupt("state-epoch"))?;
                Self::Epoch(EpochLine {
                    sector,
                    epoch: row.epoch,
                    opened: row.opened_at,
                    secret_version: row.secret_version,
                    own_secret: row.own_secret,
                    granularity: terms.granularity,
                    text_form: terms.text_form.as_str(),
                    reversible: terms.reversible,
                })
            }
            OfflineRow::Retired(sector, epoch, at) => Self::Retired { sector, epoch, at },
            OfflineRow::Tombstone(sector, tombstone, at) => Self::Tombstone {
                sector,
                tombstone: HEXLOWER.encode(&tombstone),
                at,
            },
            OfflineRow::Segment(id, record) => Self::Segment {
                id: HEXLOWER.encode(&id),
                record: BASE64.encode(record),
            },
            OfflineRow::Chunk(key, row) => Self::Chunk {
                number: key.sector,
                epoch: key.epoch,
                sequence: key.sequence,
                row: BASE64.encode(row),
            },
        })
    }
}
