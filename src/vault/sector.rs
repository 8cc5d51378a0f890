//! A sector at run time: its number, its epochs, and the segment that is open.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::StartError;
use super::usable::UsableVersions;
use crate::audit::OpenedEpoch;
use crate::audit::log::HeldByPlaces;
use crate::entity::RegisterRows;
use crate::keys::{SectorRootKey, SectorTreeKey};
use crate::pseudonym::ParsedPseudonym;
use crate::register::{Granularity, Id, PeriodLength, Register, Sector, TextForm};
use crate::seal::SealError;
use crate::seal::segment::OpenSegment;
use crate::store::{EpochRow, Store, StoreError};
use crate::system::lock::unpoisoned;

/// The terms of an epoch, which only a new epoch may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What separates the sector's domains.
    pub granularity: Granularity,
    /// How pseudonyms are written.
    pub text_form: TextForm,
    /// Whether mappings are stored.
    pub reversible: bool,
}

impl Terms {
    /// The terms that the register states.
    pub fn of(sector: &Sector) -> Self {
        Self {
            granularity: sector.granularity,
            text_form: sector.text_form,
            reversible: sector.reversible,
        }
    }

    fn to_bytes(self) -> [u8; 4] {
        let period = match self.granularity.period {
            None => 0,
            Some(PeriodLength::Year) => 1,
            Some(PeriodLength::Month) => 2,
        };
        let form = match self.text_form {
            TextForm::Bech32m => 0,
            TextForm::Uuid => 1,
            TextForm::Hex => 2,
        };
        let separate =
            u8::from(self.granularity.controller) | u8::from(self.granularity.purpose) << 1;
        [separate, period, form, u8::from(self.reversible)]
    }

    /// Reads the terms of an [`EpochRow`]; `None` where they are not terms.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        let period = match bytes[1] {
            0 => None,
            1 => Some(PeriodLength::Year),
            2 => Some(PeriodLength::Month),
            _ => return None,
        };
        let text_form = match bytes[2] {
            0 => TextForm::Bech32m,
            1 => TextForm::Uuid,
            2 => TextForm::Hex,
            _ => return None,
        };
        let granularity = Granularity {
            controller: bytes[0] & 1 != 0,
            purpose: bytes[0] & 2 != 0,
            period,
        };
        Some(Self {
            granularity,
            text_form,
            reversible: bytes[3] == 1,
        })
    }
}

/// One epoch of a sector.
pub struct Epoch {
    /// As stored.
    pub row: EpochRow,
    /// The terms of the epoch.
    pub terms: Terms,
    /// The sector's key under the epoch's secret version; `None` where that version was destroyed.
    pub key: Option<SectorTreeKey>,
    /// When its sector retired it (Unix seconds). Its mappings are gone then.
    pub retired: OnceLock<i64>,
}

impl Epoch {
    /// Whether a pseudonym in this form can be of this epoch: it must have the epoch's text form,
    /// and name no other epoch.
    pub(crate) fn writes(&self, parsed: &ParsedPseudonym) -> bool {
        let is_named = parsed
            .epoch_mod_32
            .is_none_or(|named| u32::from(named) == self.row.epoch % 32);
        self.terms.text_form == parsed.form && is_named
    }

    /// Whether its sector retired it.
    pub fn is_retired(&self) -> bool {
        self.retired.get().is_some()
    }
}

/// A sector at run time.
pub struct SectorState {
    /// What the register says.
    pub sector: Arc<Sector>,
    /// Its number in this store.
    pub number: u32,
    // The rest is shared with the states of the same sector under other registers.
    epochs: Arc<RwLock<Arc<Vec<Arc<Epoch>>>>>,
    segment: Arc<Mutex<Option<Arc<OpenSegment>>>>,
    /// Tombstones of erased pseudonyms.
    tombstones: Arc<RwLock<Arc<HashSet<[u8; 16]>>>>,
}

impl SectorState {
    fn new(
        store: &Store,
        sector: &Arc<Sector>,
        number: u32,
        epochs: Vec<Arc<Epoch>>,
    ) -> Result<Self, StoreError> {
        let tombstones = store.tombstones(sector.uuid)?.into_iter().collect();
        Ok(Self {
            sector: sector.clone(),
            number,
            epochs: Arc::new(RwLock::new(Arc::new(epochs))),
            segment: Arc::default(),
            tombstones: Arc::new(RwLock::new(Arc::new(tombstones))),
        })
    }

    /// The same sector under another register. It shares its epochs with this one unless they
    /// derive or are answered otherwise, and the open segment if its recipients are the same.
    fn under(
        &self,
        before: &Register,
        register: &Register,
        sector: &Arc<Sector>,
        epochs: Vec<Arc<Epoch>>,
        is_advanced: bool,
    ) -> Self {
        let recipients = |register: &Register, sector: &Sector| -> Vec<(Id, Vec<u8>)> {
            let keys = register.recipients(sector);
            keys.map(|(_, key)| (key.id.clone(), key.public.clone()))
                .collect()
        };
        let same_recipients =
            recipients(before, &self.sector) == recipients(register, sector) && !is_advanced;
        let same_epochs = self.sector.path == sector.path && !is_advanced;
        Self {
            sector: sector.clone(),
            number: self.number,
            epochs: if same_epochs {
                self.epochs.clone()
            } else {
                Arc::new(RwLock::new(Arc::new(epochs)))
            },
            segment: if same_recipients {
                self.segment.clone()
            } else {
                Arc::default()
            },
            tombstones: self.tombstones.clone(),
        }
    }

    /// All epochs, oldest first; never empty.
    pub fn epochs(&self) -> Arc<Vec<Arc<Epoch>>> {
        unpoisoned(self.epochs.read()).clone()
    }

    /// The epoch of that number.
    pub fn epoch(&self, number: u32) -> Option<Arc<Epoch>> {
        self.epochs()
            .iter()
            .find(|epoch| epoch.row.epoch == number)
            .cloned()
    }

    /// The epoch of new pseudonyms.
    pub fn current(&self) -> Arc<Epoch> {
        self.epochs().last().expect("a sector has an epoch").clone()
    }

    /// The previous epoch, while its overlap lasts.
    pub fn previous(&self, now: Timestamp) -> Option<Arc<Epoch>> {
        let epochs = self.epochs();
        let [.., previous, current] = epochs.as_slice() else {
            return None;
        };
        (!previous.is_retired() && overlaps(&self.sector, &current.row, now))
            .then(|| previous.clone())
    }

    /// When the overlap with the previous epoch ends.
    pub fn overlap_ends(&self) -> Option<Timestamp> {
        let epochs = self.epochs();
        let [.., _, current] = epochs.as_slice() else {
            return None;
        };
        let opened = Timestamp::from_second(current.row.opened_at).ok()?;
        opened
            .checked_add(SignedDuration::from_hours(
                i64::from(self.sector.epoch_overlap_days) * 24,
            ))
            .ok()
    }

    /// Makes an epoch the current one, which enough places hold.
    pub(crate) fn advance(&self, epoch: impl Into<Arc<Epoch>>, _opened: &HeldByPlaces) {
        let mut epochs = unpoisoned(self.epochs.write());
        let mut next = epochs.as_ref().clone();
        next.push(epoch.into());
        *epochs = Arc::new(next);
    }

    /// Takes back the current epoch, if it is this one and there is one before it.
    pub(super) fn withhold(&self, epoch: u32) -> Option<Arc<Epoch>> {
        let mut epochs = unpoisoned(self.epochs.write());
        let mut before = epochs.as_ref().clone();
        let last = before.pop().filter(|last| last.row.epoch == epoch)?;
        if before.is_empty() {
            return None;
        }
        *epochs = Arc::new(before);
        Some(last)
    }

    /// Forgets the keys of the epochs that derive from a version of the sector secret.
    pub(crate) fn forget(&self, version: u32) {
        let mut epochs = unpoisoned(self.epochs.write());
        let without = |epoch: &Arc<Epoch>| {
            if epoch.row.secret_version != version {
                return epoch.clone();
            }
            Arc::new(Epoch {
                row: epoch.row,
                terms: epoch.terms,
                key: None,
                retired: epoch.retired.clone(),
            })
        };
        *epochs = Arc::new(epochs.iter().map(without).collect());
    }

    /// The segment to seal under now: a new one if the last is over.
    ///
    /// # Errors
    /// [`SealError::PublicKey`] when an authority's key is not one of its suite.
    pub fn segment(
        &self,
        register: &Register,
        signer: &SigningKey,
        now: Timestamp,
    ) -> Result<Arc<OpenSegment>, SealError> {
        let mut current = unpoisoned(self.segment.lock());
        if let Some(segment) = current.as_ref().filter(|segment| !segment.is_over(now)) {
            return Ok(segment.clone());
        }
        let segment = self.open_segment(register, signer, now)?;
        *current = Some(segment.clone());
        Ok(segment)
    }

    /// Opens a new segment, for a batch that the present one has too few counters left for.
    pub(crate) fn fresh_segment(
        &self,
        register: &Register,
        signer: &SigningKey,
        now: Timestamp,
    ) -> Result<Arc<OpenSegment>, SealError> {
        let segment = self.open_segment(register, signer, now)?;
        *unpoisoned(self.segment.lock()) = Some(segment.clone());
        Ok(segment)
    }

    fn open_segment(
        &self,
        register: &Register,
        signer: &SigningKey,
        now: Timestamp,
    ) -> Result<Arc<OpenSegment>, SealError> {
        let keys: Vec<_> = register
            .recipients(&self.sector)
            .map(|(_, key)| key)
            .collect();
        Ok(Arc::new(OpenSegment::create(
            self.sector.uuid,
            &keys,
            signer,
            now,
        )?))
    }

    /// The tombstones of erased pseudonyms, which must not be stored again. `None` if there are
    /// none.
    pub(crate) fn tombstones(&self) -> Option<Arc<HashSet<[u8; 16]>>> {
        let tombstones = unpoisoned(self.tombstones.read());
        (!tombstones.is_empty()).then(|| tombstones.clone())
    }

    /// Adds the tombstones of pseudonyms that are being erased.
    pub(crate) fn add_tombstones(&self, erased: &HashSet<[u8; 16]>) {
        let mut tombstones = unpoisoned(self.tombstones.write());
        *tombstones = Arc::new(tombstones.union(erased).copied().collect());
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        let mut current = unpoisoned(self.segment.lock());
        if current.as_ref().is_some_and(|segment| segment.is_over(now)) {
            *current = None;
        }
    }
}

/// A sector that gets a new epoch at a start, because the register changed its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorAdvance {
    /// Its name.
    pub sector: String,
    /// The epoch whose overlap the new epoch may end.
    pub end_overlap: Option<u32>,
}

/// Sectors at run time, by name.
pub(super) type Sectors = HashMap<String, Arc<SectorState>>;

/// What loads the sectors of a register: at a start, and when it changes.
pub(super) struct SectorLoader<'a> {
    pub(super) store: &'a Store,
    pub(super) roots: &'a HashMap<u32, SectorRootKey>,
    /// Sectors that may get a new epoch because the register changed their terms.
    pub(super) advance: &'a [SectorAdvance],
    pub(super) now: Timestamp,
    /// Whether the custody of the sector secret holds it off this machine by itself.
    pub(super) by_custody: bool,
    /// The register in force and its sectors; none at a start.
    pub(super) before: Option<(&'a Register, &'a Sectors)>,
}

impl SectorLoader<'_> {
    /// Loads every sector of the register, and opens the epochs that are missing. Adds them to
    /// `rows`.
    pub(super) fn load(
        &self,
        register: &Register,
        rows: &mut RegisterRows,
    ) -> Result<(Sectors, Vec<OpenedEpoch>), Vec<StartError>> {
        let store = self.store;
        let numbers: HashMap<_, _> = one_fault(store.sector_numbers())?.into_iter().collect();
        let used = one_fault(store.all_epochs())?;
        let usable = one_fault(UsableVersions::of(store, &used, self.by_custody))?;
        let loader = EpochLoader {
            shared: usable.shared_version(self.roots),
            roots: self.roots,
            advance: self.advance,
            now: self.now,
            retired: one_fault(store.retired_epochs())?,
        };
        let mut next_number = numbers.values().max().map_or(0, |n| n + 1);
        let before = self.before_by_uuid();
        let (mut sectors, mut opened, mut faults) = (HashMap::new(), vec![], vec![]);
        for sector in register.sectors.values() {
            let number = numbers.get(&sector.uuid).copied().unwrap_or_else(|| {
                rows.numbers.push((sector.uuid, next_number));
                next_number += 1;
                next_number - 1
            });
            match self.load_epochs(&loader, sector, rows) {
                Ok((epochs, new)) => {
                    let state = match before.get(&sector.uuid) {
                        Some((old_register, old)) => {
                            old.under(old_register, register, sector, epochs, new.is_some())
                        }
                        None => one_fault(SectorState::new(store, sector, number, epochs))?,
                    };
                    opened.extend(new);
                    sectors.insert(sector.name.clone(), Arc::new(state));
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok((sectors, opened))
        } else {
            Err(faults)
        }
    }

    fn before_by_uuid(&self) -> HashMap<Uuid, (&Register, &SectorState)> {
        let before = self.before.into_iter();
        before
            .flat_map(|(register, sectors)| sectors.values().map(move |state| (register, state)))
            .map(|(register, state)| (state.sector.uuid, (register, &**state)))
            .collect()
    }

    /// A sector's epochs, and the one that is opened because it has none, or has one with other
    /// terms.
    fn load_epochs(
        &self,
        loader: &EpochLoader<'_>,
        sector: &Sector,
        new: &mut RegisterRows,
    ) -> Result<(Vec<Arc<Epoch>>, Option<OpenedEpoch>), StartError> {
        let mut rows = self.store.epochs(sector.uuid)?;
        let terms = Terms::of(sector).to_bytes();
        let opened = if rows.last().is_none_or(|row| row.terms != terms) {
            let (row, ended_overlap) = loader.next(sector, &rows)?;
            new.epochs.push((sector.uuid, row));
            rows.push(row);
            Some(OpenedEpoch {
                sector: sector.name.clone(),
                epoch: row.epoch,
                secret_version: row.secret_version,
                ended_overlap,
            })
        } else {
            None
        };
        let epochs = loader.load(sector, rows)?;
        check_epochs(sector, &epochs)?;
        Ok((epochs, opened))
    }
}

fn one_fault<T>(read: Result<T, StoreError>) -> Result<T, Vec<StartError>> {
    read.map_err(|error| vec![error.into()])
}

/// What a start needs to load the epochs of all sectors.
struct EpochLoader<'a> {
    roots: &'a HashMap<u32, SectorRootKey>,
    advance: &'a [SectorAdvance],
    now: Timestamp,
    /// The version of the sector secret that new epochs share.
    shared: u32,
    /// Sector, epoch, and when it was retired (Unix seconds).
    retired: Vec<(Uuid, u32, i64)>,
}

impl EpochLoader<'_> {
    /// The row of a new epoch with the register's terms, and the epoch whose overlap it ends.
    fn next(
        &self,
        sector: &Sector,
        rows: &[EpochRow],
    ) -> Result<(EpochRow, Option<u32>), StartError> {
        let ended_overlap = if rows.is_empty() {
            None
        } else {
            self.overlap_to_end(sector, rows)?
        };
        Ok((
            next_row(rows.last(), self.shared, false, Terms::of(sector), self.now),
            ended_overlap,
        ))
    }

    /// A sector's epochs, with the keys whose secrets are here.
    fn load(&self, sector: &Sector, rows: Vec<EpochRow>) -> Result<Vec<Arc<Epoch>>, StoreError> {
        let mut epochs = Vec::with_capacity(rows.len());
        for row in rows {
            let epoch = load(sector, row, self.roots)?;
            if let Some(time) = self.retired_at(sector, row.epoch) {
                let _ = epoch.retired.set(time);
            }
            epochs.push(Arc::new(epoch));
        }
        Ok(epochs)
    }

    fn retired_at(&self, sector: &Sector, epoch: u32) -> Option<i64> {
        let row = self
            .retired
            .iter()
            .find(|(uuid, number, _)| (*uuid, *number) == (sector.uuid, epoch));
        row.map(|(.., time)| *time)
    }

    /// The epoch whose overlap ends when a start opens the next one. An error unless the start was
    /// told to end it.
    fn overlap_to_end(
        &self,
        sector: &Sector,
        rows: &[EpochRow],
    ) -> Result<Option<u32>, StartError> {
        let asked = self
            .advance
            .iter()
            .find(|asked| asked.sector == sector.name);
        let asked = asked.ok_or_else(|| StartError::TermsChanged(sector.name.clone()))?;
        let [.., previous, current] = rows else {
            return Ok(None);
        };
        if self.retired_at(sector, previous.epoch).is_some() || !overlaps(sector, current, self.now)
        {
            return Ok(None);
        }
        if asked.end_overlap == Some(previous.epoch) {
            Ok(asked.end_overlap)
        } else {
            Err(StartError::EpochOverlaps {
                sector: sector.name.clone(),
                epoch: previous.epoch,
            })
        }
    }
}

/// Refuses a sector with an epoch whose text form the register does not name, or without the key of
/// its current epoch.
fn check_epochs(sector: &Sector, epochs: &[Arc<Epoch>]) -> Result<(), StartError> {
    // A node knows the forms from the register alone. No order can name a pseudonym that the node
    // cannot parse.
    let told =
        |form: TextForm| form == sector.text_form || sector.former_text_forms.contains(&form);
    let named = |epoch: &&Arc<Epoch>| epoch.terms.reversible && !epoch.is_retired();
    if let Some(epoch) = epochs
        .iter()
        .filter(named)
        .find(|epoch| !told(epoch.terms.text_form))
    {
        let form = epoch.terms.text_form.as_str();
        return Err(StartError::FormerTextForm {
            sector: sector.name.clone(),
            form,
        });
    }
    let current = epochs.last().expect("the first epoch was just made");
    if current.key.is_none() {
        let (epoch, version) = (current.row.epoch, current.row.secret_version);
        return Err(StartError::SecretMissing {
            sector: sector.name.clone(),
            epoch,
            version,
        });
    }
    Ok(())
}

/// Whether the epoch before `current` is still answered beside it.
fn overlaps(sector: &Sector, current: &EpochRow, now: Timestamp) -> bool {
    now.as_second() - current.opened_at < i64::from(sector.epoch_overlap_days) * 86_400
}

/// The row of the epoch that follows `last`.
pub(crate) fn next_row(
    last: Option<&EpochRow>,
    secret_version: u32,
    own_secret: bool,
    terms: Terms,
    now: Timestamp,
) -> EpochRow {
    EpochRow {
        epoch: last.map_or(1, |row| row.epoch + 1),
        secret_version,
        own_secret,
        opened_at: now.as_second(),
        terms: terms.to_bytes(),
    }
}

/// An epoch with its key.
pub(crate) fn load(
    sector: &Sector,
    row: EpochRow,
    roots: &HashMap<u32, SectorRootKey>,
) -> Result<Epoch, StoreError> {
    let terms = Terms::from_bytes(row.terms).ok_or(StoreError::Corrupt("state-epoch"))?;
    let key = roots
        .get(&row.secret_version)
        .map(|root| root.sector(&sector.path));
    Ok(Epoch {
        row,
        terms,
        key,
        retired: OnceLock::new(),
    })
}
