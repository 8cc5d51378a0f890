//! Every register that was in force, as it was read: state that must not roll back.

use super::columns::REGISTER;
use super::fields::RowField as _;
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// A register that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterRow {
    /// Its version.
    pub version: u64,
    /// From when on it was in force (Unix seconds).
    pub since: i64,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
    /// The register file's text.
    pub text: String,
    /// Its signatures: JWS General JSON.
    pub signatures: String,
}

impl RegisterRow {
    /// Since when ‖ digest ‖ length of the text (4 bytes) ‖ text ‖ signatures.
    fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let mut value = Vec::with_capacity(44 + self.text.len() + self.signatures.len());
        value.extend(self.since.to_be_bytes());
        value.extend(self.digest);
        value.extend(length.to_be_bytes());
        value.extend(self.text.as_bytes());
        value.extend(self.signatures.as_bytes());
        value
    }

    fn read(version: u64, mut value: &[u8]) -> Option<Self> {
        let bytes = &mut value;
        let since = i64::read_front(bytes)?;
        let digest = <[u8; 32]>::read_front(bytes)?;
        let length = usize::try_from(u32::read_front(bytes)?).ok()?;
        let (text, signatures) = bytes.split_at_checked(length)?;
        let text_of = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(Self {
            version,
            since,
            digest,
            text: text_of(text)?,
            signatures: text_of(signatures)?,
        })
    }
}

impl Store {
    /// The register of that version, if it was in force here.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn past_register(&self, version: u64) -> Result<Option<RegisterRow>, StoreError> {
        self.get(REGISTER, &version)?
            .map(|value| RegisterRow::read(version, &value).ok_or(REGISTER.corrupt()))
            .transpose()
    }

    /// Every register that was in force, by version. Stores of versions before 0.2 kept none.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn past_registers(&self) -> Result<Vec<RegisterRow>, StoreError> {
        self.rows(REGISTER, &[])?
            .into_iter()
            .map(|(version, value)| RegisterRow::read(version, &value).ok_or(REGISTER.corrupt()))
            .collect()
    }

    /// The version of the register with that digest, if it was in force here.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn version_of(&self, digest: &[u8; 32]) -> Result<Option<u64>, StoreError> {
        let mut found = None;
        self.each(REGISTER, ScanRange::ALL, |version, value| {
            // Since when (8 bytes), then the digest.
            if value.get(8..40) == Some(&digest[..]) {
                found = Some(version);
            }
            Ok::<_, StoreError>(ScanStep::Next)
        })?;
        Ok(found)
    }

    /// Keeps a register that comes into force.
    pub fn put_past_register(&self, batch: &mut RowBatch, row: &RegisterRow) {
        self.put(batch, REGISTER, &row.version, &row.to_bytes()[..]);
    }
}
