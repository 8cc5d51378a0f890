//! Cosignatures on our own checkpoints. A thread asks witnesses for them, and the peer brings its
//! own. This module remembers who cosigned, and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::log::{Log, PublishedCheckpoint};
use super::seen::SeenCheckpoint;
use super::shard_reader::ShardReader;
use crate::clock::lasting::LastingTrouble;
use crate::clock::{CLOCK_TOLERANCE, Clock};
use crate::store::StoreError;
use crate::tlog::note::{SignedNote, Verifier};
use crate::tlog::proof::consistency;
use crate::tlog::witness::CheckpointSubmission;

/// How often witnesses are asked while there are new checkpoints.
const EVERY: Duration = Duration::from_secs(1);
/// The age at which a cosignature is renewed although there is nothing new to cosign.
const RENEW: Duration = Duration::from_secs(60);

/// How old the other side's cosignature may be for a release, in seconds.
const PEER_WITHIN: i64 = 300;

/// A witness's answer to a submission.
#[derive(Debug)]
pub enum WitnessAnswer {
    /// Signature lines.
    Cosigned(String),
    /// It remembers another size.
    Stale(u64),
    /// It remembers entries that the submitted checkpoint does not continue.
    Inconsistent,
}

/// The connection to a witness.
pub trait WitnessLink: Send + Sync {
    /// Submits a checkpoint (C2SP `tlog-witness`, `add-checkpoint`).
    ///
    /// # Errors
    /// Why there is no answer, or why the witness refused.
    fn ask(&self, submission: &CheckpointSubmission) -> Result<WitnessAnswer, String>;

    /// The last checkpoint of a log that it cosigned (C2SP `tlog-witness`, `checkpoint`); `None` if
    /// it has seen none.
    ///
    /// # Errors
    /// Why there is no answer.
    fn last(&self, origin: &str) -> Result<Option<Vec<u8>>, String>;
}

/// Called when somebody has seen entries of our log that the store does not have: the process must
/// end.
pub type RolledBackHandler = Box<dyn Fn(&StoreError) + Send + Sync>;

/// A cosigner of our log: a witness, or the other side.
pub struct Cosigner {
    /// The key of its cosignatures.
    pub verifier: Verifier,
    /// The connection to it; `None` if the cosigner brings its cosignatures itself.
    pub ask: Option<Box<dyn WitnessLink>>,
    /// Whether it counts towards [`CosignatureQuorum::required`]. The other side does not.
    pub counts: bool,
}

/// When a cosigner last cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignerTime {
    /// Its name.
    pub name: String,
    /// As [`Cosigner::counts`].
    pub counts: bool,
    /// The time of its last cosignature since this process started.
    pub last: Option<Timestamp>,
}

/// The cosignatures that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CosignatureQuorum {
    /// How many witnesses.
    pub required: usize,
    /// How old their cosignatures may be.
    pub within: Duration,
}

/// All cosigners of our log.
pub struct Cosigners {
    watchers: Vec<Cosigner>,
    quorum: CosignatureQuorum,
    clock: Arc<dyn Clock>,
    rolled_back: RolledBackHandler,
    seen: Mutex<CosignerTimes>,
    wake: Condvar,
}

#[derive(Default)]
struct CosignerTimes {
    /// By name: when it last cosigned, and how many entries.
    last: BTreeMap<String, (Timestamp, u64)>,
    /// By name: why it does not cosign.
    trouble: BTreeMap<String, CosignerTrouble>,
    ending: bool,
}

/// Why a cosigner does not cosign.
#[derive(Debug, Default)]
struct CosignerTrouble {
    why: String,
    lasting: LastingTrouble,
    /// Whether it has lasted long enough to be told.
    told: bool,
}

/// Whether a time lies further in the future than clocks may differ. It does if this side's clock
/// ran ahead when the time was noted.
fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > CLOCK_TOLERANCE
}

/// Whether a cosignature made at `time` is at most `within` seconds old. A time in the future does
/// not show that its cosigner is running now.
fn is_fresh(time: Timestamp, now: Timestamp, within: i64) -> bool {
    !is_ahead(time, now) && now.as_second() - time.as_second() <= within
}

/// The time that decides whether something is old enough to be destroyed: this side's clock, or the
/// other side's last cosignature if that is earlier. A clock that runs ahead alone therefore
/// destroys nothing, and nothing is destroyed before the first cosignature since the start. Where
/// the register states no other side, this side's clock decides.
pub fn proven_time(
    has_peer: bool,
    cosigners: Option<&Arc<Cosigners>>,
    now: Timestamp,
) -> Timestamp {
    match (
        has_peer,
        cosigners.and_then(|cosigners| cosigners.peer_time(now)),
    ) {
        (false, _) => now,
        (true, Some(time)) => time.min(now),
        (true, None) => Timestamp::UNIX_EPOCH,
    }
}

/// Stops the thread that asks the witnesses when dropped.
pub struct WitnessThread {
    cosigners: Arc<Cosigners>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for WitnessThread {
    fn drop(&mut self) {
        self.cosigners.seen().ending = true;
        self.cosigners.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Cosigners {
    /// Makes the set of cosigners, with the quorum that they must reach.
    pub fn new(
        watchers: Vec<Cosigner>,
        quorum: CosignatureQuorum,
        clock: Arc<dyn Clock>,
        rolled_back: RolledBackHandler,
    ) -> Arc<Self> {
        Arc::new(Self {
            watchers,
            quorum,
            clock,
            rolled_back,
            seen: Mutex::default(),
            wake: Condvar::new(),
        })
    }

    /// Starts the thread that asks the witnesses; it ends when the returned value is dropped.
    ///
    /// # Errors
    /// When the operating system cannot start a thread.
    pub fn start(self: &Arc<Self>, log: Arc<Log>) -> std::io::Result<WitnessThread> {
        let (cosigners, asking) = (
            self.clone(),
            self.watchers.iter().any(|watcher| watcher.ask.is_some()),
        );
        let work = move || cosigners.ask_until_the_end(&log);
        let thread = asking
            .then(|| {
                std::thread::Builder::new()
                    .name("witnesses".into())
                    .spawn(work)
            })
            .transpose()?;
        Ok(WitnessThread {
            cosigners: self.clone(),
            thread,
        })
    }

    /// Each cosigner, and when it last cosigned.
    pub fn all(&self) -> Vec<CosignerTime> {
        let seen = self.seen();
        let time = |watcher: &Cosigner| CosignerTime {
            name: watcher.verifier.name().to_owned(),
            counts: watcher.counts,
            last: seen
                .last
                .get(watcher.verifier.name())
                .map(|(time, _)| *time),
        };
        self.watchers.iter().map(time).collect()
    }

    /// When a cosigner last cosigned.
    pub fn last(&self, name: &str) -> Option<Timestamp> {
        self.seen().last.get(name).map(|(time, _)| *time)
    }

    /// The latest time at which the other side cosigned, leaving out times that are ahead of `now`.
    fn peer_time(&self, now: Timestamp) -> Option<Timestamp> {
        let seen = self.seen();
        let peers = self.watchers.iter().filter(|watcher| !watcher.counts);
        let times = peers
            .filter_map(|watcher| seen.last.get(watcher.verifier.name()))
            .map(|(time, _)| *time);
        times.filter(|time| !is_ahead(*time, now)).max()
    }

    /// Whether a cosigner cosigned within the last five minutes; without this nothing is released.
    /// Waits up to `patience` for a cosignature that is on its way.
    pub fn is_watched_by(&self, name: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let now = self.clock.now();
            if self
                .last(name)
                .is_some_and(|time| is_fresh(time, now, PEER_WITHIN))
            {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Why too few witnesses cosign; `None` if enough do.
    pub fn missing_quorum(&self) -> Option<String> {
        let now = self.clock.now();
        let within = i64::try_from(self.quorum.within.as_secs()).unwrap_or(i64::MAX);
        let seen = self.seen();
        let fresh = |name: &str| {
            seen.last
                .get(name)
                .is_some_and(|(time, _)| is_fresh(*time, now, within))
        };
        let names = self
            .watchers
            .iter()
            .filter(|watcher| watcher.counts)
            .map(|watcher| watcher.verifier.name());
        let count = names.clone().filter(|name| fresh(name)).count();
        if count >= self.quorum.required {
            return None;
        }
        let missing = names
            .filter(|name| !fresh(name))
            .map(|name| match seen.trouble.get(name) {
                Some(CosignerTrouble { why, .. }) => format!("{name} ({why})"),
                None => name.to_owned(),
            });
        Some(format!(
            "{count} of {} required cosignatures within {within} s; missing: {}",
            self.quorum.required,
            missing.collect::<Vec<_>>().join(", ")
        ))
    }

    /// The witnesses that have not cosigned for a while, by name, and why. `None` if there are
    /// none. Also where enough others cosign, since nobody else would notice.
    pub fn silent_witnesses(&self) -> Option<String> {
        let seen = self.seen();
        let told = seen.trouble.iter().filter(|(_, trouble)| trouble.told);
        let silent: Vec<_> = told
            .map(|(name, trouble)| format!("{name} does not cosign ({})", trouble.why))
            .collect();
        (!silent.is_empty()).then(|| silent.join("; "))
    }

    /// Takes the line with which the cosigner `name` signed one of our checkpoints; returns whether
    /// `lines` has one. Lines of others are ignored: a cosignature shows that its cosigner is
    /// running, so only that cosigner may bring it. A cosigner's time never goes back: a line older
    /// than its last one is accepted and changes nothing, unless the last one came from a clock
    /// that ran ahead.
    ///
    /// # Errors
    /// Why the line is not a valid cosignature.
    pub fn take(
        &self,
        log: &Log,
        published: &PublishedCheckpoint,
        lines: &str,
        name: &str,
    ) -> Result<bool, String> {
        let Some(watcher) = self
            .watchers
            .iter()
            .find(|watcher| watcher.verifier.name() == name)
        else {
            return Ok(false);
        };
        let note = format!("{}\n{lines}", published.checkpoint.text());
        let note = SignedNote::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        let time = note
            .time_of(&watcher.verifier)
            .map_err(|error| error.to_string())?;
        let line = note
            .line_of(&watcher.verifier)
            .map_err(|error| error.to_string())?;
        let (Some(time), Some(line)) = (time, line) else {
            return Ok(false);
        };
        let time = i64::try_from(time)
            .ok()
            .and_then(|time| Timestamp::from_second(time).ok());
        // A cosignature from the future would stay fresh for too long.
        let time = time.map_or(Timestamp::UNIX_EPOCH, |time| time.min(self.clock.now()));
        if self.note_time(name, time, published.checkpoint.size) {
            log.add_lines(published, &format!("{line}\n"));
        }
        Ok(true)
    }

    /// Notes when a cosigner cosigned. Returns false and changes nothing if that is before its last
    /// time, unless the last time is in the future.
    fn note_time(&self, name: &str, time: Timestamp, size: u64) -> bool {
        let (now, mut seen) = (self.clock.now(), self.seen());
        if seen
            .last
            .get(name)
            .is_some_and(|(last, _)| time < *last && !is_ahead(*last, now))
        {
            return false;
        }
        seen.last.insert(name.to_owned(), (time, size));
        seen.trouble.remove(name);
        true
    }

    fn seen(&self) -> MutexGuard<'_, CosignerTimes> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_until_the_end(&self, log: &Log) {
        let mut asked: Vec<AskedWitness> = self
            .watchers
            .iter()
            .map(|_| AskedWitness::default())
            .collect();
        loop {
            for (watcher, asked) in self.watchers.iter().zip(&mut asked) {
                if let Some(link) = &watcher.ask {
                    self.ask_witness(log, watcher, &**link, asked);
                }
            }
            let mut seen = self.seen();
            if !seen.ending {
                seen = self
                    .wake
                    .wait_timeout(seen, EVERY)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            if seen.ending {
                return;
            }
        }
    }

    /// Submits to one witness every shard that has grown since it last cosigned, and the latest
    /// shard again when its cosignature gets old.
    fn ask_witness(
        &self,
        log: &Log,
        watcher: &Cosigner,
        link: &dyn WitnessLink,
        asked: &mut AskedWitness,
    ) {
        for published in log.shards() {
            let (origin, size) = (&published.checkpoint.origin, published.checkpoint.size);
            let remembered = asked.sizes.get(origin).copied();
            let is_last = log
                .latest()
                .is_some_and(|latest| latest.checkpoint.origin == *origin);
            let renew = asked.last.is_none_or(|last| last.elapsed() >= RENEW);
            if remembered == Some(size) && !(is_last && renew) {
                continue;
            }
            match self.submit(log, &published, watcher, link, remembered.unwrap_or(0)) {
                Ok(()) => {
                    asked.sizes.insert(origin.clone(), size);
                    asked.last = Some(Instant::now());
                }
                Err(why) => {
                    let name = watcher.verifier.name();
                    let mut seen = self.seen();
                    let trouble = seen.trouble.entry(name.to_owned()).or_default();
                    trouble.why.clone_from(&why);
                    if trouble.lasting.note(Instant::now()) {
                        trouble.told = true;
                        tracing::warn!(witness = name, why, "a witness does not cosign");
                    }
                }
            }
        }
    }

    /// Submits one checkpoint to one witness. `known` is how many entries of the log it remembers,
    /// as far as we know.
    fn submit(
        &self,
        log: &Log,
        published: &PublishedCheckpoint,
        watcher: &Cosigner,
        link: &dyn WitnessLink,
        known: u64,
    ) -> Result<(), String> {
        let (mut old, new) = (known, published.checkpoint.size);
        for _ in 0..2 {
            if old > new {
                let origin = &published.checkpoint.origin;
                self.confront(log, watcher, link.last(origin)?);
                return Err(format!(
                    "it has seen {old} entries of {origin}, which has {new}"
                ));
            }
            let mut reader = ShardReader::new(log.store(), &published.tree, new);
            let proof = consistency(&mut reader, old, new).map_err(|error| error.to_string())?;
            let submission = CheckpointSubmission {
                old,
                proof,
                note: published.note.clone(),
            };
            match link.ask(&submission)? {
                WitnessAnswer::Stale(size) => old = size,
                WitnessAnswer::Inconsistent => {
                    self.confront(log, watcher, link.last(&published.checkpoint.origin)?);
                    return Err(
                        "it says that this log was rewritten or forked since it cosigned it last"
                            .to_owned(),
                    );
                }
                WitnessAnswer::Cosigned(lines) => {
                    if self.take(log, published, &lines, watcher.verifier.name())? {
                        return Ok(());
                    }
                    return Err(format!(
                        "its answer has no cosignature by {}",
                        watcher.verifier
                    ));
                }
            }
        }
        Err("it named one size and then another".to_owned())
    }

    fn confront(&self, log: &Log, watcher: &Cosigner, note: Option<Vec<u8>>) {
        let by = watcher.verifier.name().to_owned();
        if let Some(note) = note {
            self.shown(log, &SeenCheckpoint { by, note });
        }
    }

    /// Compares our log with a checkpoint that somebody shows. One that our key signed and that our
    /// log does not contain ends the process; one that it did not sign counts for nothing.
    pub fn shown(&self, log: &Log, seen: &SeenCheckpoint) {
        match log.confront(seen) {
            Ok(()) => {}
            Err(error @ StoreError::RolledBack { .. }) => (self.rolled_back)(&error),
            Err(error) => tracing::error!(%error, "the log cannot be read"),
        }
    }
}

/// What the thread knows about a witness.
#[derive(Default)]
struct AskedWitness {
    /// By origin: the size that it remembers.
    sizes: BTreeMap<String, u64>,
    /// When it last cosigned.
    last: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    /// Both clocks ran a year ahead and were put right: a cosignature from then does not show that
    /// its cosigner is running, it destroys nothing, and the next cosignature replaces it.
    #[test]
    fn a_cosignature_from_the_future_is_stale_and_is_replaced() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ahead = now + jiff::SignedDuration::from_hours(24 * 365);
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let watcher = |name: &str, counts| Cosigner {
            verifier: Verifier::new(name, crate::tlog::note::SignatureKind::Cosigner, key),
            ask: None,
            counts,
        };
        let clock = Arc::new(FixedClock::at(ahead));
        let quorum = CosignatureQuorum {
            required: 1,
            within: Duration::from_secs(60),
        };
        let cosigners = Cosigners::new(
            vec![watcher("node", false), watcher("witness", true)],
            quorum,
            clock.clone(),
            Box::new(|error| panic!("{error}")),
        );
        let is_watched = || {
            cosigners.is_watched_by("node", Duration::ZERO) && cosigners.missing_quorum().is_none()
        };
        let note = |time| ["node", "witness"].map(|name| cosigners.note_time(name, time, 7));
        let proven = |now| proven_time(true, Some(&cosigners), now);
        assert_eq!(note(ahead), [true; 2]);
        assert!(is_watched());
        clock.set(now);
        assert!(
            !cosigners.is_watched_by("node", Duration::ZERO),
            "nothing is released"
        );
        assert!(cosigners.missing_quorum().is_some());
        assert_eq!(proven(now), Timestamp::UNIX_EPOCH, "nothing is destroyed");
        assert_eq!(note(now), [true; 2], "it is replaced");
        assert!(is_watched());
        assert_eq!(proven(now), now);
        assert_eq!(
            note(now - CLOCK_TOLERANCE),
            [false; 2],
            "and does not go back"
        );
    }

    #[test]
    fn a_cosigners_time_never_goes_back() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let quorum = CosignatureQuorum {
            required: 0,
            within: Duration::from_secs(60),
        };
        let cosigners = Cosigners::new(
            vec![],
            quorum,
            Arc::new(FixedClock::at(now)),
            Box::new(|error| panic!("{error}")),
        );
        let earlier = now - jiff::SignedDuration::from_secs(200);
        assert!(cosigners.note_time("node", now, 7));
        assert!(
            !cosigners.note_time("node", earlier, 9),
            "an old line changes nothing"
        );
        assert_eq!(cosigners.last("node"), Some(now));
        assert!(
            cosigners.note_time("node", now, 8),
            "the same second is not before"
        );
        assert!(cosigners.note_time("other", earlier, 9), "each has its own");
    }
}
