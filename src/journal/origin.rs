//! The names of cloison's logs.

use crate::store::Shard;

/// The origin of a shard that an owner (`<deployment>/vault`, `<deployment>/node/<authority>`)
/// writes.
pub fn origin(owner: &str, shard: Shard) -> String {
    format!("cloison/{owner}/{shard}")
}

/// The owner and the shard that an origin of ours names.
pub fn owner_and_shard(origin: &str) -> Option<(&str, Shard)> {
    let (owner, shard) = origin.strip_prefix("cloison/")?.rsplit_once('/')?;
    Some((owner, Shard::parse(shard)?))
}

/// The shard that an origin names, if it is one of that owner's.
pub(super) fn shard_of(owner: &str, origin: &str) -> Option<Shard> {
    let (found, shard) = owner_and_shard(origin)?;
    (found == owner).then_some(shard)
}
