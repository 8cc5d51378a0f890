//! The vault's way to its identity sources.
//!
//! [`IdentityLink`] is a [`UtiSource`]. A thread of its own keeps one HTTP/2 connection to each
//! source (TLS 1.3, both sides by their keys), on which several requests are under way at once.
//! Batches travel alone; single requests that wait at the same time travel together, because while
//! a few requests are under way the next ones gather.
//!
//! Before a connection is used, the source shows the check value of its secret, and one that
//! derives from another secret is never asked. An answer is used whole or not at all. A source that
//! is gone is noticed within a second, by its connection or by pings, and its parts go to the next
//! source; a part that one source refuses is put to the next one, because each has a share of every
//! quota. Where none answers, nothing was derived, and `identity-unavailable` says so.

mod body;
mod connection;
mod dispatch;
mod sources;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::access::is_identity_source;
use crate::code::Code;
use crate::config::IdentityLinkConfig;
use crate::entity::InForce;
use crate::http::tls::TlsError;
use crate::keys::{IdentityCheck, PersonKey};
use crate::refusal::Refusal;
use crate::register::Register;
use crate::utis::{EncodedPart, PendingUtis, SourceView, UtiBatch, UtiContext, UtiSource};
use crate::vault::Vault;
use dispatch::{LinkTask, PartReply, WaitingPart};
use sources::Sources;

/// How long until a source has to have accepted a connection and shown its check value.
const CONNECT: Duration = Duration::from_millis(700);
/// How long a source may take for an answer while its connection lives: its disk may be slow.
const ANSWER: Duration = Duration::from_secs(5);

/// Why the link cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A file of `[identity]`.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no thread.
    #[error("no thread for the connections to the identity sources: {0}")]
    Thread(std::io::Error),
}

/// The identity sources, as one source of UTIs.
pub struct IdentityLink {
    tasks: Option<mpsc::UnboundedSender<LinkTask>>,
    sources: Arc<Sources>,
    thread: Option<JoinHandle<()>>,
}

impl IdentityLink {
    /// Sets the link up and begins to connect. A source is believed if `register` has its key,
    /// until [`SourceWatcher::follow`] says in which registers to look.
    ///
    /// # Errors
    /// [`LinkError`]
    pub fn start(config: &IdentityLinkConfig, register: &Register) -> Result<Self, LinkError> {
        let identities = register.identities.values();
        let keys: Vec<_> = identities.map(|one| one.certificate).collect();
        let known = Arc::new(move |key| keys.contains(&key));
        let sources = Arc::new(Sources::read(config, known)?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LinkError::Thread)?;
        let (tasks, waiting) = mpsc::unbounded_channel();
        let asked = sources.clone();
        let thread = std::thread::Builder::new()
            .name("identity-link".into())
            .spawn(move || runtime.block_on(dispatch::run(asked, waiting)))
            .map_err(LinkError::Thread)?;
        Ok(Self {
            tasks: Some(tasks),
            sources,
            thread: Some(thread),
        })
    }

    /// The sources, for those who watch them.
    pub fn watcher(&self) -> SourceWatcher {
        SourceWatcher(self.sources.clone())
    }

    fn send(&self, task: LinkTask) {
        // If the thread is gone, the reply's sender is dropped, and who waits learns that.
        if let Some(tasks) = &self.tasks {
            let _ = tasks.send(task);
        }
    }
}

/// Shows how the sources are, and lets the register decide which are believed.
#[derive(Clone)]
pub struct SourceWatcher(Arc<Sources>);

impl SourceWatcher {
    /// From now on the register in force decides which sources are believed.
    pub fn follow(&self, vault: &InForce<Vault>) {
        // The vault owns the link, so the link must not keep the vault.
        let vault = vault.downgrade();
        let known = move |key| {
            let vault = vault.upgrade();
            vault.is_some_and(|vault| is_identity_source(vault.get().entity(), key))
        };
        self.0.know(Arc::new(known));
    }

    /// How each source is, in the order of the configuration.
    pub fn view(&self) -> Vec<SourceView> {
        self.0.view()
    }
}

/// Closes the connections.
impl Drop for IdentityLink {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl UtiSource for IdentityLink {
    fn derive(&self, context: UtiContext<'_>, batch: UtiBatch<'_>) -> PendingUtis {
        let (reply, receiver) = oneshot::channel();
        self.send(LinkTask::Part(WaitingPart::new(
            EncodedPart::values(context, batch),
            PartReply::Utis(reply),
        )));
        PendingUtis::on_the_way(receiver)
    }

    fn person_key(&self, sector: Uuid) -> Result<PersonKey, Refusal> {
        let (reply, receiver) = oneshot::channel();
        self.send(LinkTask::Part(WaitingPart::new(
            EncodedPart::person_key(sector),
            PartReply::PersonKey(reply),
        )));
        let key = receiver.blocking_recv().map_err(|_| unavailable())??;
        Ok(PersonKey::new(&key))
    }

    fn check(&self, known: Option<IdentityCheck>) -> Result<IdentityCheck, Refusal> {
        if let Some(known) = known {
            self.sources.expect(known);
        }
        let (reply, receiver) = oneshot::channel();
        self.send(LinkTask::Check(reply));
        receiver.blocking_recv().map_err(|_| unavailable())?
    }

    fn sources(&self) -> Option<Vec<SourceView>> {
        Some(self.sources.view())
    }
}

/// No source answers.
fn unavailable() -> Refusal {
    Refusal::new(
        Code::IdentityUnavailable,
        "nothing was derived, counted or stored",
    )
    .come_back_in(1)
}
