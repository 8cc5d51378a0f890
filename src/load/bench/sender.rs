//! The load: threads with one connection each, closed loop (the next request after the last answer)
//! or open loop (requests at a fixed rate, also while others wait for answers).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::body::Dialect;
use super::wire::{LoadConnection, LoadTarget};
use crate::terminal::CommandError;

/// How long a server that is busy or full is asked again, all requests of a connection together.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a server that is busy answers.
const BUSY: [u16; 2] = [429, 503];

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct LoadPlan {
    /// Whose form the requests have.
    pub dialect: Dialect,
    /// The first person.
    pub first: u64,
    /// Persons in each request.
    pub batch: u64,
    /// Persons in all requests together.
    pub items: u64,
    /// After this many persons the first one comes again; [`u64::MAX`]: never.
    pub cycle: u64,
    /// Connections, and threads.
    pub connections: usize,
    /// Requests a second, open loop; `None`: closed loop.
    pub rate: Option<f64>,
}

/// The results.
#[derive(Debug, Default)]
pub struct LoadResult {
    /// Persons answered.
    pub items: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Of each request, sorted. In the open loop counted from the time at which it was due, so that
    /// a server that stalls cannot hide the requests that could not be sent meanwhile.
    pub latencies: Vec<Duration>,
    /// Answers "come back later".
    pub busy: u64,
}

impl LoadResult {
    /// The latency that `percent` of the requests did not exceed, in milliseconds.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * percent / 100.0).ceil() as usize;
        let found = self
            .latencies
            .get(rank.max(1) - 1)
            .or(self.latencies.last());
        found.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl LoadPlan {
    /// Connects, calls `begin` once everyone is connected, sends everything and waits for the
    /// answers.
    ///
    /// # Errors
    /// The first failure of any connection, or of `begin`.
    pub fn run(
        &self,
        target: &LoadTarget,
        begin: impl FnOnce() -> Result<(), CommandError>,
    ) -> Result<LoadResult, CommandError> {
        self.run_until(target, begin, &AtomicBool::new(false))
    }

    /// The same, but no more is sent once `stop` is set.
    ///
    /// # Errors
    /// As [`LoadPlan::run`].
    pub fn run_until(
        &self,
        target: &LoadTarget,
        begin: impl FnOnce() -> Result<(), CommandError>,
        stop: &AtomicBool,
    ) -> Result<LoadResult, CommandError> {
        let (ready, go) = (
            Barrier::new(self.connections + 1),
            Barrier::new(self.connections + 1),
        );
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let started = Mutex::new(Instant::now());
        let worker = || {
            let connection = target.connect();
            ready.wait();
            go.wait();
            let started = *started.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = connection.and_then(|connection| {
                let stop = || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
                LoadWorker {
                    load: self,
                    connection,
                    started,
                    sent: LoadResult::default(),
                }
                .work(&next, stop)
            });
            sent.inspect_err(|_| failed.store(true, Ordering::Relaxed))
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.connections).map(|_| scope.spawn(worker)).collect();
            ready.wait();
            let begun = begin();
            failed.store(begun.is_err(), Ordering::Relaxed);
            *started.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            go.wait();
            let results: Vec<_> = workers
                .into_iter()
                .map(|worker| worker.join().expect("no worker panics"))
                .collect();
            begun?;
            let mut all = LoadResult::default();
            for result in results {
                let sent = result.map_err(|error| {
                    CommandError::new(
                        format_args!("the load failed: {error}"),
                        "see the server's log, and check that it is up and ready",
                    )
                })?;
                all.items += sent.items;
                all.elapsed = all.elapsed.max(sent.elapsed);
                all.busy += sent.busy;
                all.latencies.extend(sent.latencies);
            }
            all.latencies.sort_unstable();
            Ok(all)
        })
    }
}

struct LoadWorker<'a> {
    load: &'a LoadPlan,
    connection: LoadConnection<'a>,
    started: Instant,
    sent: LoadResult,
}

impl LoadWorker<'_> {
    fn work(mut self, next: &AtomicU64, stop: impl Fn() -> bool) -> io::Result<LoadResult> {
        let (mut body, mut reply) = (Vec::new(), Vec::new());
        let batches = self.load.items.div_ceil(self.load.batch);
        while !stop() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                break;
            }
            let from = number * self.load.batch;
            let to = (from + self.load.batch).min(self.load.items);
            let persons = (from..to).map(|n| self.load.first + n % self.load.cycle);
            self.load.dialect.write(persons, &mut body);
            let due = self
                .load
                .rate
                .map(|rate| self.started + Duration::from_secs_f64(number as f64 / rate));
            if let Some(pause) = due.and_then(|due| due.checked_duration_since(Instant::now())) {
                thread::sleep(pause);
            }
            let begun = due.unwrap_or_else(Instant::now);
            self.post(&body, (to - from) as usize, &mut reply)?;
            self.sent.latencies.push(begun.elapsed());
            self.sent.items += to - from;
            self.sent.elapsed = self.started.elapsed();
        }
        Ok(self.sent)
    }

    fn post(&mut self, body: &[u8], items: usize, reply: &mut Vec<u8>) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.connection.post(body, reply)?;
            if status == 200 && self.load.dialect.is_complete(reply, items) {
                return Ok(());
            }
            if !BUSY.contains(&status) || Instant::now() > deadline {
                // Refusals never repeat an identifier, so their text can be shown.
                let text = if status == 200 {
                    "".into()
                } else {
                    String::from_utf8_lossy(reply)
                };
                let text: String = text.chars().take(400).collect();
                return Err(io::Error::other(format!(
                    "an answer that is not 200 and complete: {status} {text}"
                )));
            }
            self.sent.busy += 1;
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sent = LoadResult {
            latencies: (1..=200).map(Duration::from_millis).collect(),
            ..LoadResult::default()
        };
        assert_eq!(sent.percentile_ms(50.0), 100.0);
        assert_eq!(sent.percentile_ms(99.0), 198.0);
        assert_eq!(sent.percentile_ms(100.0), 200.0);
        assert_eq!(LoadResult::default().percentile_ms(99.0), 0.0);
    }
}
