//! Cosignatures on our own checkpoints: asked of witnesses by a thread, or brought by the peer; who gave one, and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::log::{Log, Published};
use super::note::{Note, Verifier};
use super::proof::consistency;
use super::shelf::Shelf;
use super::witness::Submission;
use crate::clock::{CLOCK_TOLERANCE, Clock};

/// How often witnesses are asked while there are new checkpoints.
const EVERY: Duration = Duration::from_secs(1);
/// How old a cosignature may get before it is renewed, where nothing new is to be cosigned.
const RENEW: Duration = Duration::from_secs(60);

/// How old the other side's cosignature may be for a release, in seconds.
const PEER_WITHIN: i64 = 300;

/// What a witness answers.
#[derive(Debug)]
pub enum Answer {
    /// Signature lines.
    Cosigned(String),
    /// It remembers another size.
    Stale(u64),
}

/// The way to a witness.
pub trait Ask: Send + Sync {
    /// Submits a checkpoint (C2SP `tlog-witness`, `add-checkpoint`).
    ///
    /// # Errors
    /// Why there is no answer, or a refusal.
    fn ask(&self, submission: &Submission) -> Result<Answer, String>;
}

/// A witness of our log.
pub struct Watcher {
    /// Whose cosignatures count.
    pub verifier: Verifier,
    /// The way there; none where the cosigner comes by itself.
    pub ask: Option<Box<dyn Ask>>,
    /// Whether it is one of those of whom [`Quorum::required`] are required. The other side is not.
    pub counts: bool,
}

/// What must be cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How many witnesses.
    pub required: usize,
    /// How old their cosignatures may be.
    pub within: Duration,
}

/// All who cosign our log.
pub struct Cosigners {
    watchers: Vec<Watcher>,
    quorum: Quorum,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
    wake: Condvar,
}

#[derive(Default)]
struct Seen {
    /// By name: when it cosigned last, and how many entries.
    last: BTreeMap<String, (Timestamp, u64)>,
    /// By name: why it does not.
    trouble: BTreeMap<String, String>,
    ending: bool,
}

/// Whether a time lies further ahead than clocks differ: this side's clock ran ahead when it was noted, and was set right since.
fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > CLOCK_TOLERANCE
}

/// Whether a cosignature of that time is at most so many seconds old. One from the future says nothing about who is there now.
fn is_fresh(time: Timestamp, now: Timestamp, within: i64) -> bool {
    !is_ahead(time, now) && now.as_second() - time.as_second() <= within
}

/// The time that has surely come, by which things are destroyed for their age: this side's clock has reached it, and so had the
/// other side's when it last cosigned. So a clock that ran ahead destroys nothing, and neither does anything before the first
/// cosignature since the start. Where the register states no other side, this side's clock has to do.
pub fn proven_time(has_peer: bool, cosigners: Option<&Arc<Cosigners>>, now: Timestamp) -> Timestamp {
    match (has_peer, cosigners.and_then(|cosigners| cosigners.peer_time(now))) {
        (false, _) => now,
        (true, Some(time)) => time.min(now),
        (true, None) => Timestamp::UNIX_EPOCH,
    }
}

/// Ends the asking thread when dropped.
pub struct Asking {
    cosigners: Arc<Cosigners>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.cosigners.seen().ending = true;
        self.cosigners.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Cosigners {
    /// Those cosigners, of whom so many are required.
    pub fn new(watchers: Vec<Watcher>, quorum: Quorum, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { watchers, quorum, clock, seen: Mutex::default(), wake: Condvar::new() })
    }

    /// Starts to ask the witnesses, until what comes back is dropped.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(self: &Arc<Self>, log: Arc<Log>) -> std::io::Result<Asking> {
        let (cosigners, asking) = (self.clone(), self.watchers.iter().any(|watcher| watcher.ask.is_some()));
        let work = move || cosigners.ask_until_the_end(&log);
        let thread = asking.then(|| std::thread::Builder::new().name("witnesses".into()).spawn(work)).transpose()?;
        Ok(Asking { cosigners: self.clone(), thread })
    }

    /// When a cosigner cosigned last.
    pub fn last(&self, name: &str) -> Option<Timestamp> {
        self.seen().last.get(name).map(|(time, _)| *time)
    }

    /// The latest time at which the other side cosigned, of those that are not ahead of `now`.
    fn peer_time(&self, now: Timestamp) -> Option<Timestamp> {
        let seen = self.seen();
        let peers = self.watchers.iter().filter(|watcher| !watcher.counts);
        let times = peers.filter_map(|watcher| seen.last.get(watcher.verifier.name())).map(|(time, _)| *time);
        times.filter(|time| !is_ahead(*time, now)).max()
    }

    /// Whether that cosigner cosigned within five minutes: nothing is released otherwise. Waits a little for one that is
    /// being asked.
    pub fn is_watched_by(&self, name: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let now = self.clock.now();
            if self.last(name).is_some_and(|time| is_fresh(time, now, PEER_WITHIN)) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Why too few cosign; `None` where enough do.
    pub fn lack(&self) -> Option<String> {
        let now = self.clock.now();
        let within = i64::try_from(self.quorum.within.as_secs()).unwrap_or(i64::MAX);
        let seen = self.seen();
        let fresh = |name: &str| seen.last.get(name).is_some_and(|(time, _)| is_fresh(*time, now, within));
        let names = self.watchers.iter().filter(|watcher| watcher.counts).map(|watcher| watcher.verifier.name());
        let count = names.clone().filter(|name| fresh(name)).count();
        if count >= self.quorum.required {
            return None;
        }
        let missing = names.filter(|name| !fresh(name)).map(|name| match seen.trouble.get(name) {
            Some(why) => format!("{name} ({why})"),
            None => name.to_owned(),
        });
        Some(format!(
            "{count} of {} required cosignatures within {within} s; missing: {}",
            self.quorum.required,
            missing.collect::<Vec<_>>().join(", ")
        ))
    }

    /// Takes the signature line of the cosigner `name` below one of our checkpoints; whether there is one. Lines of others are left:
    /// a cosignature says that its cosigner is there, so nobody else brings it. A cosigner's time never goes back: an older line
    /// than the last one is taken for good and changes nothing, unless the last one is from a clock that ran ahead.
    ///
    /// # Errors
    /// Why the line is not one.
    pub fn take(&self, log: &Log, published: &Published, lines: &str, name: &str) -> Result<bool, String> {
        let Some(watcher) = self.watchers.iter().find(|watcher| watcher.verifier.name() == name) else {
            return Ok(false);
        };
        let note = format!("{}\n{lines}", published.checkpoint.text());
        let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        let time = note.time_of(&watcher.verifier).map_err(|error| error.to_string())?;
        let line = note.line_of(&watcher.verifier).map_err(|error| error.to_string())?;
        let (Some(time), Some(line)) = (time, line) else { return Ok(false) };
        let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
        // A cosignature from the future would stay fresh for too long.
        let time = time.map_or(Timestamp::UNIX_EPOCH, |time| time.min(self.clock.now()));
        if self.note_time(name, time, published.checkpoint.size) {
            log.add_lines(published, &format!("{line}\n"));
        }
        Ok(true)
    }

    /// Notes when a cosigner cosigned; whether that is not before the last time, or the last one is from the future.
    fn note_time(&self, name: &str, time: Timestamp, size: u64) -> bool {
        let (now, mut seen) = (self.clock.now(), self.seen());
        if seen.last.get(name).is_some_and(|(last, _)| time < *last && !is_ahead(*last, now)) {
            return false;
        }
        seen.last.insert(name.to_owned(), (time, size));
        seen.trouble.remove(name);
        true
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_until_the_end(&self, log: &Log) {
        // By cosigner and origin: the size that it remembers.
        let mut known: BTreeMap<(usize, String), u64> = BTreeMap::new();
        let mut asked: BTreeMap<usize, (Instant, String, u64)> = BTreeMap::new();
        loop {
            for (place, watcher) in self.watchers.iter().enumerate() {
                let Some(ask) = &watcher.ask else { continue };
                for published in log.shards() {
                    let (origin, size) = (published.checkpoint.origin.clone(), published.checkpoint.size);
                    let remembered = known.get(&(place, origin.clone())).copied();
                    let is_last = log.latest().is_some_and(|latest| latest.checkpoint.origin == origin);
                    let renew = asked.get(&place).is_none_or(|(when, ..)| when.elapsed() >= RENEW);
                    if remembered == Some(size) && !(is_last && renew) {
                        continue;
                    }
                    match self.one(log, &published, watcher, &**ask, remembered.unwrap_or(0)) {
                        Ok(()) => {
                            known.insert((place, origin.clone()), size);
                            asked.insert(place, (Instant::now(), origin, size));
                        }
                        Err(why) => {
                            let name = watcher.verifier.name().to_owned();
                            if self.seen().trouble.insert(name.clone(), why.clone()).is_none() {
                                tracing::warn!(witness = name, why, "a witness does not cosign");
                            }
                        }
                    }
                }
            }
            let mut seen = self.seen();
            if !seen.ending {
                seen = self.wake.wait_timeout(seen, EVERY).unwrap_or_else(PoisonError::into_inner).0;
            }
            if seen.ending {
                return;
            }
        }
    }

    /// Asks one witness about one checkpoint.
    fn one(
        &self,
        log: &Log,
        published: &Published,
        watcher: &Watcher,
        ask: &dyn Ask,
        known: u64,
    ) -> Result<(), String> {
        let mut old = known;
        for _ in 0..2 {
            let new = published.checkpoint.size;
            if old > new {
                return Err(format!("it has seen {old} entries of {}, which has {new}", published.checkpoint.origin));
            }
            let mut shelf = Shelf::new(log.store(), &published.tree, new);
            let proof = consistency(&mut shelf, old, new).map_err(|error| error.to_string())?;
            let submission = Submission { old, proof, note: published.note.clone() };
            match ask.ask(&submission)? {
                Answer::Stale(size) => old = size,
                Answer::Cosigned(lines) => {
                    return match self.take(log, published, &lines, watcher.verifier.name())? {
                        true => Ok(()),
                        false => Err(format!("its answer has no cosignature by {}", watcher.verifier)),
                    };
                }
            }
        }
        Err("it names one size, and then another".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    /// Both clocks ran ahead by a year and are right again: nobody counts as watching for what was cosigned then, nothing is
    /// destroyed by it, and the next cosignature takes its place.
    #[test]
    fn a_cosignature_from_the_future_is_stale_and_is_replaced() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ahead = now + jiff::SignedDuration::from_hours(24 * 365);
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let watcher = |name: &str, counts| Watcher {
            verifier: Verifier::new(name, super::super::note::Kind::Cosigner, key),
            ask: None,
            counts,
        };
        let clock = Arc::new(FixedClock::at(ahead));
        let quorum = Quorum { required: 1, within: Duration::from_secs(60) };
        let cosigners = Cosigners::new(vec![watcher("node", false), watcher("witness", true)], quorum, clock.clone());
        let is_watched = || cosigners.is_watched_by("node", Duration::ZERO) && cosigners.lack().is_none();
        let note = |time| ["node", "witness"].map(|name| cosigners.note_time(name, time, 7));
        let proven = |now| proven_time(true, Some(&cosigners), now);
        assert_eq!(note(ahead), [true; 2]);
        assert!(is_watched());
        clock.set(now);
        assert!(!cosigners.is_watched_by("node", Duration::ZERO), "nothing is released");
        assert!(cosigners.lack().is_some());
        assert_eq!(proven(now), Timestamp::UNIX_EPOCH, "nothing is destroyed");
        assert_eq!(note(now), [true; 2], "it is replaced");
        assert!(is_watched());
        assert_eq!(proven(now), now);
        assert_eq!(note(now - CLOCK_TOLERANCE), [false; 2], "and does not go back");
    }

    #[test]
    fn a_cosigners_time_never_goes_back() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let quorum = Quorum { required: 0, within: Duration::from_secs(60) };
        let cosigners = Cosigners::new(vec![], quorum, Arc::new(FixedClock::at(now)));
        let earlier = now - jiff::SignedDuration::from_secs(200);
        assert!(cosigners.note_time("node", now, 7));
        assert!(!cosigners.note_time("node", earlier, 9), "an old line changes nothing");
        assert_eq!(cosigners.last("node"), Some(now));
        assert!(cosigners.note_time("node", now, 8), "the same second is not before");
        assert!(cosigners.note_time("other", earlier, 9), "each has its own");
    }
}
