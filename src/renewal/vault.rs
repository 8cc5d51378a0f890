//! The vault's side: hands out segments, takes what a node made of them, drops old recipients.

mod old;
mod page;
mod take;

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use uuid::Uuid;

use super::{FAILED, MOST_EXAMINED, segment_id};
use crate::audit::{AuditEvent, SegmentsDetails};
use crate::commit::Change;
use crate::id::hex;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{AuthorityKey, Id, Register, Sector};
use crate::seal::record::{SegmentRecipient, SegmentRecord};
use crate::seal::segment::SegmentId;
use crate::vault::Vault;
pub use old::{drop_old, stranded};
pub use page::page;
pub use take::take;

/// The recipients that the register lists for each sector, and the vault's own signatures.
struct RegisteredRecipients<'v> {
    register: &'v Register,
    sectors: BTreeMap<Uuid, &'v Arc<Sector>>,
    /// The keys with which the vault signs segments, or once did.
    own_keys: Vec<VerifyingKey>,
}

impl<'v> RegisteredRecipients<'v> {
    fn of(vault: &'v Vault) -> Self {
        let register = vault.register();
        let sectors = register
            .sectors
            .values()
            .map(|sector| (sector.uuid, sector))
            .collect();
        Self {
            register,
            sectors,
            own_keys: vault.segment_keys(),
        }
    }

    /// The sector of a record, if that authority (or any at all) is competent in it.
    fn sector(&self, record: &SegmentRecord, authority: Option<&Id>) -> Option<&'v Sector> {
        let sector = self.sectors.get(&record.sector)?;
        authority
            .is_none_or(|authority| sector.authorities.contains(authority))
            .then_some(sector)
    }

    /// The keys to which the sector's segments have to be sealed.
    fn wanted<'s>(&'s self, sector: &'s Sector) -> impl Iterator<Item = &'s AuthorityKey> {
        self.register.recipients(sector).map(|(_, key)| key)
    }
}

/// At most [`MOST_EXAMINED`] stored segments in the order of their ids, and where the next run
/// begins.
struct SegmentRun {
    /// At the beginning: how many segments there are.
    total: Option<u64>,
    rows: Vec<(SegmentId, Vec<u8>)>,
    next: Option<String>,
}

impl SegmentRun {
    fn after(vault: &Vault, after: Option<&str>) -> Result<Self, Refusal> {
        let after = after.map(segment_id).transpose()?;
        let total = match after {
            Some(_) => None,
            None => Some(vault.store().segment_count().map_err(fault(FAILED))?),
        };
        let rows = vault
            .store()
            .segments_after(after.as_ref(), MOST_EXAMINED)
            .map_err(fault(FAILED))?;
        let is_full = rows.len() == MOST_EXAMINED;
        let next = rows.last().filter(|_| is_full).map(|(id, _)| hex(id));
        Ok(Self { total, rows, next })
    }
}

/// Reads a record that the vault itself signed and that stands under its own id. No other record
/// must be signed again.
fn read_own_record(
    registered: &RegisteredRecipients<'_>,
    id: &SegmentId,
    bytes: &[u8],
) -> Option<SegmentRecord> {
    let record = SegmentRecord::read(bytes, &registered.own_keys)
        .ok()
        .filter(|record| record.id == *id);
    if record.is_none() {
        tracing::debug!(
            "a stored segment is not signed by this vault: is an earlier [[segment-key]] missing?"
        );
    }
    record
}

/// A key's id and the SHA-256 of its entry, which a node has proved to open.
type ProvedEntry = (String, [u8; 32]);

fn is_proved(recipient: &SegmentRecipient, proofs: &[ProvedEntry]) -> bool {
    proofs
        .iter()
        .any(|(key, entry)| *key == recipient.key && *entry == recipient.digest())
}

/// The digest that checks whether a node has opened the segment. Segments that an earlier version
/// made have none, so that no proof of them can be told from a claim.
fn opening(vault: &Vault, id: &SegmentId) -> Result<Option<[u8; 32]>, Refusal> {
    vault.store().segment_opening(id).map_err(fault(FAILED))
}

/// The proofs of a segment; none if no digest could check them.
fn proofs(vault: &Vault, id: &SegmentId) -> Result<Vec<ProvedEntry>, Refusal> {
    match opening(vault, id)? {
        Some(_) => vault.store().segment_proofs(id).map_err(fault(FAILED)),
        None => Ok(vec![]),
    }
}

/// A segment that is being changed.
struct SegmentDraft {
    record: SegmentRecord,
    /// Whether the record has to be signed again.
    changed: bool,
    /// By key: the entry that is proved now, or nothing if its proof falls.
    proofs: BTreeMap<String, Option<[u8; 32]>>,
}

impl SegmentDraft {
    fn of(record: SegmentRecord) -> Self {
        Self {
            record,
            changed: false,
            proofs: BTreeMap::new(),
        }
    }

    /// What the commit writes.
    fn change(self, vault: &Vault) -> Result<Change, Refusal> {
        let Self {
            record,
            changed,
            proofs,
        } = self;
        let signed = changed
            .then(|| record.sign(vault.segment_signer()))
            .transpose()
            .map_err(fault(FAILED))?;
        Ok(Box::new(move |store, batch| {
            if let Some(signed) = signed {
                store.put_segment(batch, &record.id, &signed);
            }
            for (key, entry) in &proofs {
                match entry {
                    Some(entry) => store.put_segment_proof(batch, &record.id, key, entry),
                    None => store.delete_segment_proof(batch, &record.id, key),
                }
            }
        }))
    }
}

/// Commits changes and their entry durably.
fn commit(vault: &Vault, entry: SegmentsDetails, changes: Vec<Change>) -> Result<(), Refusal> {
    let event = AuditEvent::Segments(Box::new(entry));
    vault
        .committer()
        .record(vault.now(), event, vec![], changes)
        .map(drop)
        .map_err(not_logged("nothing is changed"))
}
