//! Where UTIs come from: the seam behind which the identity secret lies, in this process or at an
//! identity source under an administrator of its own.

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::clock::give_way;
use crate::code::Code;
use crate::id::Id;
use crate::keys::{IdentityCheck, IdentityKeys, PersonKey, Uti};
use crate::refusal::Refusal;

/// The embedded source offers to let others run after this many identifiers, about every twentieth
/// of a millisecond.
const STRIDE: usize = 512;

/// For what UTIs are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UtiKind {
    /// A client's batch.
    Tokenize,
    /// A migration of a sector's mappings into its next epoch.
    Migrate,
    /// Mappings that are sealed anew.
    Reseal,
    /// A person's rights.
    Rights,
    /// Links between identifiers of one person.
    Link,
}

/// Who needs UTIs, where, and for what. The identity source checks it against its own register.
#[derive(Debug, Clone, Copy)]
pub struct UtiContext<'a> {
    /// For what.
    pub kind: UtiKind,
    /// The sector's UUID.
    pub sector: Uuid,
    /// For whom the vault works: the client of a batch, the authority of a migration's order, the
    /// officer of any other kind.
    pub by: &'a Id,
}

/// Canonical values of one scheme, from which to derive UTIs: one arena, and where each value ends
/// in it.
#[derive(Debug, Clone, Copy)]
pub struct UtiBatch<'a> {
    /// The scheme's id.
    pub scheme: &'a str,
    /// The canonical values, one after the other.
    pub values: &'a [u8],
    /// End of each value in `values`.
    pub ends: &'a [u32],
}

impl<'a> UtiBatch<'a> {
    /// The values, in order.
    pub fn each(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        values_of(self.values, 0, self.ends)
    }
}

/// The values that end at `ends`, of which the first begins at `start`.
fn values_of<'a>(
    arena: &'a [u8],
    start: usize,
    ends: &'a [u32],
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    ends.iter().scan(start, move |start, end| {
        let value = &arena[*start..*end as usize];
        *start = *end as usize;
        Some(value)
    })
}

/// UTIs that are there, or on their way from an identity source.
pub struct PendingUtis(UtiArrival);

enum UtiArrival {
    Here(Vec<Uti>),
    OnTheWay(oneshot::Receiver<Result<Vec<Uti>, Refusal>>),
}

impl PendingUtis {
    /// UTIs that an identity source sends for. If the sender is dropped, the source counts as gone.
    pub fn on_the_way(receiver: oneshot::Receiver<Result<Vec<Uti>, Refusal>>) -> Self {
        Self(UtiArrival::OnTheWay(receiver))
    }

    /// The UTIs of a batch's values, in order. Blocks the thread until they have come.
    ///
    /// # Errors
    /// Why there are none: [`Code::IdentityUnavailable`], [`Code::QuotaExceeded`]. A source in this
    /// process never refuses.
    pub fn wait(self) -> Result<Vec<Uti>, Refusal> {
        match self.0 {
            UtiArrival::Here(utis) => Ok(utis),
            UtiArrival::OnTheWay(receiver) => receiver.blocking_recv().unwrap_or_else(|_| gone()),
        }
    }

    /// The same, without blocking the thread.
    ///
    /// # Errors
    /// As [`PendingUtis::wait`].
    pub async fn arrived(self) -> Result<Vec<Uti>, Refusal> {
        match self.0 {
            UtiArrival::Here(utis) => Ok(utis),
            UtiArrival::OnTheWay(receiver) => receiver.await.unwrap_or_else(|_| gone()),
        }
    }
}

/// UTIs that are there.
impl From<Vec<Uti>> for PendingUtis {
    fn from(utis: Vec<Uti>) -> Self {
        Self(UtiArrival::Here(utis))
    }
}

fn gone<T>() -> Result<T, Refusal> {
    Err(Refusal::from(Code::IdentityUnavailable).come_back_in(1))
}

/// Where UTIs come from: the identity secret in this process, or an identity source under another
/// administrator.
pub trait UtiSource: Send + Sync {
    /// Derives the UTI of each value of the batch, or sends for them. The batch has a value.
    fn derive(&self, context: UtiContext<'_>, batch: UtiBatch<'_>) -> PendingUtis;

    /// The person-handle key of a sector. Blocks while it is sent for.
    ///
    /// # Errors
    /// As [`PendingUtis::wait`].
    fn person_key(&self, sector: Uuid) -> Result<PersonKey, Refusal>;

    /// The check value of the identity secret. Blocks while it is sent for. `known` is the one that
    /// the store holds: from then on no source is used whose secret has another one. Without
    /// `known`, no source is used that has another one than is returned.
    ///
    /// # Errors
    /// As [`PendingUtis::wait`].
    fn check(&self, known: Option<IdentityCheck>) -> Result<IdentityCheck, Refusal>;

    /// How the identity sources are that have the secret, in the order in which they are asked;
    /// `None` where it is in this process.
    fn sources(&self) -> Option<Vec<SourceView>> {
        None
    }
}

/// How an identity source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceView {
    /// Its URL, as configured.
    pub url: String,
    /// Why it is of no use; `None` while it answers.
    pub fault: Option<String>,
}

/// The embedded form never refuses and needs to know nothing of who asks.
impl UtiSource for IdentityKeys {
    fn derive(&self, _: UtiContext<'_>, batch: UtiBatch<'_>) -> PendingUtis {
        let mut utis = Vec::with_capacity(batch.ends.len());
        let mut start = 0;
        for ends in batch.ends.chunks(STRIDE) {
            self.append_utis(
                batch.scheme,
                values_of(batch.values, start, ends),
                &mut utis,
            );
            start = ends.last().map_or(start, |end| *end as usize);
            if ends.len() == STRIDE {
                give_way();
            }
        }
        utis.into()
    }

    fn person_key(&self, sector: Uuid) -> Result<PersonKey, Refusal> {
        Ok(PersonKey::new(&self.person_key_of(sector)))
    }

    fn check(&self, _: Option<IdentityCheck>) -> Result<IdentityCheck, Refusal> {
        Ok(self.check_value())
    }
}
