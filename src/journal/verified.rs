//! What an offer claims, verified: whose checkpoint it is, and that its owner signed all of it.

use ed25519_dalek::VerifyingKey;

use super::follow_fault::FollowFault;
use super::offer::JournalOffer;
use super::origin::shard_of;
use crate::store::Shard;
use crate::tlog::checkpoint::Checkpoint;

/// An offer's checkpoint, which the log's owner signed with all that comes with it. That the
/// entries make its root is not known yet.
pub(super) struct VerifiedOffer {
    /// The shard that it is of.
    pub(super) shard: Shard,
    /// The checkpoint.
    pub(super) checkpoint: Checkpoint,
    /// Its note: text and the owner's signature, and nothing that was not verified.
    pub(super) note: String,
}

impl VerifiedOffer {
    /// Verifies an offer of the log of `owner`, whose checkpoints `key` signs.
    ///
    /// # Errors
    /// [`FollowFault::Foreign`], [`FollowFault::Unfit`]
    pub(super) fn of(
        offer: &JournalOffer,
        owner: &str,
        key: &VerifyingKey,
    ) -> Result<Self, FollowFault> {
        let foreign = FollowFault::Foreign;
        let (checkpoint, note) = Checkpoint::open(offer.note().as_bytes(), key)
            .map_err(|error| foreign(error.to_string()))?;
        let shard = shard_of(owner, &checkpoint.origin);
        let shard = shard.ok_or_else(|| foreign(format!("it is of {}", checkpoint.origin)))?;
        if !offer.is_signed_by(&checkpoint.origin, key) {
            return Err(foreign("its owner did not sign what comes with it".into()));
        }
        if offer.end() != checkpoint.size {
            return Err(FollowFault::Unfit("they do not end where it does"));
        }
        let line = note.line_of(&checkpoint.verifier(*key));
        let line = line.map_err(|error| foreign(error.to_string()))?;
        let note = format!("{}\n{}\n", note.text(), line.unwrap_or_default());
        Ok(Self {
            shard,
            checkpoint,
            note,
        })
    }
}
