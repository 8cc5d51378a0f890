//! Bringing one's own log to those who follow it and cannot dial: a node's to the vault, and either
//! side's to the witnesses that follow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::follow::{AGAIN, IDLE, RoundFault};
use crate::client::{Client, Timeouts};
use crate::config::{LogConfig, WatcherConfig};
use crate::entity::{EntityInForce, TakenHeld};
use crate::http::Readiness;
use crate::system::lock::unpoisoned;
use crate::terminal::CommandError;

/// How long an answer to what is brought may take.
const BRINGING: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(10),
};

/// The notice of `/readyz` about witnesses that do not keep the log.
const NOTICE: &str = "followers";

/// The threads that bring a log. They end when this is dropped.
pub(super) struct LogBringing {
    entity: EntityInForce,
    has_ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for LogBringing {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        self.entity.get().log().end_offers();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl LogBringing {
    /// Brings the log of an entity to the witnesses that follow it. The clients are added to
    /// `callers`; `/readyz` says where a witness does not keep it.
    ///
    /// # Errors
    /// When a client or thread cannot be made.
    pub(super) fn to_witnesses(
        entity: &EntityInForce,
        log: &LogConfig,
        readiness: &Arc<Readiness>,
        callers: &mut Vec<Client>,
    ) -> Result<Self, CommandError> {
        let mut bringing = Self {
            entity: entity.clone(),
            has_ended: Arc::default(),
            threads: vec![],
        };
        let troubles = BringingTroubles::new(readiness);
        for witness in log.witnesses.iter().filter(|witness| witness.follows) {
            let client = witness_client(witness)?;
            callers.push(client.clone());
            let owner = entity.get().log().owner().to_owned();
            let to = format!("the witness {}", witness.name);
            bringing.start(
                client,
                to,
                Some(WitnessOfLog {
                    owner,
                    troubles: troubles.clone(),
                }),
            )?;
        }
        Ok(bringing)
    }

    /// Brings it to the vault as well.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn bring_to_vault(&mut self, client: Client) -> Result<(), CommandError> {
        self.start(client, "the vault".to_owned(), None)
    }

    /// How long the client of the vault waits.
    pub(super) const fn timeouts() -> Timeouts {
        BRINGING
    }

    fn start(
        &mut self,
        client: Client,
        to: String,
        witness: Option<WitnessOfLog>,
    ) -> Result<(), CommandError> {
        let bringer = OwnLogBringer {
            client,
            to,
            witness,
            entity: self.entity.clone(),
            has_ended: self.has_ended.clone(),
        };
        let thread = std::thread::Builder::new().name("bring-log".into());
        let thread = thread.spawn(move || bringer.run());
        let thread =
            thread.map_err(|error| CommandError::new(error, "check the limits on threads"))?;
        self.threads.push(thread);
        Ok(())
    }
}

fn witness_client(witness: &WatcherConfig) -> Result<Client, CommandError> {
    Client::with_timeouts(&witness.client, BRINGING)
        .map_err(|error| CommandError::new(error, "check [[audit.witness]] in the configuration"))
}

/// What a witness that follows is told, and where its refusals are shown.
struct WitnessOfLog {
    /// Whose log it is.
    owner: String,
    troubles: Arc<BringingTroubles>,
}

/// Which witnesses do not keep the log, and why, as `/readyz` says it.
struct BringingTroubles {
    readiness: Arc<Readiness>,
    of: Mutex<BTreeMap<String, String>>,
}

impl BringingTroubles {
    fn new(readiness: &Arc<Readiness>) -> Arc<Self> {
        let (readiness, of) = (readiness.clone(), Mutex::default());
        Arc::new(Self { readiness, of })
    }

    fn note(&self, to: &str, trouble: Option<String>) {
        let mut of = unpoisoned(self.of.lock());
        match trouble {
            Some(trouble) => drop(of.insert(to.to_owned(), trouble)),
            None => drop(of.remove(to)),
        }
        let words: Vec<_> = of.values().cloned().collect();
        let words = (!words.is_empty()).then(|| words.join("; "));
        self.readiness.notice(NOTICE, words);
    }
}

/// Brings an entity's own log to one who follows it.
struct OwnLogBringer {
    client: Client,
    /// How messages name them.
    to: String,
    /// `None`: it is the vault, which need not follow.
    witness: Option<WitnessOfLog>,
    entity: EntityInForce,
    has_ended: Arc<AtomicBool>,
}

impl OwnLogBringer {
    fn run(&self) {
        let (mut held, mut said) = (None, None);
        while !self.has_ended.load(Ordering::Acquire) {
            match self.round(&held) {
                Ok(now) => {
                    held = now;
                    self.show(None, &mut said);
                }
                Err(fault) => {
                    let pause = if fault.is_lasting() { IDLE } else { AGAIN };
                    held = None;
                    self.show(Some(fault), &mut said);
                    self.pause(pause);
                }
            }
        }
    }

    /// Brings what is new behind `held`; asks first what is held where that is not known. Waits where
    /// nothing is new. Returns what is held then.
    fn round(&self, held: &Option<TakenHeld>) -> Result<Option<TakenHeld>, RoundFault> {
        let entity = self.entity.get();
        let offer = match held {
            None => None,
            Some(held) => {
                let Some(offer) = entity.offer(held)? else {
                    let log = entity.log();
                    log.wait_for_offer(held.checkpoint.as_ref(), held.counts, IDLE);
                    return Ok(Some(held.clone()));
                };
                Some(offer)
            }
        };
        let owner = self.witness.as_ref().map(|witness| &*witness.owner);
        let answer = self.client.bring_offer(offer.as_ref(), owner)?;
        let taken = entity.take_held(&self.to, answer.text().as_bytes())?;
        Ok(Some(taken))
    }

    /// Says why the log is not kept, once for each reason. A vault need not follow; and one who is away
    /// is shown elsewhere.
    fn show(&self, fault: Option<RoundFault>, said: &mut Option<String>) {
        let fault = fault.filter(|fault| !fault.is_away());
        let fault = fault.filter(|fault| self.witness.is_some() || !fault.is_lasting());
        let what = fault.map(|fault| match (&self.witness, fault.is_unknown()) {
            (Some(witness), true) => format!(
                "{} does not keep this log: its configuration has no [follow], or no [[log]] of {}",
                self.to, witness.owner
            ),
            _ => format!("{} does not keep this log: {fault}", self.to),
        });
        if let Some(what) = what.as_ref().filter(|what| said.as_ref() != Some(what)) {
            tracing::warn!("{what}");
        }
        if let Some(witness) = &self.witness {
            witness.troubles.note(&self.to, what.clone());
        }
        *said = what;
    }

    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.has_ended.load(Ordering::Acquire) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
