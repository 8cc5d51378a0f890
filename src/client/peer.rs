//! The authority node's way to the vault: releases, and before them the exchange of cosignatures.
//!
//! The node dials, the vault never does. It fetches the vault's checkpoint, checks that the log only grew since the last
//! one, cosigns it and brings the cosignature; its own checkpoints it submits like any log (`audit::cosign`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Client;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::path::Resource;
use crate::audit::proof::consistency;
use crate::audit::resume::Resumption;
use crate::audit::source::{Source as _, SourceTiles};
use crate::audit::witness::{Refused, Submission, Witness};
use crate::clock::Clock;
use crate::code::Code;
use crate::migrate::{Handed, MigrationLink, Page, PageRequest, Taken};
use crate::order::Refusal;
use crate::reidentify::lodge::{LodgedOrder, OrderText};
use crate::reidentify::resumed::{ResumeLink, ResumeProofs};
use crate::reidentify::reveal::VaultLink;
use crate::reidentify::step::{Exchange, Exchanged};
use crate::reidentify::{Release, ReleaseRequest};
use crate::store::Store;

/// How old an exchange may be before the next release makes another one.
const FRESH: Duration = Duration::from_secs(60);

/// The vault, watched by the node.
pub struct Peer {
    /// For releases, which may take their time.
    client: Client,
    /// For watching, which must not hold anything up.
    watching: Client,
    witness: Witness,
    /// The node's own store: what was acknowledged here.
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Instant>>,
}

impl Peer {
    /// The vault at the other end of both clients; `witness` cosigns its checkpoints, `store` is the node's.
    pub fn new(client: Client, watching: Client, witness: Witness, store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { client, watching, witness, store, clock, last: Mutex::default() }
    }

    /// Fetches the vault's last checkpoint, checks it against the one before, cosigns it, and brings the cosignature.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`] where the log did not only grow; [`Code::PeerUnavailable`].
    pub fn watch(&self) -> Result<(), Refusal> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let away =
            |what: &str| Refusal::new(Code::PeerUnavailable, format!("the vault's log cannot be watched: {what}"));
        let shards = self.watching.shards().map_err(|error| away(&error.to_string()))?;
        // The last two: a shard may have ended since.
        for shard in &shards[shards.len().saturating_sub(2)..] {
            self.one(shard, &away)?;
        }
        *last = Some(Instant::now());
        Ok(())
    }

    fn one(&self, shard: &str, away: &dyn Fn(&str) -> Refusal) -> Result<(), Refusal> {
        let note = self.watching.read(shard, Resource::Checkpoint).map_err(|error| away(&error.to_string()))?;
        let note = note.and_then(|note| String::from_utf8(note).ok()).ok_or_else(|| away("it has no checkpoint"))?;
        let (claimed, _) = Checkpoint::read(note.as_bytes()).map_err(|error| away(&error.to_string()))?;
        let old = self.witness.size(&claimed.origin).map_err(|error| away(&error.to_string()))?;
        if old > claimed.size {
            return self.shortened(&note, away);
        }
        let mut tiles = SourceTiles::new(&self.watching, shard, claimed.size);
        let proof = consistency(&mut tiles, old, claimed.size).map_err(|error| away(&error.to_string()))?;
        let lines = match self.witness.add_checkpoint(&Submission { old, proof, note }, self.clock.now()) {
            Ok(lines) => lines,
            Err(error @ (Refused::Inconsistent { .. } | Refused::Unsigned(_))) => {
                tracing::error!(%error, "the vault's log is not the one that was seen before");
                return Err(Refusal::new(Code::ProofInvalid, error.to_string()));
            }
            Err(error) => return Err(away(&error.to_string())),
        };
        let body = format!("{}\n{lines}", claimed.text());
        let mut reply = Vec::new();
        let posted =
            self.watching.post("/v1/audit/cosignatures", "text/plain; charset=utf-8", body.as_bytes(), &mut reply);
        posted.map_err(|error| away(&error.to_string()))
    }

    /// A log that is shorter than it was is believed where the vault proves an entry that says so, and somebody at this node has
    /// acknowledged it.
    fn shortened(&self, note: &str, away: &dyn Fn(&str) -> Refusal) -> Result<(), Refusal> {
        let (claimed, _) = Checkpoint::read(note.as_bytes()).map_err(|error| away(&error.to_string()))?;
        let Some(resumption) = self.resumption(note).map_err(|error| away(&error))? else {
            let why = format!("the vault's log {} now has {} entries, and had more", claimed.origin, claimed.size);
            tracing::error!(why, "the vault's log was rewritten or truncated");
            return Err(Refusal::new(Code::ProofInvalid, why));
        };
        let Resumption { log, lost, kept_entries, .. } = &resumption;
        let acknowledged = self.store.resume_acknowledged(&resumption.entry);
        if acknowledged.map_err(|error| away(&error.to_string()))? {
            tracing::warn!(
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
        tracing::error!(why, "the vault's log lost entries at a restore");
        Err(Refusal::new(Code::ProofInvalid, why))
    }

    /// The entry of another shard that explains why a log is shorter than what was cosigned of it.
    fn resumption(&self, note: &str) -> Result<Option<Resumption>, String> {
        let (claimed, _) = Checkpoint::read(note.as_bytes()).map_err(|error| error.to_string())?;
        let Some(key) = self.witness.key_of(&claimed.origin) else { return Ok(None) };
        let (now, _) = Checkpoint::open(note.as_bytes(), &key).map_err(|error| error.to_string())?;
        let seen = self.witness.remembered(&now.origin).map_err(|error| error.to_string())?;
        let Some(seen) = seen.filter(|seen| seen.size > now.size) else { return Ok(None) };
        let proved: ResumeProofs = self.watching.get_json("/v1/resumes").map_err(|error| error.to_string())?;
        let mut found = proved.proofs.iter().filter_map(|proof| Resumption::of(proof, &key));
        Ok(found.find(|found| found.explains(&seen, &now)))
    }

    /// The way to the vault itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn is_fresh(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < FRESH)
    }
}

impl Peer {
    /// Asks for what the vault hands out only while it is watched.
    fn watched<T>(&self, ask: impl Fn() -> Result<T, Refusal>) -> Result<T, Refusal> {
        if !self.is_fresh() {
            self.watch()?;
        }
        match ask() {
            // The vault may have been started anew, and forgotten when it was cosigned.
            Err(refusal) if refusal.code() == Code::CosignatureMissing => {
                self.watch()?;
                ask()
            }
            answered => answered,
        }
    }
}

impl MigrationLink for Peer {
    fn migration_page(&self, request: &PageRequest) -> Result<Page, Refusal> {
        self.watched(|| self.client.migration_page(request))
    }

    fn hand_back(&self, handed: &Handed) -> Result<Taken, Refusal> {
        self.client.hand_back(handed)
    }

    fn as_vault(&self) -> &dyn VaultLink {
        self
    }
}

impl ResumeLink for Peer {
    fn resumptions(&self) -> Result<Vec<Resumption>, Refusal> {
        let away =
            |error: String| Refusal::new(Code::PeerUnavailable, format!("the vault's log cannot be watched: {error}"));
        let shards = self.watching.shards().map_err(|error| away(error.to_string()))?;
        let mut found = vec![];
        for shard in &shards {
            let note = self.watching.read(shard, Resource::Checkpoint).map_err(|error| away(error.to_string()))?;
            let note = note.and_then(|note| String::from_utf8(note).ok());
            let Some(note) = note else { continue };
            found.extend(self.resumption(&note).map_err(away)?);
        }
        Ok(found)
    }
}

impl VaultLink for Peer {
    fn release(&self, request: &ReleaseRequest) -> Result<Release, Refusal> {
        self.watched(|| self.client.release(request))
    }

    fn exchange_acts(&self, exchange: &Exchange) -> Result<Exchanged, Refusal> {
        self.client.exchange_acts(exchange)
    }

    fn lodge_order(&self, order: &OrderText) -> Result<LodgedOrder, Refusal> {
        self.client.lodge_order(order)
    }
}
