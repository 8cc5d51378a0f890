//! The authority node's way to the vault: releases, and before them the exchange of cosignatures.
//!
//! The node dials, the vault never does. It fetches the vault's checkpoint, checks that the log
//! only grew since the last one, cosigns it and brings the cosignature; its own checkpoints it
//! submits like any log (`audit::cosign`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Client, ClientError};
use crate::audit::origin::owner_and_shard;
use crate::audit::resume::Resumption;
use crate::clock::Clock;
use crate::code::Code;
use crate::entity::EntityInForce;
use crate::link::{PostedQuestion, VaultLink};
use crate::refusal::Refusal;
use crate::resumption::ResumeProofs;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::path::LogResource;
use crate::tlog::proof::{consistency, is_consistent};
use crate::tlog::source::{LogSource as _, SourceTiles};
use crate::tlog::witness::{CheckpointSubmission, Witness, WitnessRefusal, origin_hash};

/// How old an exchange may be before the next release makes another one.
const FRESH: Duration = Duration::from_secs(60);

/// How long to wait for the first checkpoint of a vault.
const FIRST: Duration = Duration::from_secs(5);

/// The vault as the node reaches it: asked only while its log is watched.
pub struct WatchedVault {
    /// For releases, which may take their time.
    client: Client,
    /// For watching, which must not hold anything up.
    watching: Client,
    witness: Witness,
    /// The node: what was acknowledged there.
    node: EntityInForce,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Instant>>,
    /// Why the vault's log is not trusted.
    distrust: Mutex<Option<String>>,
}

/// A checkpoint as the vault shows it.
struct ShownCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

fn away(what: impl Display) -> Refusal {
    Refusal::new(
        Code::PeerUnavailable,
        format!("the vault's log cannot be watched: {what}"),
    )
}

impl WatchedVault {
    /// The vault at the other end of both clients; `witness` cosigns its checkpoints, `node` knows
    /// what was acknowledged there.
    pub fn new(
        client: Client,
        watching: Client,
        witness: Witness,
        node: EntityInForce,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            watching,
            witness,
            node,
            clock,
            last: Mutex::default(),
            distrust: Mutex::default(),
        }
    }

    /// Fetches the vault's checkpoints, checks each against what was cosigned before, cosigns it,
    /// and brings the cosignature. Every log that this node remembers is asked for: which ones the
    /// vault names is the vault's word only.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`] where a log did not only grow; [`Code::PeerUnavailable`].
    pub fn watch(&self) -> Result<(), Refusal> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = self.look();
        match &looked {
            Ok(()) => (*last, *self.distrusted()) = (Some(Instant::now()), None),
            Err(why) if why.code() == Code::ProofInvalid => {
                let why = why.to_string();
                let mut before = self.distrusted();
                // It is looked at every few seconds; `/readyz` keeps saying it.
                if before.as_ref() != Some(&why) {
                    tracing::error!(why, "the vault's log is not the one that was seen");
                }
                *before = Some(why);
            }
            // The log could not be read, so the last verdict stands.
            Err(_) => {}
        }
        looked
    }

    /// Why the vault's log was not trusted when it was last read; then nothing is opened.
    pub fn distrust(&self) -> Option<String> {
        self.distrusted().clone()
    }

    fn distrusted(&self) -> MutexGuard<'_, Option<String>> {
        self.distrust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Result<(), Refusal> {
        let named = self.named()?;
        let seen = self.seen()?;
        // The last two that it names: a shard may have ended since.
        let recent = &named[named.len().saturating_sub(2)..];
        for shard in seen
            .keys()
            .chain(recent.iter().filter(|shard| !seen.contains_key(*shard)))
        {
            let shown = self.shown(shard)?;
            let size = shown.as_ref().map_or(0, |shown| shown.checkpoint.size);
            match (seen.get(shard), shown) {
                (Some(seen), shown) if seen.size > size => self.changed(seen, shown.as_ref())?,
                // It has ended. There is nothing new to cosign, and a key from before may have
                // signed it.
                (Some(seen), Some(shown))
                    if shown.checkpoint == *seen && !recent.contains(shard) => {}
                (Some(seen), Some(shown)) if !self.continues(shard, seen, &shown)? => {
                    self.changed(seen, Some(&shown))?;
                }
                (seen, Some(shown)) => {
                    if seen.is_none() {
                        self.check_beginning(&shown)?;
                    }
                    self.cosign(shard, shown)?;
                }
                (_, None) => return Err(away("it has no checkpoint")),
            }
        }
        Ok(())
    }

    /// The shards that the vault names. A vault at its first start publishes nothing before enough
    /// places hold the first entries, and this node may be one: so it is waited for a little.
    fn named(&self) -> Result<Vec<String>, Refusal> {
        let end = Instant::now() + FIRST;
        loop {
            let named = self.watching.shards().map_err(away)?;
            if !named.is_empty() || Instant::now() >= end {
                return Ok(named);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// By shard: the last checkpoint with entries that was cosigned here.
    fn seen(&self) -> Result<BTreeMap<String, Checkpoint>, Refusal> {
        let seen = self
            .witness
            .all_remembered()
            .map_err(away)?
            .into_iter()
            .filter(|seen| seen.size > 0);
        let by_shard =
            |seen: Checkpoint| Some((owner_and_shard(&seen.origin)?.1.to_string(), seen));
        Ok(seen.filter_map(by_shard).collect())
    }

    /// The checkpoint that the vault shows for a shard, unverified; only its origin is checked.
    fn shown(&self, shard: &str) -> Result<Option<ShownCheckpoint>, Refusal> {
        let Some(note) = self
            .watching
            .read(shard, LogResource::Checkpoint)
            .map_err(away)?
        else {
            return Ok(None);
        };
        let note = String::from_utf8(note).map_err(away)?;
        let (checkpoint, _) = Checkpoint::read(note.as_bytes()).map_err(away)?;
        if owner_and_shard(&checkpoint.origin).is_some_and(|(_, found)| found.to_string() == shard)
        {
            Ok(Some(ShownCheckpoint { checkpoint, note }))
        } else {
            Err(away(format_args!(
                "asked for {shard}, it shows {}",
                checkpoint.origin
            )))
        }
    }

    fn cosign(&self, shard: &str, shown: ShownCheckpoint) -> Result<(), Refusal> {
        let ShownCheckpoint {
            checkpoint: claimed,
            note,
        } = shown;
        let old = self.witness.size(&claimed.origin).map_err(away)?;
        let mut tiles = SourceTiles::new(&self.watching, shard, claimed.size);
        let proof = consistency(&mut tiles, old, claimed.size).map_err(away)?;
        let lines = match self
            .witness
            .add_checkpoint(&CheckpointSubmission { old, proof, note }, self.clock.now())
        {
            Ok(lines) => lines,
            Err(error @ (WitnessRefusal::Inconsistent { .. } | WitnessRefusal::Unsigned(_))) => {
                return Err(Refusal::new(Code::ProofInvalid, error.to_string()));
            }
            Err(error) => return Err(away(error)),
        };
        let body = format!("{}\n{lines}", claimed.text());
        self.post_note(body.as_bytes()).map_err(away)
    }

    /// Whether a log that has not become shorter contains what was seen of it.
    fn continues(
        &self,
        shard: &str,
        seen: &Checkpoint,
        shown: &ShownCheckpoint,
    ) -> Result<bool, Refusal> {
        let now = &shown.checkpoint;
        let mut tiles = SourceTiles::new(&self.watching, shard, now.size);
        let proof = consistency(&mut tiles, seen.size, now.size).map_err(away)?;
        Ok(is_consistent(
            (seen.size, seen.root),
            (now.size, now.root),
            &proof,
        ))
    }

    /// Accepts a log that lacks what was seen of it as [`WatchedVault::shortened`] says. Otherwise
    /// it shows the vault what was seen, signed by its own key: a vault whose store was rolled back
    /// ends.
    fn changed(&self, seen: &Checkpoint, shown: Option<&ShownCheckpoint>) -> Result<(), Refusal> {
        self.shortened(seen, shown).inspect_err(|why| {
            if why.code() == Code::ProofInvalid {
                self.show_seen(seen);
            }
        })
    }

    fn show_seen(&self, seen: &Checkpoint) {
        let note = self.witness.last(&origin_hash(&seen.origin));
        if let Ok(Some(note)) = note {
            let _ = self.post_note(&note);
        }
    }

    fn post_note(&self, note: &[u8]) -> Result<(), ClientError> {
        let (path, text) = ("/v1/audit/cosignatures", "text/plain; charset=utf-8");
        self.watching.post(path, text, note, &mut Vec::new())
    }

    /// Accepts a shard that was begun after a restore only once an officer or custodian has
    /// acknowledged its first entry, even if this node has seen nothing of what was lost.
    fn check_beginning(&self, shown: &ShownCheckpoint) -> Result<(), Refusal> {
        let origin = &shown.checkpoint.origin;
        if owner_and_shard(origin).is_none_or(|(_, shard)| shard.part == 0) {
            return Ok(());
        }
        let proved = self.proved(origin)?;
        let found = proved.iter().find(|found| found.log == *origin);
        found.map_or_else(
            || {
                let why = format!("the vault's log {origin} does not prove what it goes on from");
                Err(Refusal::new(Code::ProofInvalid, why))
            },
            |found| self.check_acknowledged(found),
        )
    }

    /// Accepts a log that is shorter than it was, or gone, only if the vault proves an entry that
    /// says so and an officer or custodian has acknowledged that entry at this node.
    fn shortened(&self, seen: &Checkpoint, shown: Option<&ShownCheckpoint>) -> Result<(), Refusal> {
        let Some(resumption) = self.resumption(seen, shown)? else {
            let now = shown.map_or(0, |shown| shown.checkpoint.size);
            let why = format!(
                "the vault's log {} now has {now} entries, and not the {} that were seen",
                seen.origin, seen.size
            );
            return Err(Refusal::new(Code::ProofInvalid, why));
        };
        self.check_acknowledged(&resumption)
    }

    /// Refuses what the vault shows until an officer or custodian has acknowledged that its log
    /// goes on with this entry.
    fn check_acknowledged(&self, resumption: &Resumption) -> Result<(), Refusal> {
        let Resumption {
            log,
            lost,
            kept_entries,
            ..
        } = resumption;
        if self
            .node
            .get()
            .resume_acknowledged(&resumption.entry)
            .map_err(away)?
        {
            // The acknowledgement was logged at a higher level.
            tracing::debug!(
                log,
                lost = lost.size,
                kept_entries,
                "the vault's log lost entries at a restore, as was acknowledged"
            );
            return Ok(());
        }
        let why = format!(
            "the vault was restored: of {} entries of {} it has {kept_entries}, and goes on as {log}. Nothing is opened before \
             an officer or a custodian has acknowledged that: `cloison authority acknowledge-resume`",
            lost.size, lost.origin
        );
        Err(Refusal::new(Code::ProofInvalid, why))
    }

    /// The entry of another shard that explains why a log is shorter than what was cosigned of it,
    /// or gone.
    fn resumption(
        &self,
        seen: &Checkpoint,
        shown: Option<&ShownCheckpoint>,
    ) -> Result<Option<Resumption>, Refusal> {
        let Some(key) = self.witness.key_of(&seen.origin) else {
            return Ok(None);
        };
        let now = shown
            .map(|shown| Checkpoint::open(shown.note.as_bytes(), &key))
            .transpose()
            .map_err(away)?;
        let now = now.map(|(now, _)| now);
        let mut proved = self.proved(&seen.origin)?.into_iter();
        Ok(proved.find(|found| found.explains(seen, now.as_ref())))
    }

    /// The entries with which the vault's log went on after restores, as it proves them under the
    /// key of the log `origin`.
    fn proved(&self, origin: &str) -> Result<Vec<Resumption>, Refusal> {
        let Some(key) = self.witness.key_of(origin) else {
            return Ok(vec![]);
        };
        let shown: ResumeProofs = self.watching.get_json("/v1/resumes").map_err(away)?;
        let proved = shown.proofs.iter();
        Ok(proved
            .filter_map(|proof| Resumption::of(proof, &key))
            .collect())
    }

    fn is_fresh(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < FRESH)
    }
}

impl WatchedVault {
    /// Asks for what the vault hands out only after a recent exchange of cosignatures.
    fn watched<T>(&self, ask: impl Fn() -> Result<T, Refusal>) -> Result<T, Refusal> {
        if !self.is_fresh() {
            self.watch()?;
        }
        match ask() {
            // A vault that was restarted does not remember when it was cosigned.
            Err(refusal) if refusal.code() == Code::CosignatureMissing => {
                self.watch()?;
                ask()
            }
            answered => answered,
        }
    }
}

impl VaultLink for WatchedVault {
    fn post(&self, question: PostedQuestion<'_>) -> Result<Vec<u8>, Refusal> {
        if question.hands_out_mappings {
            self.watched(|| self.client.post_question(question))
        } else {
            self.client.post_question(question)
        }
    }

    fn look_again(&self) {
        if let Err(why) = self.watch() {
            tracing::debug!(%why, "the vault's log is still not trusted");
        }
    }

    fn resumptions(&self) -> Result<Vec<Resumption>, Refusal> {
        let mut all: Vec<Resumption> = vec![];
        let seen = self.seen()?;
        for (shard, seen) in &seen {
            let shown = self.shown(shard)?;
            if let Some(shown) = &shown
                && shown.checkpoint.size >= seen.size
                && self.continues(shard, seen, shown)?
            {
                continue;
            }
            // One entry may explain several shards.
            let found = self.resumption(seen, shown.as_ref())?;
            all.extend(found.filter(|found| all.iter().all(|known| known.entry != found.entry)));
        }
        // Shards of which nothing was seen, because they wait for an acknowledgement.
        for shard in self.watching.shards().map_err(away)? {
            if seen.contains_key(&shard) {
                continue;
            }
            let Some(shown) = self.shown(&shard)? else {
                continue;
            };
            let origin = &shown.checkpoint.origin;
            let found = self.proved(origin)?.into_iter();
            let found = found.filter(|found| {
                found.log == *origin && all.iter().all(|known| known.entry != found.entry)
            });
            let found: Vec<_> = found.collect();
            all.extend(found);
        }
        Ok(all)
    }
}
