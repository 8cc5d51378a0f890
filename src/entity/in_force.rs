//! What a side serves by, swapped whole when the register changes.
//!
//! Everything that depends on the register hangs on one value: the entity with its register, and at
//! the vault sectors and quotas, at a node its authority. A request takes the value once, at its
//! beginning, and keeps it to its end, so it never sees two registers. A change makes the next
//! value beside the present one and puts it in its place in one step.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock, Weak};

use super::Entity;
use crate::audit::log::HeldByPlaces;
use crate::system::lock::unpoisoned;

/// The value in force: a vault or a node under its register. Clones share it.
pub struct InForce<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> InForce<T> {
    /// Puts the first value in force.
    pub fn new(first: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(first))))
    }

    /// The value in force now. Take it once for a request, or for a round of a task.
    pub fn get(&self) -> Arc<T> {
        unpoisoned(self.0.read()).clone()
    }
}

impl<T> InForce<T> {
    /// The same for a thread that must not keep the value alive.
    pub(crate) fn downgrade(&self) -> WeakInForce<T> {
        WeakInForce(Arc::downgrade(&self.0))
    }
}

/// An [`InForce`] that does not keep its value alive.
pub(crate) struct WeakInForce<T>(Weak<RwLock<Arc<T>>>);

impl<T> WeakInForce<T> {
    /// The value in force, while somebody else keeps it alive.
    pub(crate) fn upgrade(&self) -> Option<InForce<T>> {
        self.0.upgrade().map(InForce)
    }
}

impl<T: AsRef<Arc<Entity>> + Send + Sync + 'static> InForce<T> {
    /// Puts another value in force, whose register enough places hold. Requests under way keep the
    /// one before.
    pub(crate) fn swap(&self, next: T, _register: &HeldByPlaces) {
        let next = Arc::new(next);
        let mut slot = unpoisoned(self.0.write());
        let entity: &Arc<Entity> = (*next).as_ref();
        entity.core.changes.store(entity.change, Ordering::Release);
        let before = std::mem::replace(&mut *slot, next);
        drop(slot);
        // What nobody uses any more is freed outside the lock.
        drop(before);
    }

    /// The same for those who need only the entity.
    pub fn entity(&self) -> EntityInForce {
        let value = self.clone();
        EntityInForce(Arc::new(move || (*value.get()).as_ref().clone()))
    }
}

/// The entity in force, of a vault or of a node. Clones share it.
#[derive(Clone)]
pub struct EntityInForce(Arc<dyn Fn() -> Arc<Entity> + Send + Sync>);

impl EntityInForce {
    /// The entity in force now; see [`InForce::get`].
    pub fn get(&self) -> Arc<Entity> {
        (self.0)()
    }
}
