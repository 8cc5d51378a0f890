//! Single facts that must not roll back: sectors, epochs, frozen facts, quotas, the register, the
//! clock.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{EPOCH, EpochRow, FROZEN, META, QUOTA, SECTOR};
use super::fields::{NameField, RowField as _};
use super::{RowBatch, Store, StoreError};

/// The note of the identity secret.
const IDENTITY_CHECK: &[u8] = b"identity-check";
/// The note of the versions of the sector secret that operators confirmed.
const CONFIRMED_SECRETS: &[u8] = b"confirmed-secrets";
/// Prefix of the notes of versions that were made for one epoch; the version follows it.
const RESERVED_SECRET: &[u8] = b"reserved-secret/";

/// A version of the sector secret that was made for one epoch, before that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedSecret {
    /// The version.
    pub version: u32,
    /// The sector.
    pub sector: Uuid,
    /// The epoch that the sector was in: the version is for the next one.
    pub from: u32,
}

impl Store {
    /// Numbers of the sectors that were ever used.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn sector_numbers(&self) -> Result<Vec<(Uuid, u32)>, StoreError> {
        self.rows(SECTOR, &[])
    }

    /// Gives a sector its number.
    pub fn put_sector_number(&self, batch: &mut RowBatch, sector: Uuid, number: u32) {
        self.put(batch, SECTOR, &sector, &number);
    }

    /// The epochs of a sector, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn epochs(&self, sector: Uuid) -> Result<Vec<EpochRow>, StoreError> {
        self.epochs_under(sector.as_bytes())
    }

    /// The epochs of all sectors, also of those that the register no longer has.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn all_epochs(&self) -> Result<Vec<EpochRow>, StoreError> {
        self.epochs_under(&[])
    }

    fn epochs_under(&self, prefix: &[u8]) -> Result<Vec<EpochRow>, StoreError> {
        let rows = self.rows(EPOCH, prefix)?.into_iter();
        rows.map(|((_, epoch), value)| EpochRow::from_bytes(epoch, &value).ok_or(EPOCH.corrupt()))
            .collect()
    }

    /// Adds an epoch.
    pub fn put_epoch(&self, batch: &mut RowBatch, sector: Uuid, row: EpochRow) {
        self.put(batch, EPOCH, &(sector, row.epoch), &row.to_bytes());
    }

    /// Every frozen fact with its digest.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn all_frozen(&self) -> Result<Vec<(String, [u8; 32])>, StoreError> {
        self.rows(FROZEN, &[])
    }

    /// Freezes a fact.
    pub fn put_frozen(&self, batch: &mut RowBatch, fact: &str, digest: &[u8; 32]) {
        self.put(batch, FROZEN, fact, digest);
    }

    /// Items that an organisation sent on a day.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn quota_used(&self, organisation: &str, day: u32) -> Result<u64, StoreError> {
        Ok(self
            .get(QUOTA, &(NameField::of(organisation), day))?
            .unwrap_or(0))
    }

    /// Notes the items that an organisation sent on a day.
    pub fn put_quota_used(&self, batch: &mut RowBatch, organisation: &str, day: u32, items: u64) {
        self.put(batch, QUOTA, &(NameField::of(organisation), day), &items);
    }

    /// All that is noted under one name, by the number of day or hour.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn quotas_used(&self, name: &str) -> Result<Vec<(u32, u64)>, StoreError> {
        let rows = self.rows(QUOTA, &NameField::of(name).bytes())?.into_iter();
        Ok(rows.map(|((_, number), items)| (number, items)).collect())
    }

    /// Forgets what is noted under a name and a number.
    pub fn forget_quota_used(&self, batch: &mut RowBatch, name: &str, number: u32) {
        self.delete(batch, QUOTA, &(NameField::of(name), number));
    }

    /// The register that was last accepted: version and digest.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn register(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        self.meta::<(u64, [u8; 32])>(b"register")
    }

    /// Notes the register that is now in force.
    pub fn put_register(&self, batch: &mut RowBatch, version: u64, digest: &[u8; 32]) {
        self.put(batch, META, b"register", &(version, *digest).bytes());
    }

    /// Versions of the sector secret that were retired, in order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn retired_secrets(&self) -> Result<Vec<u32>, StoreError> {
        let value = self.get(META, b"retired-secrets")?.unwrap_or_default();
        value
            .chunks(4)
            .map(|version| u32::read(version).ok_or(META.corrupt()))
            .collect()
    }

    /// Notes which versions of the sector secret were retired.
    pub fn put_retired_secrets(&self, batch: &mut RowBatch, versions: &[u32]) {
        let value: Vec<u8> = versions
            .iter()
            .flat_map(|version| version.to_be_bytes())
            .collect();
        self.put(batch, META, b"retired-secrets", &value);
    }

    /// Versions of the sector secret that an operator confirmed, in order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn confirmed_secrets(&self) -> Result<Vec<u32>, StoreError> {
        let value = self.get(META, CONFIRMED_SECRETS)?.unwrap_or_default();
        let versions = value.chunks(4);
        versions
            .map(|version| u32::read(version).ok_or(META.corrupt()))
            .collect()
    }

    /// The check value of the identity secret from which the stored pseudonyms derive.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn identity_check(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let value = self.get(META, IDENTITY_CHECK)?;
        let read = |value: Vec<u8>| value.try_into().map_err(|_| META.corrupt());
        value.map(read).transpose()
    }

    /// Notes the check value of the identity secret.
    pub fn put_identity_check(&self, batch: &mut RowBatch, check: &[u8; 32]) {
        self.put(batch, META, IDENTITY_CHECK, &check[..]);
    }

    /// Notes which versions of the sector secret operators confirmed.
    pub fn put_confirmed_secrets(&self, batch: &mut RowBatch, versions: &[u32]) {
        let value: Vec<u8> = versions.iter().flat_map(|v| v.to_be_bytes()).collect();
        self.put(batch, META, CONFIRMED_SECRETS, &value);
    }

    /// Versions of the sector secret that were made for one epoch each.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn reserved_secrets(&self) -> Result<Vec<ReservedSecret>, StoreError> {
        let rows = self.rows(META, RESERVED_SECRET)?.into_iter();
        rows.map(|(key, value)| {
            let version = u32::read(&key[RESERVED_SECRET.len()..]);
            let epoch = <(Uuid, u32)>::read(&value);
            let (version, (sector, from)) = version.zip(epoch).ok_or(META.corrupt())?;
            Ok(ReservedSecret {
                version,
                sector,
                from,
            })
        })
        .collect()
    }

    /// Notes that a version was made for one epoch.
    pub fn put_reserved_secret(&self, batch: &mut RowBatch, reserved: ReservedSecret) {
        let key = [RESERVED_SECRET, &reserved.version.to_be_bytes()].concat();
        let value = (reserved.sector, reserved.from).bytes().into_owned();
        self.put(batch, META, &key[..], &value);
    }

    /// The latest time that was ever acted on (Unix milliseconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn clock_mark(&self) -> Result<i64, StoreError> {
        Ok(self.meta::<i64>(b"clock")?.unwrap_or(0))
    }

    /// Since when a clock that jumped shows a time after the year of the log's last shard.
    ///
    /// # Errors
    /// As [`Store::clock_mark`].
    pub fn year_doubted(&self) -> Result<Option<Timestamp>, StoreError> {
        let since = self.meta::<i64>(b"year-doubted")?;
        Ok(since.and_then(|since| Timestamp::from_millisecond(since).ok()))
    }

    /// Notes that time, or that there is none.
    pub fn put_year_doubted(&self, batch: &mut RowBatch, since: Option<Timestamp>) {
        match since {
            Some(since) => self.put(
                batch,
                META,
                b"year-doubted",
                &since.as_millisecond().bytes(),
            ),
            None => self.delete(batch, META, b"year-doubted"),
        }
    }

    /// Notes the time of a commit (Unix milliseconds).
    pub fn put_clock_mark(&self, batch: &mut RowBatch, now: i64) {
        self.put(batch, META, b"clock", &now.bytes());
    }
}
