//! Unsealing and sealing an authority's node or an identity source: custodians bring their shares
//! one by one; any custodian can seal it, and at a node any officer.
//!
//! Only the custodian for whom a share was made, and whom the register names, can bring it, over
//! their own certificate. So neither a share file with its passphrase nor a certificate is enough,
//! and the log names who came. The node checks each share against the pinned set; one that does not
//! fit leaves the others as they were. Only custodians and officers learn how many shares the node
//! has.
//!
//! The node logs each share before it counts it, and an unsealing before the key is in the safe.
//! When it seals, it wipes the keys first and logs afterwards.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::{CustodianPermit, SealPermit};
use crate::audit::{AuditEvent, CustodyAction, CustodyDetails};
use crate::code::Code;
use crate::entity::Entity;
use crate::id::hex;
use crate::identity::IdentitySource;
use crate::keys::file::SecretKind;
use crate::keys::shares::{Share, ShareError, ShareSet};
use crate::keys::{AuthoritySecret, IdentityKeys, IdentitySecret};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::register::{Id, Suite};
use crate::safe::{GatheredShares, KeySafe, KeySlot, SharePurpose, TwoClockMoment};
use crate::seal::segment::AuthorityPrivateKey;

/// A side whose keys can be sealed.
pub trait SealableSide {
    /// What is sealed.
    type SealedKey;

    /// The side.
    fn side(&self) -> &Entity;

    /// Its keys.
    fn key_safe(&self) -> &KeySafe<Self::SealedKey>;

    /// How the log names it where it seals by itself.
    fn own_id(&self) -> &Id;

    /// The key of that id that the shares make, if it is the one that the set states.
    fn recover(set: &ShareSet, shares: &[Share], id: &str) -> Option<Self::SealedKey>;
}

impl SealableSide for Node {
    type SealedKey = AuthorityPrivateKey;

    fn side(&self) -> &Entity {
        self
    }

    fn key_safe(&self) -> &KeySafe<AuthorityPrivateKey> {
        self.safe()
    }

    fn own_id(&self) -> &Id {
        &self.authority().id
    }

    /// The register states the public half, which the set repeats.
    fn recover(set: &ShareSet, shares: &[Share], id: &str) -> Option<AuthorityPrivateKey> {
        let scalar = AuthoritySecret(
            set.recover(&shares.iter().collect::<Vec<_>>())
                .ok()?
                .pop()?,
        );
        let public = &set.secrets.first()?.public;
        let key = AuthorityPrivateKey::derive(&scalar, id, Suite::of_public(public)?);
        (key.public() == public).then_some(key)
    }
}

/// Whether a set is of the identity secret and of nothing else, as `identity split` makes it.
pub fn holds_identity_alone(set: &ShareSet) -> bool {
    matches!(&set.secrets[..], [one] if one.kind == SecretKind::Identity)
}

impl SealableSide for IdentitySource {
    type SealedKey = IdentityKeys;

    fn side(&self) -> &Entity {
        self
    }

    fn key_safe(&self) -> &KeySafe<IdentityKeys> {
        self.safe()
    }

    fn own_id(&self) -> &Id {
        &self.registered().id
    }

    /// The set's commitments bind the secret: other shares do not recover at all.
    fn recover(set: &ShareSet, shares: &[Share], _: &str) -> Option<IdentityKeys> {
        if !holds_identity_alone(set) {
            return None;
        }
        let secret = set
            .recover(&shares.iter().collect::<Vec<_>>())
            .ok()?
            .pop()?;
        Some(IdentityKeys::new(&IdentitySecret(secret)))
    }
}

/// The answer to a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsealProgress {
    /// The key that it is a share of.
    pub key: String,
    /// How many shares the node holds towards the key now; none once it is reached.
    pub shares: usize,
    /// How many it takes.
    pub threshold: usize,
    /// Whether the threshold is reached: the key is unsealed, or the drill has proved it.
    pub done: bool,
}

/// The state of a side's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealStatus {
    /// Whether no key is open.
    pub sealed: bool,
    /// Each key.
    pub keys: Vec<KeyStatus>,
    /// After how many seconds without use keys in shares are sealed.
    pub idle_seconds: u64,
    /// After how many seconds the node forgets shares if the others have not come.
    pub forget_seconds: u64,
}

/// The state of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyStatus {
    /// The key's id in the register.
    pub id: String,
    /// Whether the node opens nothing with it.
    pub sealed: bool,
    /// The digest of its set, hex, if it is in shares; absent if the node keeps it in another
    /// custody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Who holds its shares, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custodians: Vec<String>,
    /// How many shares it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<usize>,
    /// How many shares were brought so far to unseal it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<usize>,
}

/// Takes a custodian's share.
///
/// Bringing a share again, or one of a key that is open already, changes nothing and gets the same
/// answer.
///
/// # Errors
/// [`Code::ShareInvalid`] for another custodian's share or one that does not fit,
/// [`Code::ShareForeign`] for one of no pinned set; those of a log that takes no entry.
pub fn bring<S: SealableSide>(
    side: &S,
    permit: &CustodianPermit,
    share: Share,
    purpose: SharePurpose,
) -> Result<UnsealProgress, Refusal> {
    let now = side.side().now();
    // One share at a time, so that the logged count is right.
    let mut ceremony = side.key_safe().ceremony();
    let pinned = PinnedSet::of(side, &share)?;
    let place = pinned.place;
    if share.custodian() != &permit.custodian {
        return Err(Refusal::new(
            Code::ShareInvalid,
            "the share is another custodian's than the one who brings it",
        ));
    }
    pinned.set.check(&share).map_err(share_refusal)?;
    if pinned.is_open && purpose == SharePurpose::Unseal {
        return Ok(pinned.progress(0, true));
    }

    let gathering = ceremony.entry((purpose, place));
    let gathering = gathering.or_insert_with(|| GatheredShares {
        shares: vec![],
        since: TwoClockMoment::at(now),
    });
    if gathering
        .shares
        .iter()
        .any(|before| before.index() == share.index())
    {
        return Ok(pinned.progress(gathering.shares.len(), false));
    }
    let (taken, reached) = match purpose {
        SharePurpose::Unseal => (CustodyAction::Share, CustodyAction::Unseal),
        SharePurpose::Drill => (CustodyAction::DrillShare, CustodyAction::Drill),
    };
    let count = gathering.shares.len() + 1;
    let entry = |action| pinned.entry(permit, action, count);
    log(side.side(), now, entry(taken))?;
    gathering.shares.push(share);
    if count < pinned.set.threshold {
        return Ok(pinned.progress(count, false));
    }

    // The shares are not needed again, whether they make the key or not.
    let shares = ceremony
        .remove(&(purpose, place))
        .map(|gathering| gathering.shares)
        .unwrap_or_default();
    let Some(private) = S::recover(&pinned.set, &shares, &pinned.key) else {
        log(side.side(), now, entry(CustodyAction::Mismatch))?;
        return Err(Refusal::new(
            Code::ShareInvalid,
            "the shares do not make the key that is stated",
        ));
    };
    drop(shares);
    log(side.side(), now, entry(reached))?;
    if purpose == SharePurpose::Unseal && !side.key_safe().put(place, private, pinned.sealings, now)
    {
        return Err(Refusal::new(
            Code::Sealed,
            "the keys were sealed in the meantime",
        ));
    }
    Ok(pinned.progress(0, true))
}

/// The pinned set of a share, as the safe had it at that moment.
struct PinnedSet {
    place: usize,
    /// The id of the key that its shares make.
    key: String,
    set: ShareSet,
    /// Whether the side holds its key.
    is_open: bool,
    /// How often the node had been sealed.
    sealings: u64,
}

impl PinnedSet {
    fn of<S: SealableSide>(side: &S, share: &Share) -> Result<Self, Refusal> {
        let slots = side.key_safe().slots();
        let mut pinned = slots
            .keys
            .iter()
            .enumerate()
            .filter_map(|(place, d)| Some((place, d.set.as_ref()?, d)));
        let found = pinned.find(|(_, set, _)| set.digest() == *share.set());
        let (place, set, slot) = found.ok_or(ShareError::Foreign).map_err(share_refusal)?;
        Ok(Self {
            place,
            key: slot.id.clone(),
            set: set.clone(),
            is_open: slot.key.is_some(),
            sealings: slots.sealings,
        })
    }

    fn progress(&self, shares: usize, done: bool) -> UnsealProgress {
        UnsealProgress {
            key: self.key.clone(),
            shares,
            threshold: self.set.threshold,
            done,
        }
    }

    fn entry(
        &self,
        permit: &CustodianPermit,
        action: CustodyAction,
        shares: usize,
    ) -> CustodyDetails {
        CustodyDetails {
            actor: permit.custodian.clone(),
            action,
            key: Some(self.key.clone()),
            shares: Some(shares as u64),
            threshold: Some(self.set.threshold as u64),
        }
    }
}

fn share_refusal(error: ShareError) -> Refusal {
    match error {
        ShareError::Foreign => Refusal::new(
            Code::ShareForeign,
            "the share is of no set that is waited for here",
        ),
        error => Refusal::new(Code::ShareInvalid, error.to_string()),
    }
}

/// The panic button: wipes every key and every share brought so far, whatever their custody. Keys
/// in another custody than shares need a restart to come back.
///
/// # Errors
/// If it could not be logged; the node is sealed all the same.
pub fn seal<S: SealableSide>(side: &S, permit: &SealPermit) -> Result<SealStatus, Refusal> {
    side.key_safe().seal(false);
    tracing::warn!("sealed: it was told to");
    log(
        side.side(),
        side.side().now(),
        entry_without_shares(permit.actor.clone(), CustodyAction::Seal),
    )?;
    Ok(status(side, permit))
}

/// The state of the node's keys.
pub fn status<S: SealableSide>(side: &S, _permit: &SealPermit) -> SealStatus {
    let brought: Vec<_> = {
        let ceremony = side.key_safe().ceremony();
        let count = |place| {
            ceremony
                .get(&(SharePurpose::Unseal, place))
                .map_or(0, |gathering| gathering.shares.len())
        };
        (0..side.key_safe().slots().keys.len()).map(count).collect()
    };
    let slots = side.key_safe().slots();
    let key = |(slot, brought): (&KeySlot<S::SealedKey>, usize)| {
        let set = slot.set.as_ref();
        KeyStatus {
            id: slot.id.clone(),
            sealed: slot.key.is_none(),
            set: set.map(|set| hex(&set.digest())),
            custodians: set
                .iter()
                .flat_map(|set| &set.custodians)
                .map(Id::to_string)
                .collect(),
            threshold: set.map(|set| set.threshold),
            shares: set.map(|_| brought),
        }
    };
    let times = side.key_safe().times();
    SealStatus {
        sealed: slots.keys.iter().all(|slot| slot.key.is_none()),
        keys: slots.keys.iter().zip(brought).map(key).collect(),
        idle_seconds: times.idle.as_secs(),
        forget_seconds: times.forget.as_secs(),
    }
}

/// Forgets shares if the others have not come in time, and seals keys in shares after a long time
/// without use. To be called every second or more often.
pub fn keep_time<S: SealableSide>(side: &S) {
    let (now, times) = (side.side().now(), side.key_safe().times());
    let forgotten: Vec<_> = {
        let mut ceremony = side.key_safe().ceremony();
        let late = |gathering: &GatheredShares| gathering.since.elapsed(now) >= times.forget;
        let places: Vec<_> = ceremony
            .iter()
            .filter(|(_, gathering)| late(gathering))
            .map(|(at, _)| *at)
            .collect();
        places
            .into_iter()
            .filter_map(|at| Some((at.1, ceremony.remove(&at)?.shares.len())))
            .collect()
    };
    for (place, count) in forgotten {
        tracing::info!("shares were forgotten: the others did not come in time");
        let (key, threshold) = {
            let slots = side.key_safe().slots();
            let slot = &slots.keys[place];
            (
                slot.id.clone(),
                slot.set.as_ref().map(|set| set.threshold as u64),
            )
        };
        let mut entry = entry_without_shares(side.own_id().clone(), CustodyAction::Forget);
        (entry.key, entry.shares, entry.threshold) = (Some(key), Some(count as u64), threshold);
        report_unwritten(log(side.side(), now, entry));
    }
    let open = side
        .key_safe()
        .slots()
        .keys
        .iter()
        .any(|slot| slot.set.is_some() && slot.key.is_some());
    if open && side.key_safe().idle(now) >= times.idle && side.key_safe().seal(true) {
        tracing::info!("sealed: the keys were not used for long");
        report_unwritten(log(
            side.side(),
            now,
            entry_without_shares(side.own_id().clone(), CustodyAction::SealIdle),
        ));
    }
}

fn entry_without_shares(actor: Id, action: CustodyAction) -> CustodyDetails {
    CustodyDetails {
        actor,
        action,
        key: None,
        shares: None,
        threshold: None,
    }
}

/// Writes an entry and waits until it is durable.
fn log(entity: &Entity, now: Timestamp, entry: CustodyDetails) -> Result<(), Refusal> {
    let unavailable = |code| Refusal::new(code, "the audit log takes no entry");
    entity
        .committer()
        .record(now, AuditEvent::Custody(entry), vec![], vec![])
        .map(drop)
        .map_err(unavailable)
}

/// Reports that an entry was not written where no caller waits for an answer. The failed log has
/// poisoned the store and reports that itself.
fn report_unwritten(logged: Result<(), Refusal>) {
    if let Err(refusal) = logged {
        tracing::error!(code = %refusal.code(), "an entry about the keys was not written");
    }
}
