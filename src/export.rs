//! A way out: a stopped vault's store as one flat file that other programs read, sealed as it is.
//!
//! The format is `docs/export.md`: JSON lines, a header first, a line that counts and hashes the
//! rest last. It is made of what every language has (JSON, Base64, SHA-256), because it is for
//! those who no longer have this program; a reader in Python is `tests/independent/open_export.py`.
//! Base64 makes it a third longer than the chunks are. What was chosen against: a sequence of CBOR
//! items, which is shorter and which few tools of a system show; and a table of RocksDB's, which is
//! what this leaves.
//!
//! Nothing is unsealed for it, so it takes no secret. It holds what opening a mapping takes and no
//! more: no log, no orders and their copies, no counts, no register.

mod line;

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

pub use line::{ExportCounts, FORMAT};
use line::{ExportHeader, ExportLine, RegisterDigest};

use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// What was exported.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExportSummary {
    /// The owner of the store, such as `demo/vault`.
    pub owner: String,
    /// How many rows of each kind.
    #[serde(flatten)]
    pub counts: ExportCounts,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is not a vault's.
    #[error("the store belongs to {0}: only a vault's has mappings")]
    NoVault(String),
    /// The output takes no more.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Writes a vault's store to `output`, one row at a time, and says after each chunk that it was
/// written. The caller makes what was written durable.
///
/// # Errors
/// [`ExportError`]; what was written until then is no export, because its last line is missing.
pub fn export(
    store: &Store,
    clock: &dyn Clock,
    output: impl Write,
    mut chunk_written: impl FnMut(),
) -> Result<ExportSummary, ExportError> {
    let owner = store.owner()?;
    let deployment = owner
        .strip_suffix("/vault")
        .ok_or_else(|| ExportError::NoVault(owner.clone()))?;
    let mut lines = LineWriter::new(output);
    lines.write(&ExportLine::Export(ExportHeader {
        format: FORMAT,
        deployment,
        store_format: store.format()?,
        program: env!("CARGO_PKG_VERSION"),
        made: clock.now().as_second(),
        register: store.register()?.map(RegisterDigest::of),
        retired_secrets: store.retired_secrets()?,
    }))?;
    let mut counts = ExportCounts::default();
    store.each_offline_row(|row| {
        let line = ExportLine::of(&row)?;
        lines.write(&line)?;
        counts.add(&line);
        if matches!(line, ExportLine::Chunk { .. }) {
            chunk_written();
        }
        Ok::<_, ExportError>(())
    })?;
    let end = ExportLine::End {
        counts,
        sha256: lines.digest(),
    };
    lines.write(&end)?;
    lines.output.flush()?;
    Ok(ExportSummary {
        owner,
        counts,
        bytes: lines.bytes,
        sha256: lines.digest(),
    })
}

/// Writes lines, and counts and hashes their bytes.
struct LineWriter<W> {
    output: W,
    line: Vec<u8>,
    bytes: u64,
    digest: Sha256,
}

impl<W: Write> LineWriter<W> {
    fn new(output: W) -> Self {
        Self {
            output,
            line: vec![],
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    fn write(&mut self, line: &ExportLine<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.bytes += self.line.len() as u64;
        self.output.write_all(&self.line)
    }

    /// SHA-256 of every line so far.
    fn digest(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.digest.clone().finalize())
    }
}
