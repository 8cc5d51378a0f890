//! The vault's side: which segments lack what, and what a node brought for them.

mod old;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::VerifyingKey;
use uuid::Uuid;

use super::{
    FAILED, MOST_EXAMINED, MOST_RECIPIENTS, MOST_SEGMENTS, NewRecipient, RecipientProof,
    RecipientsTaken, RenewalTask, SegmentAnswer, SegmentPage, SegmentQuestion, segment_id,
};
use crate::access::NodePermit;
use crate::audit::{AuditEvent, SegmentAction, SegmentsDetails};
use crate::code::Code;
use crate::commit::Change;
use crate::execution::{check_register, hex};
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{AuthorityKey, Id, Register, Sector};
use crate::seal::record::{Recipient, Record};
use crate::seal::segment::{SegmentId, is_opening};
use crate::vault::Vault;
pub use old::{drop_old, stranded};

/// What the register says of the sectors, by UUID.
struct RegisteredRecipients<'v> {
    register: &'v Register,
    sectors: BTreeMap<Uuid, &'v Arc<Sector>>,
    /// The vault's own signatures.
    signed: Vec<VerifyingKey>,
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
            signed: vault.segment_keys(),
        }
    }

    /// The sector of a record, if that authority (or any at all) is competent in it.
    fn sector(&self, record: &Record, authority: Option<&Id>) -> Option<&'v Sector> {
        let sector = self.sectors.get(&record.sector)?;
        authority
            .is_none_or(|authority| sector.authorities.contains(authority))
            .then_some(sector)
    }

    fn wanted(&self, sector: &'v Sector) -> Vec<&'v AuthorityKey> {
        self.register
            .recipients(sector)
            .map(|(_, key)| key)
            .collect()
    }
}

/// A page of segments that a node of this authority has something to do with.
///
/// # Errors
/// [`Code::RegisterMismatch`], [`Code::AuditUnavailable`], [`Code::Internal`].
pub fn page(
    vault: &Vault,
    permit: &NodePermit,
    question: &SegmentQuestion,
) -> Result<SegmentPage, Refusal> {
    check_register(vault.register(), &question.register)?;
    let (law, own) = (RegisteredRecipients::of(vault), &permit.authority);
    let after = question.after.as_deref().map(segment_id).transpose()?;
    let total = after
        .is_none()
        .then(|| vault.store().segment_count())
        .transpose()
        .map_err(fault(FAILED))?;
    let rows = vault
        .store()
        .segments_after(after.as_ref(), MOST_EXAMINED)
        .map_err(fault(FAILED))?;
    let mut page = SegmentPage {
        register: hex(&vault.register().digest),
        segments: vec![],
        examined: 0,
        total,
        beyond: 0,
        unprovable: 0,
        refused: 0,
        next: (rows.len() == MOST_EXAMINED)
            .then(|| rows.last().map(|(id, _)| hex(id)))
            .flatten(),
    };
    let (mut keys, mut asked) = (BTreeSet::new(), 0);
    for (id, bytes) in rows {
        page.examined += 1;
        let Some(record) = genuine(&law, &id, &bytes) else {
            page.refused += 1;
            continue;
        };
        let Some(sector) = law.sector(&record, Some(&own.id)) else {
            continue;
        };
        let is_own =
            |recipient: &&Recipient| own.keys.iter().any(|own| own.id.as_str() == recipient.key);
        let todo: Vec<String> = match question.task {
            RenewalTask::Rewrap => lacking(&law, &record, sector),
            RenewalTask::Prove => {
                let proofs = proofs(vault, &id)?;
                let unproved = record
                    .recipients
                    .iter()
                    .filter(is_own)
                    .filter(|one| !is_proved(one, &proofs));
                unproved.map(|one| one.key.clone()).collect()
            }
        };
        if todo.is_empty() {
            continue;
        }
        if question.task == RenewalTask::Prove && opening(vault, &id)?.is_none() {
            page.unprovable += 1;
            continue;
        }
        if !record.recipients.iter().any(|one| is_own(&one)) {
            page.beyond += 1;
            continue;
        }
        asked += todo.len();
        keys.extend(todo);
        page.segments.push(BASE64URL_NOPAD.encode(&bytes));
        if page.segments.len() == MOST_SEGMENTS || asked >= MOST_RECIPIENTS {
            page.next = Some(hex(&id));
            break;
        }
    }
    if !page.segments.is_empty() {
        note_handout(
            vault,
            &own.id,
            question.task,
            page.segments.len(),
            keys.into_iter().collect(),
        )?;
    }
    Ok(page)
}

/// The keys that the register lists for the sector and that the record has no recipient for.
fn lacking(law: &RegisteredRecipients<'_>, record: &Record, sector: &Sector) -> Vec<String> {
    let lacking = law
        .register
        .recipients(sector)
        .filter(|(_, key)| record.recipient(key.id.as_str()).is_none());
    lacking.map(|(_, key)| key.id.to_string()).collect()
}

/// Writes down, before they go out, that segments are handed out to be opened.
fn note_handout(
    vault: &Vault,
    authority: &Id,
    task: RenewalTask,
    segments: usize,
    keys: Vec<String>,
) -> Result<(), Refusal> {
    let action = match task {
        RenewalTask::Rewrap => SegmentAction::HandOutToRewrap,
        RenewalTask::Prove => SegmentAction::HandOutToProve,
    };
    let entry = SegmentsDetails {
        actor: authority.clone(),
        action,
        keys,
        segments: segments as u64,
        recipients: 0,
    };
    commit(vault, entry, vec![])
}

/// A record that the vault itself signed, under its own id: whatever else lies there is not to be
/// signed anew.
fn genuine(law: &RegisteredRecipients<'_>, id: &SegmentId, bytes: &[u8]) -> Option<Record> {
    let record = Record::read(bytes, &law.signed)
        .ok()
        .filter(|record| record.id == *id);
    if record.is_none() {
        tracing::debug!(
            "a stored segment is not signed by this vault: is an earlier [[segment-key]] missing?"
        );
    }
    record
}

fn is_proved(recipient: &Recipient, proofs: &[(String, [u8; 32])]) -> bool {
    proofs
        .iter()
        .any(|(key, entry)| *key == recipient.key && *entry == recipient.digest())
}

/// The SHA-256 of what shows that somebody opened a segment. A segment that an earlier version
/// made has none, so a claim about it cannot be told from a proof.
fn opening(vault: &Vault, id: &SegmentId) -> Result<Option<[u8; 32]>, Refusal> {
    vault.store().segment_opening(id).map_err(fault(FAILED))
}

/// The proofs of a segment; none counts where nothing could tell it from a claim.
fn proofs(vault: &Vault, id: &SegmentId) -> Result<Vec<(String, [u8; 32])>, Refusal> {
    match opening(vault, id)? {
        Some(_) => vault.store().segment_proofs(id).map_err(fault(FAILED)),
        None => Ok(vec![]),
    }
}

fn is_proved_now(vault: &Vault, record: &Record, key: &str) -> Result<bool, Refusal> {
    let proofs = proofs(vault, &record.id)?;
    Ok(record
        .recipient(key)
        .is_some_and(|recipient| is_proved(recipient, &proofs)))
}

/// SegmentsDetails that are being changed, as far as they were read.
struct SegmentDrafts<'v> {
    vault: &'v Vault,
    law: &'v RegisteredRecipients<'v>,
    authority: &'v Id,
    all: BTreeMap<SegmentId, SegmentDraft<'v>>,
}

struct SegmentDraft<'v> {
    record: Record,
    sector: &'v Sector,
    /// Whether it is to be signed anew.
    changed: bool,
    /// Keys whose entry is proved, or whose proof falls.
    proofs: BTreeMap<String, Option<[u8; 32]>>,
}

impl SegmentDraft<'_> {
    /// Whether a recipient other than that key's is proved to open.
    fn has_another_proved(&self, vault: &Vault, key: &str) -> Result<bool, Refusal> {
        let proofs = proofs(vault, &self.record.id)?;
        let now = |one: &Recipient| self.proofs.get(&one.key).is_some_and(Option::is_some);
        Ok(self
            .record
            .recipients
            .iter()
            .any(|one| one.key != key && (now(one) || is_proved(one, &proofs))))
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::RecipientInvalid, why.to_owned())
}

impl<'v> SegmentDrafts<'v> {
    fn of(&mut self, text: &str) -> Result<&mut SegmentDraft<'v>, Refusal> {
        let id = segment_id(text)?;
        if !self.all.contains_key(&id) {
            let bytes = self.vault.store().segment(&id).map_err(fault(FAILED))?;
            let record = bytes.and_then(|bytes| genuine(self.law, &id, &bytes));
            let record = record
                .ok_or_else(|| invalid("there is no segment of that id that the vault signed"))?;
            let sector = self.law.sector(&record, Some(self.authority));
            let sector = sector
                .ok_or_else(|| invalid("the authority is not competent in the segment's sector"))?;
            self.all.insert(
                id,
                SegmentDraft {
                    record,
                    sector,
                    changed: false,
                    proofs: BTreeMap::new(),
                },
            );
        }
        self.all
            .get_mut(&id)
            .ok_or("a draft that was just made is gone")
            .map_err(fault(FAILED))
    }

    /// Whether it was not there yet.
    fn add(&mut self, new: &NewRecipient) -> Result<bool, Refusal> {
        let law = self.law;
        let draft = self.of(&new.segment)?;
        let key = law
            .wanted(draft.sector)
            .into_iter()
            .find(|key| key.id.as_str() == new.key);
        let key = key.ok_or_else(|| {
            invalid("the register lists no such key of an authority competent in the sector")
        })?;
        let bytes = |text: &str| {
            BASE64URL_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| invalid("it is not base64url"))
        };
        let recipient = Recipient {
            suite: new.suite,
            key: new.key.clone(),
            enc: bytes(&new.enc)?,
            ct: bytes(&new.ct)?,
        };
        if !recipient.fits(key) {
            return Err(invalid("it is not of the suite that the register states"));
        }
        let is_new = draft.record.recipient(&new.key).is_none();
        if is_new {
            draft.record.recipients.push(recipient);
            draft.changed = true;
        }
        Ok(is_new)
    }

    /// Finds what a proof is about: a recipient under a key of the authority's own, still as it was
    /// seen.
    fn about(
        &mut self,
        proof: &RecipientProof,
        own: &[AuthorityKey],
    ) -> Result<Option<(&mut SegmentDraft<'v>, [u8; 32])>, Refusal> {
        if !own.iter().any(|key| key.id.as_str() == proof.key) {
            return Err(invalid(
                "only an authority's own node can say whether its key opens a segment",
            ));
        }
        let vault = self.vault;
        let draft = self.of(&proof.segment)?;
        let digest = opening(vault, &draft.record.id)?;
        let shown = HEXLOWER
            .decode(proof.opening.as_bytes())
            .unwrap_or_default();
        let digest = digest.ok_or_else(|| {
            invalid("the store has nothing by which to tell that somebody opened this segment, so no proof is believed")
        })?;
        if !is_opening(&shown, &digest) {
            return Err(invalid("nothing shows that the node opened the segment"));
        }
        let entry = draft.record.recipient(&proof.key).map(Recipient::digest);
        // The entry may have changed since: then the node looks at it again.
        Ok(entry
            .filter(|entry| hex(entry) == proof.entry)
            .map(|entry| (draft, entry)))
    }
}

/// Takes what a node did with a page: recipients are added, proofs noted.
///
/// # Errors
/// [`Code::RegisterMismatch`]; [`Code::RecipientInvalid`], and nothing of it is taken then;
/// [`Code::AuditUnavailable`].
pub fn take(
    vault: &Vault,
    permit: &NodePermit,
    done: &SegmentAnswer,
) -> Result<RecipientsTaken, Refusal> {
    check_register(vault.register(), &done.register)?;
    let _one_at_a_time = vault
        .segment_changes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let (law, own) = (RegisteredRecipients::of(vault), &permit.authority);
    let mut drafts = SegmentDrafts {
        vault,
        law: &law,
        authority: &own.id,
        all: BTreeMap::new(),
    };
    let mut taken = RecipientsTaken {
        added: 0,
        proved: 0,
        discarded: 0,
    };
    for new in &done.added {
        taken.added += u64::from(drafts.add(new)?);
    }
    for proof in &done.proved {
        if let Some((draft, entry)) = drafts.about(proof, &own.keys)? {
            draft.proofs.insert(proof.key.clone(), Some(entry));
            taken.proved += 1;
        }
    }
    for proof in &done.broken {
        // What was proved once opens, whatever a node says later; and the last one that may open
        // stays.
        if let Some((draft, _)) = drafts.about(proof, &own.keys)?
            && !is_proved_now(vault, &draft.record, &proof.key)?
            && draft.has_another_proved(vault, &proof.key)?
        {
            draft.record.recipients.retain(|one| one.key != proof.key);
            draft.proofs.insert(proof.key.clone(), None);
            draft.changed = true;
            taken.discarded += 1;
        }
    }
    for (action, recipients, keys) in [
        (
            SegmentAction::Rewrap,
            taken.added,
            names(done.added.iter().map(|new| &new.key)),
        ),
        (
            SegmentAction::Prove,
            taken.proved,
            names(done.proved.iter().map(|proof| &proof.key)),
        ),
        (
            SegmentAction::Discard,
            taken.discarded,
            names(done.broken.iter().map(|proof| &proof.key)),
        ),
    ] {
        if recipients == 0 {
            continue;
        }
        // All changes lie in the commit of the first entry; there is hardly ever a second.
        let drafts = std::mem::take(&mut drafts.all);
        let segments = drafts.len() as u64;
        let changes = drafts
            .into_values()
            .map(|draft| change(vault, draft))
            .collect::<Result<_, _>>()?;
        commit(
            vault,
            SegmentsDetails {
                actor: own.id.clone(),
                action,
                keys,
                segments,
                recipients,
            },
            changes,
        )?;
    }
    Ok(taken)
}

fn names<'n>(keys: impl Iterator<Item = &'n String>) -> Vec<String> {
    keys.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn change(vault: &Vault, draft: SegmentDraft<'_>) -> Result<Change, Refusal> {
    let SegmentDraft {
        record,
        changed,
        proofs,
        ..
    } = draft;
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

/// Writes changes and their entry, durably.
fn commit(vault: &Vault, entry: SegmentsDetails, changes: Vec<Change>) -> Result<(), Refusal> {
    let recorded = vault.committer().record(
        vault.now(),
        AuditEvent::Segments(Box::new(entry)),
        vec![],
        changes,
    );
    recorded.map(drop).map_err(not_logged("nothing is changed"))
}
