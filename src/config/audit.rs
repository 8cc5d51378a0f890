//! `[audit]`: who watches over the log. The section is optional; the log is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use super::value::{Count, Place};
use super::witness::LogName;
use super::{ClientConfig, FileKind, client, optional_section};
use crate::audit::log::{FollowerIdentity, KnownFollower, PlaceQuorum};
use crate::register::Id;
use crate::register::read::{At, Faults, TomlTable};

/// How many MiB of another's log are taken in a day, unless stated. An entry of a release has a few
/// hundred bytes.
const FOLLOWED_DAILY: u64 = 1024;

/// What `[audit] second` is called beside the names of followers.
pub const SECOND_PLACE_NAME: &str = "second";

/// `[audit]` of a vault or a node.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A folder on another disk than the store's that holds the log and its last checkpoint.
    pub second: Option<PathBuf>,
    /// How many places off this machine must hold an act before it counts as safe (default 1, or 0
    /// where none could), and which: the second place where it lies on another machine
    /// (`second-elsewhere`), and `[[audit.follower]]`.
    pub places: PlaceQuorum,
    /// Folder in which the other side's log is followed; without it, it is not.
    pub followed: Option<PathBuf>,
    /// How many bytes of each node's log the vault takes in a day (UTC). Default 1 GiB.
    pub followed_daily: u64,
    /// Folder in which the last cosigned checkpoints of the other side's log are remembered; beside
    /// the store unless named.
    pub cosigned: Option<PathBuf>,
    /// How many of the witnesses must have cosigned recently. Default 0.
    pub required: usize,
    /// How long ago that may be. Default 60 seconds.
    pub within: Duration,
    /// Those who are asked to cosign.
    pub witnesses: Vec<WatcherConfig>,
}

/// `[[audit.witness]]`
#[derive(Debug, Clone)]
pub struct WatcherConfig {
    /// The name in its cosignatures.
    pub name: String,
    /// Its key.
    pub public: VerifyingKey,
    /// Whether it follows the log: entries and side records are brought to it, and it counts among
    /// the places.
    pub follows: bool,
    /// How it is reached.
    pub client: ClientConfig,
}

/// How many bytes of another's log are taken in a day, from mebibytes.
pub(super) fn daily(
    name: &'static str,
    table: &mut TomlTable<'_, '_>,
    faults: &mut Faults,
) -> Option<u64> {
    let mebibytes = table.or(name, Count(FOLLOWED_DAILY as usize), faults)?;
    Some((mebibytes.value.0 as u64) << 20)
}

impl LogConfig {
    /// Where the last cosigned checkpoints of the other side's log are remembered, at a store.
    pub fn cosigned_in(&self, store: &Path) -> PathBuf {
        let named = self.cosigned.clone();
        named.unwrap_or_else(|| store.with_extension("cosigned"))
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            second: None,
            places: PlaceQuorum::default(),
            followed: None,
            followed_daily: FOLLOWED_DAILY << 20,
            cosigned: None,
            required: 0,
            within: Duration::from_secs(60),
            witnesses: vec![],
        }
    }
}

/// Reads the section. Without it, every field has its default.
pub(super) fn read(
    root: &mut TomlTable<'_, '_>,
    owner: LogOwner<'_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<LogConfig> {
    let log = optional_section(root, "audit", faults, |table, faults| {
        log(table, owner, folder, faults)
    })?;
    Some(log.unwrap_or_default())
}

/// Whose log it is: the vault's, a node's or an identity source's, of a deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogOwner<'a> {
    pub(super) side: FileKind,
    pub(super) deployment: Option<&'a Id>,
}

fn log(
    table: &mut TomlTable<'_, '_>,
    owner: LogOwner<'_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<LogConfig> {
    let second = table.optional::<Place>("second", faults);
    let elsewhere = table.or("second-elsewhere", false, faults);
    let witnesses = witnesses(table, folder, faults);
    let followers = followers(table, owner, &witnesses, faults);
    let places = places(
        table,
        second.is_some(),
        elsewhere.as_ref(),
        followers,
        faults,
    );
    let followed = table.optional::<Place>("followed", faults);
    if owner.side == FileKind::Identity
        && let Some(followed) = &followed
    {
        let what =
            "an identity source keeps no copy of another log, so `followed` would hold nothing";
        faults.push(
            followed.line,
            what,
            "no `followed`; a node or a witness can follow the vault's log",
        );
    }
    let followed_daily = owner.followed_daily(table, faults);
    let cosigned = table.optional::<Place>("cosigned", faults);
    let required = table.optional::<Count>("required", faults);
    let within = table.or("within-seconds", Count(60), faults);
    if let Some(required) = required
        .as_ref()
        .filter(|required| required.value.0 > witnesses.len())
    {
        let what = format!(
            "`required` is {}, and there are {} witnesses",
            required.value.0,
            witnesses.len()
        );
        faults.push(required.line, what, "[[audit.witness]] for each, or fewer");
    }
    Some(LogConfig {
        second: second.map(|place| place.within(folder)),
        places: places?,
        followed: followed.map(|place| place.within(folder)),
        followed_daily: followed_daily?,
        cosigned: cosigned.map(|place| place.within(folder)),
        required: required.map_or(0, |required| required.value.0),
        within: Duration::from_secs(within?.value.0 as u64),
        witnesses,
    })
}

/// `[[audit.witness]]`: those who are asked to cosign.
fn witnesses(
    table: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Vec<WatcherConfig> {
    let mut witnesses: Vec<WatcherConfig> = vec![];
    for mut entry in table.tables("witness", "name", faults) {
        let name = entry.required::<LogName>("name", faults);
        let public = entry.required::<VerifyingKey>("public", faults);
        let follows = entry.or("follows", false, faults);
        let client = client(&mut entry, folder, faults);
        entry.finish(faults);
        let (Some(name), Some(public), Some(follows), Some(client)) =
            (name, public, follows, client)
        else {
            continue;
        };
        if follows.value {
            refuse_second(&name, faults);
        }
        if witnesses
            .iter()
            .any(|known| known.name == name.value.0 || known.public == public.value)
        {
            faults.push(
                name.line,
                "a second witness has that name or that key",
                "a name and a key of its own",
            );
        }
        witnesses.push(WatcherConfig {
            name: name.value.0,
            public: public.value,
            follows: follows.value,
            client,
        });
    }
    witnesses
}

/// A place has one name: `--lost second` passes over `second`, and over no follower.
fn refuse_second(name: &At<LogName>, faults: &mut Faults) {
    if name.value.0 == SECOND_PLACE_NAME {
        let what = "`second` is the name of the place that `[audit] second` states";
        faults.push(name.line, what, "another name");
    }
}

/// Those that count among the places: witnesses that follow, and `[[audit.follower]]`.
fn followers(
    table: &mut TomlTable<'_, '_>,
    owner: LogOwner<'_>,
    witnesses: &[WatcherConfig],
    faults: &mut Faults,
) -> Vec<KnownFollower> {
    let following = witnesses.iter().filter(|witness| witness.follows);
    let of_witness = |witness: &WatcherConfig| KnownFollower {
        name: witness.name.clone(),
        key: FollowerIdentity::Stated(witness.public),
    };
    let mut followers: Vec<KnownFollower> = following.map(of_witness).collect();
    for mut entry in table.tables("follower", "name", faults) {
        let name = entry.required::<LogName>("name", faults);
        let public = entry.optional::<VerifyingKey>("public", faults);
        let peer = entry.optional::<Id>("peer", faults);
        entry.finish(faults);
        let Some(name) = name else { continue };
        refuse_second(&name, faults);
        let key = match (public, peer) {
            (Some(public), None) => Some(FollowerIdentity::Stated(public.value)),
            (None, Some(peer)) => owner.peer(&peer, faults).map(FollowerIdentity::Peer),
            _ => {
                let what = "a follower is the other side or has a key, and this is neither or both";
                let instead =
                    "peer = \"court\" (an authority; at a node \"vault\"), or public = \"…\"";
                faults.push(name.line, what, instead);
                None
            }
        };
        let is_same = |known: &KnownFollower| {
            known.name == name.value.0 || key.as_ref().is_some_and(|key| known.key == *key)
        };
        if followers.iter().any(is_same) {
            let what = "a second follower has that name, that key or that peer";
            faults.push(name.line, what, "one follower counts once");
        }
        followers.extend(key.map(|key| KnownFollower {
            name: name.value.0,
            key,
        }));
    }
    followers
}

impl LogOwner<'_> {
    /// `followed-mib-a-day`: what nodes bring to the vault. A node takes what it asked the vault
    /// for.
    fn followed_daily(self, table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Option<u64> {
        const NAME: &str = "followed-mib-a-day";
        if table.has(NAME) && self.side != FileKind::Vault {
            let what =
                "`followed-mib-a-day` bounds what nodes bring to the vault, and nothing at a node";
            let instead = "no such line here, and one in the vault's configuration";
            faults.push(table.line, what, instead);
        }
        daily(NAME, table, faults)
    }

    /// The owner of the log of the other side that has that id.
    fn peer(self, peer: &At<Id>, faults: &mut Faults) -> Option<String> {
        let deployment = self.deployment?;
        if self.side == FileKind::Vault {
            return Some(format!("{deployment}/node/{}", peer.value));
        }
        if peer.value.as_str() != "vault" {
            let what = "of the other sides only the vault follows this log";
            faults.push(peer.line, what, "peer = \"vault\"");
        }
        Some(format!("{deployment}/vault"))
    }
}

/// `places`: no more than could hold the log.
fn places(
    table: &mut TomlTable<'_, '_>,
    has_second: bool,
    elsewhere: Option<&At<bool>>,
    followers: Vec<KnownFollower>,
    faults: &mut Faults,
) -> Option<PlaceQuorum> {
    let stated = table.optional::<Count>("places", faults);
    let elsewhere = elsewhere?;
    if elsewhere.value && !has_second {
        let what = "`second-elsewhere` says where `second` lies, and there is no `second`";
        faults.push(elsewhere.line, what, "second = \"FOLDER\"");
        return None;
    }
    let able = usize::from(elsewhere.value) + followers.len();
    if let Some(stated) = stated.as_ref().filter(|stated| stated.value.0 > able) {
        let what = format!(
            "`places` is {}, and {able} could hold the log off this machine",
            stated.value.0
        );
        let instead = "`second-elsewhere = true` where `second` lies on another machine, `[[audit.follower]]` for each follower, \
                       `follows = true` for a witness that follows, or fewer";
        faults.push(stated.line, what, instead);
    }
    Some(PlaceQuorum {
        needed: stated.map_or(able.min(1), |stated| stated.value.0),
        second: elsewhere.value,
        followers,
    })
}
