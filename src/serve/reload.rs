//! What a running server reads again: its TLS files as soon as they change, and at SIGHUP
//! everything that can be read again.
//!
//! Connections that stand are not touched. Files that cannot be used change nothing: what was read
//! before stays in use, and the log says so once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::certificates::TlsInspection;
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::config::PairUse;
use crate::http::Readiness;
use crate::http::tls::ServerTls;
use crate::metrics::{Gauge, Registry};

/// How often the files are looked at. A change is read at the second look that finds it, so that
/// the other file of a pair has the time between to follow.
const LOOK: Duration = Duration::from_millis(500);
/// How many looks there are between two inspections, which tell how many days are left.
const INSPECT: u64 = 120;

/// What is done at SIGHUP beside reading the TLS files.
pub(super) type AtHangup = Box<dyn Fn() + Send>;

/// A part of the server that shows a certificate.
pub(super) enum TlsUser {
    /// The listeners.
    Listeners(ServerTls),
    /// A client of another server.
    Caller(Client),
}

impl TlsUser {
    /// The files that it was set up from.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Listeners(tls) => vec![tls.files().certificate.clone(), tls.files().key.clone()],
            Self::Caller(client) => {
                let config = client.config();
                let pins = config.server.iter().chain(&config.ca);
                pins.chain([&config.certificate, &config.key])
                    .cloned()
                    .collect()
            }
        }
    }

    /// Sets it up from its files as they are now; says what is wrong with them. The log names the
    /// keys that are shown and believed from now on, so that nobody exchanges them unseen.
    fn reload(&self) -> Result<(), String> {
        match self {
            Self::Listeners(tls) => {
                if let Some(key) = tls.reload().map_err(|error| error.to_string())? {
                    tracing::warn!(?key, "the listeners show another certificate");
                }
            }
            Self::Caller(client) => {
                let server = client.base();
                if let Some(keys) = client.reload().map_err(|error| error.to_string())? {
                    tracing::warn!(%server, ?keys, "other keys of the server are believed");
                }
            }
        }
        Ok(())
    }
}

/// What tells a file from what it was: device, inode, length, and when it was changed (seconds,
/// nanoseconds). None for a file that is not there.
type FileState = Option<(u64, u64, u64, i64, i64)>;

/// Keeps what a server shows and says of its TLS files up to date.
pub(super) struct TlsKeeper {
    users: Vec<TlsUser>,
    inspect: Box<dyn Fn() -> TlsInspection + Send>,
    readiness: Arc<Readiness>,
    gauges: BTreeMap<&'static str, Arc<Gauge>>,
    hangup: Signal,
    /// The files as they were when they were read.
    read: Vec<FileState>,
    /// The files as they were at the last look.
    seen: Vec<FileState>,
    /// What the last inspection said.
    said: BTreeSet<String>,
}

impl TlsKeeper {
    /// Keeps `users` up to date; `inspect` inspects all TLS files of the configuration. Logs at
    /// once what is to be said of them.
    ///
    /// # Errors
    /// The operating system does not let the process listen for SIGHUP.
    pub(super) fn new(
        users: Vec<TlsUser>,
        inspect: impl Fn() -> TlsInspection + Send + 'static,
        readiness: Arc<Readiness>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut keeper = Self {
            read: vec![],
            seen: vec![],
            users,
            inspect: Box::new(inspect),
            readiness,
            gauges: BTreeMap::new(),
            hangup: signal(SignalKind::hangup())?,
            said: BTreeSet::new(),
        };
        // They were read at the start, and may have changed since.
        keeper.reload();
        keeper.show(registry);
        keeper.seen.clone_from(&keeper.read);
        Ok(keeper)
    }

    /// Runs until the task is aborted. At SIGHUP it reads the TLS files, and then does `at_hangup`,
    /// one after the other, on a thread that may wait.
    pub(super) async fn keep(mut self, registry: Arc<Registry>, at_hangup: Vec<AtHangup>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 1_u64.. {
            tokio::select! {
                Some(()) = self.hangup.recv() => tokio::task::block_in_place(|| {
                    tracing::info!("SIGHUP: reading again what can be read again");
                    self.read_again(&registry);
                    at_hangup.iter().for_each(|again| again());
                }),
                _ = looks.tick() => tokio::task::block_in_place(|| {
                    if self.has_changed() {
                        self.read_again(&registry);
                    } else if look.is_multiple_of(INSPECT) {
                        self.show(&registry);
                    }
                }),
            }
        }
    }

    /// Whether the files are others than those that were read, and have been so since the last
    /// look.
    fn has_changed(&mut self) -> bool {
        let now = states(&self.users);
        let is_settled = now == self.seen;
        self.seen = now;
        is_settled && self.seen != self.read
    }

    fn read_again(&mut self, registry: &Registry) {
        if self.reload() {
            tracing::info!("the TLS files were read again");
        }
        self.show(registry);
    }

    /// Returns whether all of them could be used.
    fn reload(&mut self) -> bool {
        // Taken before the files are read: what changes meanwhile is a change.
        self.read = states(&self.users);
        let faults: BTreeSet<String> = self
            .users
            .iter()
            .filter_map(|user| user.reload().err())
            .collect();
        let all_good = faults.is_empty();
        for fault in faults {
            tracing::warn!(
                fault,
                "the TLS files cannot be used; those that were read before stay in use"
            );
        }
        all_good
    }

    /// Inspects the files: shows on `/readyz` (as a notice) and in the log what is to be said of
    /// them, and on `/metrics` when they end. The log says each sentence once.
    fn show(&mut self, registry: &Registry) {
        let inspection = (self.inspect)();
        let now = SystemClock.now();
        for pair in &inspection.pairs {
            let Some(expires) = pair.expires() else {
                continue;
            };
            let label = match pair.shown {
                PairUse::Server => "server",
                PairUse::Client => "client",
                PairUse::Peer => "peer",
            };
            let gauge = self.gauges.entry(label).or_insert_with(|| {
                registry.gauge(
                    "cloison_certificate_expires_seconds",
                    "Seconds until the certificate or its key's entry in the register ends; negative once it has",
                    Some(("shown", label)),
                )
            });
            gauge.set(expires.duration_since(now).as_secs());
        }
        let sentences: BTreeSet<String> = inspection.sentences().cloned().collect();
        for sentence in sentences.difference(&self.said) {
            tracing::warn!("{sentence}");
        }
        let notice = sentences.iter().cloned().collect::<Vec<_>>().join("; ");
        let notice = (!notice.is_empty()).then_some(notice);
        self.readiness.notice("certificate", notice);
        self.said = sentences;
    }
}

fn states(users: &[TlsUser]) -> Vec<FileState> {
    let files = users.iter().flat_map(TlsUser::files);
    files
        .map(|file| {
            let facts = fs::metadata(file).ok()?;
            Some((
                facts.dev(),
                facts.ino(),
                facts.size(),
                facts.mtime(),
                facts.mtime_nsec(),
            ))
        })
        .collect()
}
