//! Bringing one's own log to those who follow it and cannot dial: a node's to the vault, and either
//! side's to the witnesses that follow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::follow::{IDLE, RoundFault};
use crate::client::{Client, Timeouts};
use crate::config::{ClientConfig, LogConfig};
use crate::entity::{EntityInForce, TakenHeld};
use crate::http::Readiness;
use crate::system::lock::unpoisoned;
use crate::terminal::CommandError;

/// How long an answer to what is brought may take.
const BRINGING: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    step: Duration::from_secs(10),
};

/// The notice of `/readyz` about followers that do not keep the log.
const NOTICE: &str = "followers";

/// The threads that bring a log. They end when this is dropped.
pub(super) struct LogBringing {
    entity: EntityInForce,
    notices: Arc<UnkeptNotices>,
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
            notices: UnkeptNotices::new(readiness),
            has_ended: Arc::default(),
            threads: vec![],
        };
        for witness in log.witnesses.iter().filter(|witness| witness.follows) {
            let to = FollowingSide::Witness(witness.name.clone());
            let advice = "check [[audit.witness]] in the configuration";
            bringing.start(to, (&witness.client, advice), callers)?;
        }
        Ok(bringing)
    }

    /// Brings it to the vault as well.
    ///
    /// # Errors
    /// When the client or thread cannot be made.
    pub(super) fn bring_to_vault(
        &mut self,
        vault: &ClientConfig,
        callers: &mut Vec<Client>,
    ) -> Result<(), CommandError> {
        let advice = "check [vault] in the configuration";
        self.start(FollowingSide::Vault, (vault, advice), callers)
    }

    fn start(
        &mut self,
        to: FollowingSide,
        (config, advice): (&ClientConfig, &str),
        callers: &mut Vec<Client>,
    ) -> Result<(), CommandError> {
        let client = Client::with_timeouts(config, BRINGING);
        let client = client.map_err(|error| CommandError::new(error, advice))?;
        callers.push(client.clone());
        let bringer = OwnLogBringer {
            client,
            to,
            notices: self.notices.clone(),
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

/// Who follows the log and is brought it.
enum FollowingSide {
    /// It need not follow.
    Vault,
    /// The witness of that name, which the configuration says follows.
    Witness(String),
}

impl fmt::Display for FollowingSide {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault => out.write_str("the vault"),
            Self::Witness(name) => write!(out, "the witness {name}"),
        }
    }
}

/// Which followers do not keep the log, and why, as `/readyz` says it.
struct UnkeptNotices {
    readiness: Arc<Readiness>,
    of: Mutex<BTreeMap<String, String>>,
}

impl UnkeptNotices {
    fn new(readiness: &Arc<Readiness>) -> Arc<Self> {
        let (readiness, of) = (readiness.clone(), Mutex::default());
        Arc::new(Self { readiness, of })
    }

    fn note(&self, to: &FollowingSide, trouble: Option<String>) {
        let (to, mut of) = (to.to_string(), unpoisoned(self.of.lock()));
        match trouble {
            Some(trouble) => drop(of.insert(to, trouble)),
            None => drop(of.remove(&to)),
        }
        let words: Vec<_> = of.values().cloned().collect();
        let words = (!words.is_empty()).then(|| words.join("; "));
        self.readiness.notice(NOTICE, words);
    }
}

/// Brings an entity's own log to one who follows it.
struct OwnLogBringer {
    client: Client,
    to: FollowingSide,
    notices: Arc<UnkeptNotices>,
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
                    let pause = fault.pause();
                    held = None;
                    self.show(Some(fault), &mut said);
                    self.pause(pause);
                }
            }
        }
    }

    /// Brings what is new behind `held`; asks first what is held where that is not known. Waits
    /// where nothing is new. Returns what is held then.
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
        // A vault knows by the certificate whose log it is.
        let owner = match &self.to {
            FollowingSide::Vault => None,
            FollowingSide::Witness(_) => Some(entity.log().owner()),
        };
        let answer = self.client.bring_offer(offer.as_ref(), owner)?;
        let taken = entity.take_held(&self.to.to_string(), answer.text().as_bytes())?;
        Ok(Some(taken))
    }

    /// Says why the log is not kept, once for each reason. A vault need not follow; and one who is
    /// away is shown elsewhere.
    fn show(&self, fault: Option<RoundFault>, said: &mut Option<String>) {
        let is_vault = matches!(self.to, FollowingSide::Vault);
        let fault = fault.filter(|fault| !fault.is_away());
        let fault = fault.filter(|fault| !(is_vault && fault.is_unknown()));
        // What passes at a vault is no more than a line of the log.
        let is_noted = fault
            .as_ref()
            .is_some_and(|fault| !is_vault || fault.is_lasting());
        let what = fault.map(|fault| {
            let why = if fault.is_unknown() {
                let entity = self.entity.get();
                let owner = entity.log().owner();
                format!("its configuration has no [follow], or no [[log]] of {owner}")
            } else {
                fault.to_string()
            };
            format!("{} does not keep this log: {why}", self.to)
        });
        if let Some(what) = what.as_ref().filter(|what| said.as_ref() != Some(what)) {
            tracing::warn!("{what}");
        }
        self.notices
            .note(&self.to, what.clone().filter(|_| is_noted));
        *said = what;
    }

    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.has_ended.load(Ordering::Acquire) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
