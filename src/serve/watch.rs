//! Watches logs while the servers run: witnesses watch ours, vault and node each other's.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use crate::audit::cosign::{CosignatureQuorum, Cosigner, Cosigners, WitnessLink, WitnessThread};
use crate::audit::log::{Log, LogParts};
use crate::audit::origin::TrustedLogKey;
use crate::audit::origin::cosigner_name;
use crate::audit::seen::Onlooker;
use crate::client::peer::WatchedVault;
use crate::client::{Client, Timeouts};
use crate::clock::lasting::LastingTrouble;
use crate::clock::{ClockBehind, SystemClock};
use crate::config::{ClientConfig, LogConfig, VaultConfig, WatcherConfig};
use crate::entity::{EntityInForce, EntrySuspension, InForce, Role, UnconfirmedRestore};
use crate::http::Readiness;
use crate::http::cosign::CosignDoor;
use crate::journal::place::JournalPlace;
use crate::metrics::{Gauge, Registry};
use crate::register::{Id, Register};
use crate::rights::erase::scrub;
use crate::store::Store;
use crate::terminal::CommandError;
use crate::tlog::note::{SignatureKind, Verifier};
use crate::tlog::witness::Witness;
use crate::vault::Vault;

/// How long a witness may let us wait.
const PATIENCE: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(10),
};
/// How often the node watches the vault's log while no request comes. A vault whose store was
/// rolled back serves no longer than that before it is told.
const EVERY: Duration = Duration::from_secs(5);

/// How long an onlooker may let a start wait.
const START_PATIENCE: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    step: Duration::from_secs(3),
};

/// Those who are asked at a start what they have seen of the log: the witnesses, and for a node the
/// vault. (A vault does not dial nodes: a node shows it what it has seen.)
///
/// # Errors
/// When a client cannot be set up.
pub fn onlookers(
    config: &LogConfig,
    vault: Option<&ClientConfig>,
) -> Result<Vec<Onlooker>, CommandError> {
    let witnesses = config
        .witnesses
        .iter()
        .map(|witness| (format!("the witness {}", witness.name), &witness.client));
    let vault = vault.map(|client| (format!("the vault at {}", client.url), client));
    witnesses
        .chain(vault)
        .map(|(name, client)| {
            let client = Client::with_timeouts(client, START_PATIENCE).map_err(|error| {
                CommandError::new(
                    error,
                    "check [vault] and [[audit.witness]] in the configuration",
                )
            })?;
            let link = Box::new(client);
            Ok(Onlooker { name, link })
        })
        .collect()
}

/// The parts that a log is opened with, but for its onlookers.
pub(super) fn log_parts(key: SigningKey, config: &LogConfig) -> LogParts {
    LogParts {
        second: config.second.clone().map(JournalPlace::new),
        places: config.places.clone(),
        ..LogParts::new(key)
    }
}

/// How long a place may be behind before that is said.
const BEHIND: Duration = Duration::from_secs(60);

/// The places that are behind, by name, in words: at once where an act waits for them.
fn places_behind(log: &Log) -> BTreeMap<String, String> {
    let least = if log.lacks_places() {
        Duration::ZERO
    } else {
        BEHIND
    };
    let behind = log.places().into_iter().filter_map(|place| {
        let behind = place.behind.filter(|behind| *behind > least)?;
        let words = format!("{} is {} s behind", place.name, behind.as_secs());
        Some((place.name, words))
    });
    behind.collect()
}

/// Shows on `/readyz` and in the log which places are behind; `said` are the names of those that
/// the log has as behind.
fn show_places(log: &Log, said: &mut BTreeSet<String>, readiness: &Readiness) {
    let behind = places_behind(log);
    for (name, words) in &behind {
        if said.insert(name.clone()) {
            tracing::warn!("a place does not hold all of the log: {words}");
        }
    }
    said.retain(|name| {
        let is_behind = behind.contains_key(name);
        if !is_behind {
            tracing::info!("{name} holds all of the log again");
        }
        is_behind
    });
    let words: Vec<_> = behind.into_values().collect();
    readiness.notice("journal", (!words.is_empty()).then(|| words.join("; ")));
}

/// Shows on `/readyz` what keeps the log from being published or cosigned.
fn show_log(log: &Log, cosigners: &Cosigners, readiness: &Readiness) {
    match log.trouble() {
        Some(why) => readiness.set("audit", format!("no checkpoint can be published: {why}")),
        None => readiness.clear("audit"),
    }
    let missing = cosigners.missing_quorum();
    let silent = cosigners.silent_witnesses();
    readiness.notice("witnesses", silent.filter(|_| missing.is_none()));
    match missing {
        Some(why) => readiness.set("witnesses", why),
        None => readiness.clear("witnesses"),
    }
}

/// The witnesses that a configuration names. Their clients are added to `callers`.
fn watchers(config: &LogConfig, callers: &mut Vec<Client>) -> Result<Vec<Cosigner>, CommandError> {
    let watcher = |witness: &WatcherConfig| {
        let client = Client::with_timeouts(&witness.client, PATIENCE).map_err(|error| {
            CommandError::new(error, "check [[audit.witness]] in the configuration")
        })?;
        callers.push(client.clone());
        let verifier = Verifier::new(
            witness.name.as_str(),
            SignatureKind::Cosigner,
            witness.public,
        );
        Ok(Cosigner {
            verifier,
            ask: Some(Box::new(client)),
            counts: true,
        })
    };
    config.witnesses.iter().map(watcher).collect()
}

fn cosigners(
    watchers: Vec<Cosigner>,
    in_force: &EntityInForce,
    config: &LogConfig,
) -> Result<(Arc<Cosigners>, WitnessThread), CommandError> {
    let entity = in_force.get();
    let log = entity.log();
    let quorum = CosignatureQuorum {
        required: config.required,
        within: config.within,
    };
    if quorum.required > 0 {
        log.prefer_cosigned();
    }
    let clock = Arc::new(SystemClock);
    let cosigners = Cosigners::new(watchers, quorum, clock, entity.stopper());
    let asking = cosigners
        .start(log.clone())
        .map_err(|error| CommandError::new(error, "check the limits on threads"))?;
    Ok((cosigners, asking))
}

/// The folder that remembers what was last cosigned of the other side's log. It is made together
/// with the store, so a store without it has lost it. An empty folder would accept any history of
/// the other side as the first one seen.
///
/// # Errors
/// When it is lost, or cannot be made.
pub(super) fn memory(config: &LogConfig, store: &Path) -> Result<PathBuf, CommandError> {
    let folder = config.cosigned_in(store);
    if Store::is_there(store) && !folder.exists() {
        let what = "this remembers what was last seen of the other side's log (`[audit] cosigned`), and is gone";
        return Err(CommandError::new(
            format_args!("{}: {what}", folder.display()),
            "bring it back; if it is lost, tell the commission, verify the other side's log, and make an empty folder there",
        ));
    }
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&folder);
    made.map_err(|error| CommandError::file(&folder, &error))?;
    Ok(folder)
}

/// Warns where the configured witnesses are not those that the register states.
fn compare_witnesses(register: &Register, config: &LogConfig) {
    for asked in config
        .witnesses
        .iter()
        .filter(|asked| register.witnesses.values().all(|key| *key != asked.public))
    {
        tracing::warn!(
            witness = asked.name,
            "this witness is asked to cosign, and the register does not state its key"
        );
    }
    for (id, key) in &register.witnesses {
        if config.witnesses.iter().all(|asked| asked.public != *key) {
            tracing::warn!(witness = %id, "the register states this witness, and it is not asked to cosign: [[audit.witness]]");
        }
    }
}

/// Those who cosign an entity's log (the witnesses, and the other sides that the register states),
/// and the witness by which the entity cosigns the other sides' logs.
struct Cosigning {
    witness: Witness,
    cosigners: Arc<Cosigners>,
    asking: WitnessThread,
    /// The clients by which it asks.
    callers: Vec<Client>,
}

impl Cosigning {
    /// `ask` makes the client for another side, if this side dials.
    fn start(
        in_force: &EntityInForce,
        config: &LogConfig,
        memory: PathBuf,
        ask: impl Fn() -> Result<Option<Client>, CommandError>,
    ) -> Result<Self, CommandError> {
        let mut callers = vec![];
        let entity = in_force.get();
        let register = entity.register();
        compare_witnesses(register, config);
        let mut all = watchers(config, &mut callers)?;
        let mut logs = vec![];
        for (side, key) in entity.role().peers(register) {
            let owner = side.owner(&register.deployment);
            let verifier = Verifier::new(cosigner_name(&owner), SignatureKind::Cosigner, key);
            let client = ask()?;
            callers.extend(client.clone());
            all.push(Cosigner {
                verifier,
                ask: client.map(|client| Box::new(client) as Box<dyn WitnessLink>),
                counts: false,
            });
            logs.push(TrustedLogKey::Owner(owner, key));
        }
        let witness = entity.log().witness(logs, memory);
        let (cosigners, asking) = cosigners(all, in_force, config)?;
        entity.watch(cosigners.clone());
        Ok(Self {
            witness,
            cosigners,
            asking,
            callers,
        })
    }
}

/// The vault among those who watch each other.
pub(super) struct WatchedSide {
    /// The door at which nodes cosign.
    pub(super) door: Arc<CosignDoor>,
    /// Asks the witnesses while it lives.
    pub(super) asking: WitnessThread,
    /// The clients by which it asks.
    pub(super) callers: Vec<Client>,
}

/// Nodes and witnesses watch the vault; the vault watches the nodes.
pub(super) fn vault(
    vault: &InForce<Vault>,
    config: &VaultConfig,
    memory: PathBuf,
) -> Result<WatchedSide, CommandError> {
    let Cosigning {
        witness,
        cosigners,
        asking,
        callers,
    } = Cosigning::start(&vault.entity(), &config.log, memory, || Ok(None))?;
    let door = Arc::new(CosignDoor {
        entity: vault.entity(),
        witness: Arc::new(witness),
        cosigners,
    });
    Ok(WatchedSide {
        door,
        asking,
        callers,
    })
}

/// A side that calls the vault, among those who watch each other: a node, an identity source.
pub(super) struct WatchingSide {
    /// The vault, which it watches.
    pub(super) vault: Arc<WatchedVault>,
    /// Those who cosign its own log.
    pub(super) cosigners: Arc<Cosigners>,
    /// Asks them while it lives.
    pub(super) asking: WitnessThread,
    /// The clients by which it asks and watches.
    pub(super) callers: Vec<Client>,
}

/// The same for a node or an identity source. It dials, for both directions.
pub(super) fn watching(
    side: &EntityInForce,
    (log, vault): (&LogConfig, &ClientConfig),
    memory: PathBuf,
) -> Result<WatchingSide, CommandError> {
    let failed = |error| CommandError::new(error, "check [vault] in the configuration");
    let watching = || Client::with_timeouts(vault, PATIENCE).map_err(failed);
    let Cosigning {
        witness,
        cosigners,
        asking,
        mut callers,
    } = Cosigning::start(side, log, memory, || watching().map(Some))?;
    let releases = Client::new(vault).map_err(failed)?;
    let watching = watching()?;
    callers.extend([releases.clone(), watching.clone()]);
    let vault = WatchedVault::new(
        releases,
        watching,
        witness,
        side.clone(),
        Arc::new(SystemClock),
    );
    Ok(WatchingSide {
        vault: Arc::new(vault),
        cosigners,
        asking,
        callers,
    })
}

/// Watches the vault's log once before the node is ready, so that a ready node has checked the log
/// of a vault that answers. One that does not answer yet is waited for.
pub(super) async fn watch_vault_once(peer: Arc<WatchedVault>, vault: &str) {
    if let Ok(Err(why)) = tokio::task::spawn_blocking(move || peer.watch()).await {
        tracing::info!("waiting for the vault at {vault}");
        tracing::debug!(%why, "the vault's log is not watched yet");
    }
}

/// Shows on `/readyz` whether the disk is short of space or hangs.
fn show_disk(is_short: bool, stalled: Option<Duration>, readiness: &Readiness) {
    if is_short {
        readiness.set("space", "the disk is nearly full: requests are refused");
    } else {
        readiness.clear("space");
    }
    match stalled {
        Some(since) => {
            let words = format!(
                "nothing was written for {} s: requests are refused",
                since.as_secs()
            );
            readiness.set("disk", words);
        }
        None => readiness.clear("disk"),
    }
}

/// Shows on `/readyz`, in the log and on `/metrics` whether the clock is behind the latest time
/// that was acted on, and until when that matters.
fn show_clock(steady: Result<jiff::Timestamp, ClockBehind>, readiness: &Readiness, gauge: &Gauge) {
    let was_behind = readiness.has("clock");
    match steady {
        Ok(_) => {
            gauge.set(0);
            readiness.clear("clock");
            if was_behind {
                tracing::info!("the clock is no longer behind what was already seen");
            }
        }
        Err(behind) => {
            gauge.set(behind.seconds());
            readiness.set("clock", behind.to_string());
            if !was_behind {
                tracing::warn!("{behind}");
            }
        }
    }
}

/// Checks each second that the paths of store and second place still lead to this process's files.
/// If they do not, ends the process, because what it acknowledges would be lost. Runs on a blocking
/// thread, because the disk may hang.
pub(super) async fn keep_place(entity: EntityInForce, readiness: Arc<Readiness>) {
    loop {
        let (looking, readiness) = (entity.get(), readiness.clone());
        let look = move || {
            let log = looking.log();
            let Err(error) = log
                .store()
                .look_at_place()
                .and_then(|()| log.look_at_second())
            else {
                return;
            };
            readiness.set("store", error.to_string());
            looking.committer().poison(&error);
        };
        let _ = tokio::task::spawn_blocking(look).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Shows on `/readyz` and in the log for which authorities vault and node do not hold the same acts
/// upon orders. The node, which serves nothing but orders, is then not ready. The vault goes on
/// tokenizing.
fn show_step(apart: &[Id], is_node: bool, said: &mut bool, readiness: &Readiness) {
    let named: Vec<_> = apart.iter().map(Id::as_str).collect();
    let what = (!apart.is_empty()).then(|| {
        format!(
            "vault and node do not hold the same acts upon orders of {}: nothing is released",
            named.join(", ")
        )
    });
    if let (false, Some(what)) = (*said, &what) {
        tracing::warn!(what, "out of step");
    }
    *said = what.is_some();
    match (is_node, what) {
        (false, what) => readiness.notice("out-of-step", what),
        (true, Some(what)) => readiness.set("out-of-step", what),
        (true, None) => readiness.clear("out-of-step"),
    }
}

/// Shows on `/readyz` and in the log that the other side holds another register, and which is
/// newer.
fn show_registers(others: &[String], said: &mut String, readiness: &Readiness) {
    let what = others.join("; ");
    if !what.is_empty() && what != *said {
        tracing::warn!(
            what,
            "another register at the other side: nothing is released"
        );
    }
    readiness.notice("register", (!what.is_empty()).then(|| what.clone()));
    *said = what;
}

/// Shows on `/readyz`, and so in `cloison status`, which register entries are suspended.
fn show_suspensions(suspended: &[EntrySuspension], readiness: &Readiness) {
    let said: Vec<_> = suspended
        .iter()
        .map(|row| format!("{} ({})", row.entry, row.reason))
        .collect();
    let what = (!said.is_empty()).then(|| said.join(", "));
    readiness.notice("suspended", what);
}

/// Shows on `/readyz` what still holds since a restore without places.
fn show_restore(restore: Option<&UnconfirmedRestore>, readiness: &Readiness) {
    let what = restore.map(|restore| format!("{restore} (`cloison restore state`)"));
    readiness.notice("restored", what);
}

/// Shows an entity's state each second: on `/readyz`, in the log, on `/metrics`.
pub(super) struct EntityWatch {
    entity: EntityInForce,
    cosigners: Arc<Cosigners>,
    /// Bytes of the disk that stay free.
    reserve: u64,
    readiness: Arc<Readiness>,
    clock: Arc<Gauge>,
    is_apart: bool,
    /// What was last said of the other sides' registers.
    said_registers: String,
    /// The places that the log has as behind.
    said_places: BTreeSet<String>,
}

impl EntityWatch {
    pub(super) fn new(
        entity: EntityInForce,
        cosigners: Arc<Cosigners>,
        reserve: u64,
        readiness: Arc<Readiness>,
        registry: &Registry,
    ) -> Self {
        let help = "Seconds by which the clock is behind the latest time that was ever acted on; 0: within what clocks do";
        let clock = registry.gauge("cloison_clock_behind_seconds", help, None);
        Self {
            entity,
            cosigners,
            reserve,
            readiness,
            clock,
            is_apart: false,
            said_registers: String::new(),
            said_places: BTreeSet::new(),
        }
    }

    /// Checks disk, clock, log and the other sides. Returns for how many authorities vault and node
    /// do not hold the same acts.
    pub(super) fn look(&mut self) -> usize {
        let (entity, readiness) = (self.entity.get(), &*self.readiness);
        entity.watch_space(self.reserve);
        show_disk(
            entity.is_short_of_space(),
            entity.committer().stalled(),
            readiness,
        );
        show_clock(entity.steady_time(), readiness, &self.clock);
        show_log(entity.log(), &self.cosigners, readiness);
        show_places(entity.log(), &mut self.said_places, readiness);
        let apart = entity.orders().out_of_step(entity.now());
        show_step(
            &apart,
            matches!(entity.role(), Role::Node(_)),
            &mut self.is_apart,
            readiness,
        );
        let others = entity.orders().other_registers();
        show_registers(&others, &mut self.said_registers, readiness);
        show_suspensions(&entity.suspensions(), readiness);
        show_restore(entity.unconfirmed_restore().as_ref(), readiness);
        apart.len()
    }
}

/// A side's watch over the vault's log and over itself, until the task is aborted.
pub(super) async fn watch_side(
    side: EntityInForce,
    peer: Arc<WatchedVault>,
    mut watch: EntityWatch,
) {
    let watching = async {
        let mut unwatched = LastingTrouble::default();
        loop {
            let watcher = peer.clone();
            let failed = tokio::task::spawn_blocking(move || watcher.watch())
                .await
                .ok()
                .and_then(Result::err);
            if let Some(why) = failed {
                if unwatched.note(Instant::now()) {
                    tracing::warn!(%why, "the vault's log is not watched");
                }
            } else if unwatched.end() {
                tracing::info!("the vault's log is watched again");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    let saying = async {
        for beat in 0_u64.. {
            if beat.is_multiple_of(3_600) {
                // Repeats a scrub that did not finish.
                let store = side.get().store().clone();
                tokio::task::spawn_blocking(move || scrub(&store));
            }
            watch.look();
            match peer.distrust() {
                Some(why) => watch.readiness.set("vault-log", why),
                None => watch.readiness.clear("vault-log"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::join!(watching, saying);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_step_the_node_is_not_ready_and_the_vault_goes_on() {
        let court = [Id::parse("court").unwrap()];
        let (node, vault) = (Readiness::starting(), Readiness::starting());
        for (readiness, is_node) in [(&node, true), (&vault, false)] {
            readiness.clear("starting");
            let mut said = false;
            show_step(&court, is_node, &mut said, readiness);
            assert!(said);
            assert_eq!(readiness.is_ready(), !is_node);
            show_step(&[], is_node, &mut said, readiness);
            assert!(!said && readiness.is_ready());
        }
    }
}
