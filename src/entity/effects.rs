//! Puts acts in force that waited for places, without another call.
//!
//! A call that grants something waits a few seconds for places and then puts the act in force
//! itself ([`Entity::wait_for_grant`]). Where they do not come in time, the act stays with the part
//! of the side that it concerns ([`WaitingActs`]), and one thread of the side puts it in force as
//! soon as enough places hold its entry. It ends with the side's offers: a side that stops puts
//! nothing in force.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Entity, EntityInForce};
use crate::audit::log::HeldByPlaces;
use crate::journal::prune::LogPlace;
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// How long to wait after an act could not be put in force that places hold.
const AGAIN: Duration = Duration::from_secs(1);

/// A part of a side in which acts wait for places.
pub(crate) trait WaitingActs: Send + Sync {
    /// Where the entry stands of the first act that waits; `None` while none does, or while a call
    /// waits for it.
    fn awaited(&self) -> Option<LogPlace>;

    /// Puts in force what waits and enough places hold.
    fn put_in_force(&self);
}

/// Tells the thread that an act waits, or that the side ends.
#[derive(Default)]
pub(super) struct ActSignal {
    state: Mutex<SignalState>,
    news: Condvar,
}

#[derive(Default)]
struct SignalState {
    waits: bool,
    has_ended: bool,
}

impl ActSignal {
    fn change(&self, change: impl FnOnce(&mut SignalState)) {
        let mut state = unpoisoned(self.state.lock());
        change(&mut state);
        drop(state);
        self.news.notify_all();
    }

    /// Waits until an act waits, or for so long. Returns whether the side goes on.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let mut state = unpoisoned(self.state.lock());
        let is_quiet = |state: &mut SignalState| !state.waits && !state.has_ended;
        state = match patience {
            Some(patience) => {
                let woken = self.news.wait_timeout_while(state, patience, is_quiet);
                unpoisoned(woken).0
            }
            None => unpoisoned(self.news.wait_while(state, is_quiet)),
        };
        state.waits = false;
        !state.has_ended
    }
}

impl Entity {
    /// Says that an act waits for places and that no call waits for it any more.
    pub(crate) fn leave_to_places(&self) {
        self.core.acts.change(|state| state.waits = true);
    }

    /// The proof that enough places hold an entry, where they do. The store knows it then, so that
    /// a restart leaves in force what the entry grants.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`](crate::code::Code::AuditUnavailable)
    pub(crate) fn held_now(&self, entry: LogPlace) -> Result<Option<HeldByPlaces>, Refusal> {
        let held = self.log().holds(entry);
        if held.is_some() {
            self.store_held()?;
        }
        Ok(held)
    }
}

/// The thread that puts acts in force. It ends when this is dropped.
pub(crate) struct ActsThread {
    entity: EntityInForce,
    thread: Option<JoinHandle<()>>,
}

impl ActsThread {
    /// Starts it for the parts of a side, in the order in which their acts come into force.
    ///
    /// # Errors
    /// When the operating system starts no thread.
    pub(crate) fn start(
        entity: EntityInForce,
        parts: Vec<Arc<dyn WaitingActs>>,
    ) -> io::Result<Self> {
        let side = entity.get();
        let thread = std::thread::Builder::new().name("acts".into());
        let thread = thread.spawn(move || run(&side, &parts))?;
        Ok(Self {
            entity,
            thread: Some(thread),
        })
    }
}

impl Drop for ActsThread {
    fn drop(&mut self) {
        let side = self.entity.get();
        side.core.acts.change(|state| state.has_ended = true);
        side.log().end_offers();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The log and the signal are the same under every register.
fn run(side: &Entity, parts: &[Arc<dyn WaitingActs>]) {
    let mut tried = None;
    loop {
        let first = parts.iter().filter_map(|part| part.awaited()).min();
        let goes_on = match first {
            None => side.core.acts.wait(None),
            Some(_) if first == tried => {
                tried = None;
                side.core.acts.wait(Some(AGAIN))
            }
            Some(entry) => {
                let is_held = side.log().until_held(entry).is_some();
                if is_held {
                    parts.iter().for_each(|part| part.put_in_force());
                }
                tried = first;
                is_held
            }
        };
        if !goes_on {
            return;
        }
    }
}
