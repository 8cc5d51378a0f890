//! Who comes in at a listener: asked within the handshake, once the other side has proved that it
//! holds its key, and again for each request.

use std::sync::Arc;

use super::answer::refusal_job;
use super::counts::{ListenerCounts, OncePerSecond};
use super::tls::ServerTls;
use crate::access::{self, CallerStanding, KeyRefusal};
use crate::entity::EntityInForce;
use crate::register::SpkiDigest;

/// Decides about a key: the standing of its holder, or why it is not admitted. Asked anew each
/// time.
pub type KeyCheck = Arc<dyn Fn(SpkiDigest) -> Result<CallerStanding, KeyRefusal> + Send + Sync>;

/// The callers that a listener admits.
#[derive(Clone)]
pub enum Callers {
    /// Anybody, without TLS and so without a [`super::Peer`]: for the health listener only.
    Anybody,
    /// Callers whose key this check admits.
    Known(ServerTls, KeyCheck),
    /// Callers whose key the register of an entity admits. The entity's log has entries about those
    /// who are refused, and about browsers.
    Registered(ServerTls, EntityInForce),
}

/// The gate of one listener.
pub(super) struct Gate {
    listener: &'static str,
    check: KeyCheck,
    /// Its log takes refusals.
    entity: Option<EntityInForce>,
    counts: Arc<ListenerCounts>,
    /// For each kind of [`KeyRefusal`], so that strangers, who can come as often as they like, hide
    /// nobody whom the register names.
    refusals: [OncePerSecond; 3],
}

impl Gate {
    /// A gate that asks `check`; refusals go to the log of `entity`.
    pub(super) fn new(
        listener: &'static str,
        check: KeyCheck,
        entity: Option<EntityInForce>,
        counts: Arc<ListenerCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            listener,
            check,
            entity,
            counts,
            refusals: std::array::from_fn(|_| OncePerSecond::new()),
        })
    }

    /// The check of an entity's listeners: its register's in force, at its time.
    pub(super) fn of_register(entity: &EntityInForce) -> KeyCheck {
        let entity = entity.clone();
        Arc::new(move |key| {
            let entity = entity.get();
            access::admitted(&entity, key)
        })
    }

    /// The standing of a key's holder.
    ///
    /// # Errors
    /// [`KeyRefusal`]
    pub(super) fn standing(&self, key: SpkiDigest) -> Result<CallerStanding, KeyRefusal> {
        (self.check)(key)
    }

    /// As [`Gate::standing`], within a handshake: a refusal is counted and logged.
    pub(super) fn admit(&self, key: SpkiDigest) -> Result<(), KeyRefusal> {
        let refused = match self.standing(key) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        self.note(key, refused);
        Err(refused)
    }

    /// Counts and logs a refusal. Anybody can cause any number of them, so the log of the process
    /// mentions one of a kind a second, with a count, and the audit log has at most one entry a
    /// second for refusals of one actor and code.
    fn note(&self, key: SpkiDigest, refused: KeyRefusal) {
        self.counts.strangers.one();
        let actor = self
            .entity
            .as_ref()
            .map_or(access::UNKNOWN.to_owned(), |entity| {
                access::actor(entity.get().register(), key)
            });
        let kind = match refused {
            KeyRefusal::Stranger => 0,
            KeyRefusal::Suspended => 1,
            KeyRefusal::Ended(_) => 2,
        };
        if let Some(count) = self.refusals[kind].count() {
            let listener = self.listener;
            match refused {
                KeyRefusal::Stranger => tracing::warn!(
                    listener,
                    count,
                    ?key,
                    "refused a handshake: the register has no entry with this key"
                ),
                KeyRefusal::Suspended => tracing::warn!(
                    listener,
                    count,
                    ?key,
                    actor,
                    "refused a handshake: the register's entry for this key is suspended"
                ),
                KeyRefusal::Ended(day) => tracing::warn!(
                    listener,
                    count,
                    ?key,
                    actor,
                    %day,
                    "refused a handshake: the register's entry for this key has ended"
                ),
            }
        }
        if let Some(entity) = &self.entity {
            // The other side gets its alert in any case. If nothing can be logged, nothing was done
            // for it either.
            let job = refusal_job(&entity.get(), actor, "connect", refused.code());
            let _ = entity.get().committer().submit(job);
        }
    }
}
