//! The sources: which of them answer, and in which order they are asked.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::Mutex as AsyncMutex;

use super::connection::{LinkFault, ReceivedAnswer, SourceAddress, SourceConnection};
use crate::client::pins::tls_config;
use crate::config::{ClientConfig, IdentityLinkConfig};
use crate::http::tls::{Identity, TlsError};
use crate::keys::IdentityCheck;
use crate::register::SpkiDigest;
use crate::system::lock::unpoisoned;
use crate::utis::SourceView;

/// How long a source that could not be reached is left alone by those who wait for UTIs.
const REST: Duration = Duration::from_millis(500);

/// A connection that was closed breaks before this has passed; one that fell silent later.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Whether the register in force has a key as an identity source's.
pub(super) type KnownKeys = Arc<dyn Fn(SpkiDigest) -> bool + Send + Sync>;

/// All sources of a vault.
pub(super) struct Sources {
    all: Vec<LinkedSource>,
    /// A source is believed while the register has its key. That the configuration pins it is not
    /// enough: the register may have taken it out, or suspended it.
    known: Mutex<KnownKeys>,
    /// The check value of the secret that the vault's pseudonyms derive from.
    expected: OnceLock<IdentityCheck>,
}

/// One source.
struct LinkedSource {
    address: SourceAddress,
    /// The connection, if there is one. The lock is held while another is made, so that many who
    /// wait make one.
    connection: AsyncMutex<Option<SourceConnection>>,
    state: Mutex<SourceState>,
}

struct SourceState {
    fault: Option<LinkFault>,
    /// Until when nobody who waits tries to connect.
    rests_until: Option<Instant>,
}

impl Sources {
    /// Reads certificate, key and pins.
    pub(super) fn read(config: &IdentityLinkConfig, known: KnownKeys) -> Result<Self, TlsError> {
        let source = |url: &String| {
            let files = ClientConfig {
                url: url.clone(),
                server: config.server.clone(),
                ca: None,
                certificate: config.certificate.clone(),
                key: config.key.clone(),
            };
            let identity = Identity::read(&files.certificate, &files.key)?;
            let (mut tls, _) = tls_config(&files, identity)?;
            tls.alpn_protocols = vec![b"h2".to_vec()];
            Ok(LinkedSource {
                address: SourceAddress {
                    url: url.clone(),
                    tls: Arc::new(tls),
                },
                connection: AsyncMutex::default(),
                state: Mutex::new(SourceState {
                    fault: Some(LinkFault::Connect("not tried yet".to_owned())),
                    rests_until: None,
                }),
            })
        };
        Ok(Self {
            all: config
                .urls
                .iter()
                .map(source)
                .collect::<Result<_, TlsError>>()?,
            known: Mutex::new(known),
            expected: OnceLock::new(),
        })
    }

    /// Binds the sources to a secret, by its check value; the first call counts.
    pub(super) fn expect(&self, check: IdentityCheck) {
        let _ = self.expected.set(check);
    }

    /// Asks another register from now on.
    pub(super) fn know(&self, known: KnownKeys) {
        *unpoisoned(self.known.lock()) = known;
    }

    fn knows(&self, connection: &SourceConnection) -> bool {
        let known = unpoisoned(self.known.lock()).clone();
        known(connection.key())
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn view(&self) -> Vec<SourceView> {
        let view = |source: &LinkedSource| SourceView {
            url: source.address.url.clone(),
            fault: unpoisoned(source.state.lock())
                .fault
                .as_ref()
                .map(ToString::to_string),
        };
        self.all.iter().map(view).collect()
    }

    /// The places of the sources in the order in which to ask them: those that answer first.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|place| self.all[*place].has_fault());
        order
    }

    /// Whether the check value of the secret is known.
    pub(super) fn is_bound(&self) -> bool {
        self.expected.get().is_some()
    }

    /// The check value that a source shows, whichever secret it has; else which source is of no
    /// use, and why.
    pub(super) async fn shown(&self, place: usize) -> Result<IdentityCheck, String> {
        let address = &self.all[place].address;
        let shown = match SourceConnection::open(address).await {
            Ok((connection, check)) if self.knows(&connection) => Ok(check),
            Ok(_) => Err(LinkFault::NotInRegister),
            Err(fault) => Err(fault),
        };
        shown.map_err(|fault| format!("{}: {fault}", address.url))
    }

    /// Asks one source. A kept connection may have been closed meanwhile, by a restart or because
    /// of its age, so one that breaks at once is replaced once. One that fell silent is not: the
    /// next source is asked instead.
    pub(super) async fn ask(
        &self,
        place: usize,
        pieces: &[Bytes],
        answers: &[usize],
    ) -> Result<ReceivedAnswer, LinkFault> {
        let source = &self.all[place];
        let began = Instant::now();
        let result = match self.kept(source).await {
            Some(connection) => match connection.ask(pieces.to_vec(), answers.to_vec()).await {
                Err(LinkFault::Broken(_)) if began.elapsed() < AT_ONCE => {
                    self.ask_anew(source, pieces, answers).await
                }
                result => result,
            },
            None => self.ask_anew(source, pieces, answers).await,
        };
        // An answer is whole, or the source is of no use.
        let result = result.and_then(|answer| answer.parts().map(drop).map(|()| answer));
        source.note(result.as_ref().err());
        result
    }

    async fn kept(&self, source: &LinkedSource) -> Option<SourceConnection> {
        let kept = source.connection.lock().await;
        kept.clone().filter(|connection| self.is_of_use(connection))
    }

    fn is_of_use(&self, connection: &SourceConnection) -> bool {
        connection.lives() && self.knows(connection)
    }

    async fn ask_anew(
        &self,
        source: &LinkedSource,
        pieces: &[Bytes],
        answers: &[usize],
    ) -> Result<ReceivedAnswer, LinkFault> {
        if let Some(fault) = source.rests() {
            return Err(fault);
        }
        let connection = self.connected(source).await?;
        connection.ask(pieces.to_vec(), answers.to_vec()).await
    }

    /// A live connection of a source that has the right secret.
    async fn connected(&self, source: &LinkedSource) -> Result<SourceConnection, LinkFault> {
        let mut kept = source.connection.lock().await;
        if let Some(connection) = kept.clone().filter(|one| self.is_of_use(one)) {
            return Ok(connection);
        }
        *kept = None;
        let opened = SourceConnection::open(&source.address).await;
        let opened = opened.and_then(|(connection, check)| {
            if !self.knows(&connection) {
                return Err(LinkFault::NotInRegister);
            }
            // Without a check value from before, the link is not in use yet.
            let is_same = self.expected.get().is_some_and(|known| *known == check);
            is_same.then_some(connection).ok_or(LinkFault::OtherSecret)
        });
        source.note(opened.as_ref().err());
        *kept = opened.as_ref().ok().cloned();
        opened
    }

    /// Connects to a source that has no connection, and probes one that was of no use when it was
    /// last asked. Called again and again, so that a source which has come back is known, and one
    /// that is needed is at hand.
    pub(super) async fn look(&self, place: usize) {
        if self.expected.get().is_none() {
            return;
        }
        let source = &self.all[place];
        match self.kept(source).await {
            None => drop(self.connected(source).await),
            Some(connection) if source.has_fault() => {
                source.note(connection.probe().await.err().as_ref());
            }
            Some(_) => {}
        }
    }
}

impl LinkedSource {
    fn has_fault(&self) -> bool {
        unpoisoned(self.state.lock()).fault.is_some()
    }

    /// Why it is not tried now, if it rests.
    fn rests(&self) -> Option<LinkFault> {
        let state = unpoisoned(self.state.lock());
        let rests = state
            .rests_until
            .is_some_and(|until| Instant::now() < until);
        state.fault.clone().filter(|_| rests)
    }

    /// Notes how it is, and says so in the log where that changed.
    fn note(&self, fault: Option<&LinkFault>) {
        let mut state = unpoisoned(self.state.lock());
        let url = &self.address.url;
        match (state.fault.is_some(), fault) {
            (true, None) => tracing::info!(url, "the identity source answers"),
            (false, Some(fault)) => tracing::warn!(url, %fault, "the identity source is of no use"),
            _ => {}
        }
        state.fault = fault.cloned();
        state.rests_until = fault.map(|_| Instant::now() + REST);
    }
}
