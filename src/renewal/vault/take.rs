//! Takes what a node made of a page: new recipients, proofs, and recipients that do not open.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use super::super::{
    FAILED, NewRecipient, RecipientProof, RecipientsTaken, SegmentAnswer, segment_id,
};
use super::{
    RegisteredRecipients, SegmentDraft, commit, is_proved, opening, proofs, read_own_record,
};
use crate::access::NodePermit;
use crate::audit::{SegmentAction, SegmentsDetails};
use crate::code::Code;
use crate::execution::check_register;
use crate::id::hex;
use crate::refusal::{Refusal, fault};
use crate::register::{AuthorityKey, Id};
use crate::seal::record::{SegmentRecipient, SegmentRecord};
use crate::seal::segment::{SegmentId, is_opening};
use crate::vault::Vault;

/// Takes what a node did with a page: adds recipients, keeps proofs, discards recipients that do
/// not open.
///
/// # Errors
/// [`Code::RegisterMismatch`]; [`Code::RecipientInvalid`], and nothing of it is taken then;
/// [`Code::AuditUnavailable`].
pub fn take(
    vault: &Vault,
    permit: &NodePermit,
    answer: &SegmentAnswer,
) -> Result<RecipientsTaken, Refusal> {
    check_register(vault, &answer.register)?;
    let _segments = vault.lock_segments();
    let (registered, own) = (RegisteredRecipients::of(vault), &permit.authority);
    let mut drafts = SegmentDrafts {
        vault,
        registered: &registered,
        authority: &own.id,
        all: BTreeMap::new(),
    };
    let mut taken = RecipientsTaken {
        added: 0,
        proved: 0,
        discarded: 0,
    };
    for new in &answer.added {
        taken.added += u64::from(drafts.add(new)?);
    }
    for proof in &answer.proved {
        taken.proved += u64::from(drafts.prove(proof, &own.keys)?);
    }
    for proof in &answer.broken {
        taken.discarded += u64::from(drafts.discard(proof, &own.keys)?);
    }
    drafts.commit(answer, &taken)?;
    Ok(taken)
}

/// Segments that are being changed, as far as they were read.
struct SegmentDrafts<'v> {
    vault: &'v Vault,
    registered: &'v RegisteredRecipients<'v>,
    authority: &'v Id,
    all: BTreeMap<SegmentId, SegmentDraft>,
}

impl SegmentDrafts<'_> {
    /// The draft of a segment, read from the store the first time.
    fn draft(&mut self, text: &str) -> Result<&mut SegmentDraft, Refusal> {
        let id = segment_id(text)?;
        if !self.all.contains_key(&id) {
            let bytes = self.vault.store().segment(&id).map_err(fault(FAILED))?;
            let record = bytes
                .and_then(|bytes| read_own_record(self.registered, &id, &bytes))
                .ok_or_else(|| invalid("there is no segment of that id that the vault signed"))?;
            self.registered
                .sector(&record, Some(self.authority))
                .ok_or_else(|| invalid("the authority is not competent in the segment's sector"))?;
            self.all.insert(id, SegmentDraft::of(record));
        }
        self.all
            .get_mut(&id)
            .ok_or("a draft that was just made is gone")
            .map_err(fault(FAILED))
    }

    /// Adds a recipient. Returns false if the segment has it already.
    fn add(&mut self, new: &NewRecipient) -> Result<bool, Refusal> {
        let registered = self.registered;
        let draft = self.draft(&new.segment)?;
        let key = registered
            .sector(&draft.record, None)
            .and_then(|sector| {
                registered
                    .wanted(sector)
                    .find(|key| key.id.as_str() == new.key)
            })
            .ok_or_else(|| {
                invalid("the register lists no such key of an authority competent in the sector")
            })?;
        let bytes = |text: &str| {
            BASE64URL_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| invalid("it is not base64url"))
        };
        let recipient = SegmentRecipient {
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

    /// Keeps a proof. Returns false if the recipient has changed since the node saw it.
    fn prove(&mut self, proof: &RecipientProof, own: &[AuthorityKey]) -> Result<bool, Refusal> {
        let Some((draft, entry)) = self.proof_target(proof, own)? else {
            return Ok(false);
        };
        draft.proofs.insert(proof.key.clone(), Some(entry));
        Ok(true)
    }

    /// Takes out a recipient that does not open. It keeps one that was proved before, because that
    /// one does open, and the last one that may open.
    fn discard(&mut self, proof: &RecipientProof, own: &[AuthorityKey]) -> Result<bool, Refusal> {
        let vault = self.vault;
        let Some((draft, _)) = self.proof_target(proof, own)? else {
            return Ok(false);
        };
        if is_proved_now(vault, &draft.record, &proof.key)?
            || !has_another_proved(vault, draft, &proof.key)?
        {
            return Ok(false);
        }
        draft.record.recipients.retain(|one| one.key != proof.key);
        draft.proofs.insert(proof.key.clone(), None);
        draft.changed = true;
        Ok(true)
    }

    /// Finds the recipient that a proof is about: under one of the authority's own keys, and still
    /// as the node saw it.
    fn proof_target(
        &mut self,
        proof: &RecipientProof,
        own: &[AuthorityKey],
    ) -> Result<Option<(&mut SegmentDraft, [u8; 32])>, Refusal> {
        if !own.iter().any(|key| key.id.as_str() == proof.key) {
            return Err(invalid(
                "only an authority's own node can say whether its key opens a segment",
            ));
        }
        let vault = self.vault;
        let draft = self.draft(&proof.segment)?;
        let digest = opening(vault, &draft.record.id)?;
        let shown = HEXLOWER
            .decode(proof.opening.as_bytes())
            .unwrap_or_default();
        let digest = digest.ok_or_else(|| {
            invalid(
                "an earlier version made this segment, so that no proof about it can be checked",
            )
        })?;
        if !is_opening(&shown, &digest) {
            return Err(invalid("nothing shows that the node opened the segment"));
        }
        let entry = draft
            .record
            .recipient(&proof.key)
            .map(SegmentRecipient::digest);
        // If the entry has changed since, the node looks at it again.
        Ok(entry
            .filter(|entry| hex(entry) == proof.entry)
            .map(|entry| (draft, entry)))
    }

    /// Logs each kind of change that was made, and commits all changes with the first entry: there
    /// is hardly ever a second.
    fn commit(mut self, answer: &SegmentAnswer, taken: &RecipientsTaken) -> Result<(), Refusal> {
        for (action, recipients, keys) in [
            (
                SegmentAction::Rewrap,
                taken.added,
                distinct(answer.added.iter().map(|new| &new.key)),
            ),
            (
                SegmentAction::Prove,
                taken.proved,
                distinct(answer.proved.iter().map(|proof| &proof.key)),
            ),
            (
                SegmentAction::Discard,
                taken.discarded,
                distinct(answer.broken.iter().map(|proof| &proof.key)),
            ),
        ] {
            if recipients == 0 {
                continue;
            }
            let drafts = std::mem::take(&mut self.all);
            let segments = drafts.len() as u64;
            let changes = drafts
                .into_values()
                .map(|draft| draft.change(self.vault))
                .collect::<Result<_, _>>()?;
            let entry = SegmentsDetails {
                actor: self.authority.clone(),
                action,
                keys,
                segments,
                recipients,
            };
            commit(self.vault, entry, changes)?;
        }
        Ok(())
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::RecipientInvalid, why.to_owned())
}

fn distinct<'n>(keys: impl Iterator<Item = &'n String>) -> Vec<String> {
    keys.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether the store has a proof of a key's recipient.
fn is_proved_now(vault: &Vault, record: &SegmentRecord, key: &str) -> Result<bool, Refusal> {
    let proofs = proofs(vault, &record.id)?;
    Ok(record
        .recipient(key)
        .is_some_and(|recipient| is_proved(recipient, &proofs)))
}

/// Whether a recipient other than that key's is proved to open, now or by an earlier answer.
fn has_another_proved(vault: &Vault, draft: &SegmentDraft, key: &str) -> Result<bool, Refusal> {
    let proofs = proofs(vault, &draft.record.id)?;
    let now = |one: &SegmentRecipient| draft.proofs.get(&one.key).is_some_and(Option::is_some);
    let mut others = draft.record.recipients.iter().filter(|one| one.key != key);
    Ok(others.any(|one| now(one) || is_proved(one, &proofs)))
}
