//! What a listener grants, and to whom: the budgets of one listener, and the part of them that one certificate has.
//!
//! Work is in lanes, so that what is many and large does not keep out what is rare and urgent: batches, everything else, acts
//! upon orders, sealing. Each lane has room for bodies of its own and threads of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Account, Budget, Charge};
use super::{Limits, Problem};
use crate::access::Standing;
use crate::code::Code;
use crate::register::SpkiDigest;

/// What a request takes, with a small body.
const REQUEST: usize = 4 << 10;
/// Requests under way at a listener.
const REQUESTS: usize = 8 << 10;
/// Bytes of answers under way at a listener.
const ANSWERS: usize = 128 << 20;
/// The largest batch, and what growing into it takes.
const LARGEST_BATCH: usize = super::data::MAX_BODY + (64 << 10);
/// The largest body of other work.
const LARGEST_BODY: usize = (4 << 20) + (64 << 10);

/// By which way work goes through a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Batches of identifiers.
    Batches,
    /// Whatever has no lane of its own.
    Work,
    /// Acts upon orders: revoking and suspending must not wait for what they are to stop.
    Acts,
    /// Sealing, and seeing whether it is done.
    Stops,
}

/// The budgets of a listener.
pub(super) struct Admission {
    connections: Budget,
    requests: Budget,
    answers: Budget,
    /// In the order of [`Lane`].
    lanes: [LaneBudget; 4],
    known: Mutex<HashMap<SpkiDigest, Weak<Allowance>>>,
}

struct LaneBudget {
    bytes: Budget,
    threads: Arc<Semaphore>,
    /// How many of the threads one certificate can have.
    each: usize,
}

impl LaneBudget {
    fn new(bytes: usize, largest: usize, threads: usize, each: usize) -> Self {
        Self { bytes: Budget::new(bytes, largest), threads: Arc::new(Semaphore::new(threads)), each }
    }
}

/// What one certificate has of a listener, over all its connections.
pub(super) struct Allowance {
    pub(super) connections: Account,
    pub(super) requests: Account,
    pub(super) answers: Account,
    lanes: [LaneAllowance; 4],
}

struct LaneAllowance {
    bytes: Account,
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// A thread of a lane. To be held by what runs on it: who asked may be gone before that.
pub(super) struct LaneThread {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // All threads together are fewer than tokio's pool has (512), so that none waits for what is not in a lane either.
        let lanes = [
            LaneBudget::new(limits.batches, LARGEST_BATCH, cores, cores),
            LaneBudget::new(64 << 20, LARGEST_BODY, 64, 8),
            LaneBudget::new(32 << 20, LARGEST_BODY, 16, 4),
            LaneBudget::new(1 << 20, 64 << 10, 8, 2),
        ];
        Self {
            connections: Budget::new(limits.connections, 1).guaranteeing(2),
            requests: Budget::new(REQUESTS, 1).guaranteeing(8),
            answers: Budget::new(ANSWERS, 1),
            lanes,
            known: Mutex::default(),
        }
    }

    /// What a certificate has: the same for all its connections.
    pub(super) fn allowance(&self, spki: SpkiDigest, standing: &Standing) -> Arc<Allowance> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowance) = known.get(&spki).and_then(Weak::upgrade) {
            return allowance;
        }
        known.retain(|_, allowance| allowance.strong_count() > 0);
        let allowance = Arc::new(self.new_allowance(standing));
        known.insert(spki, Arc::downgrade(&allowance));
        allowance
    }

    /// An allowance of its own, for a connection without a certificate.
    pub(super) fn new_allowance(&self, standing: &Standing) -> Allowance {
        let lane = |lane: &LaneBudget| LaneAllowance {
            bytes: lane.bytes.account(standing),
            own: Arc::new(Semaphore::new(lane.each)),
            all: Arc::clone(&lane.threads),
        };
        Allowance {
            connections: self.connections.account(standing),
            requests: self.requests.account(standing),
            answers: self.answers.account(standing),
            lanes: self.lanes.each_ref().map(lane),
        }
    }
}

impl Allowance {
    /// Lets a request into a lane; its body is charged as it arrives.
    ///
    /// # Errors
    /// [`Code::Overloaded`]: the certificate's share, its holder's, or the whole is used up.
    pub(super) fn admit(&self, lane: Lane) -> Result<Charge, Problem> {
        self.answerable(lane)?;
        self.lanes[lane as usize].bytes.charge(REQUEST).ok_or_else(overloaded)
    }

    /// A thread for what is to be worked out. First among the certificate's own requests, so that of each certificate only a
    /// few stand in the line of all.
    ///
    /// # Errors
    /// [`Code::Overloaded`], as [`Allowance::admit`].
    pub(super) async fn thread(&self, lane: Lane) -> Result<LaneThread, Problem> {
        let threads = &self.lanes[lane as usize];
        let own = Arc::clone(&threads.own).acquire_owned().await.map_err(|_| overloaded())?;
        let all = Arc::clone(&threads.all).acquire_owned().await.map_err(|_| overloaded())?;
        self.answerable(lane)?;
        Ok(LaneThread { _own: own, _all: all })
    }

    /// Whether there is room for an answer. What is answered to acts and to sealing is small, and they wait for nothing.
    fn answerable(&self, lane: Lane) -> Result<(), Problem> {
        let waits = matches!(lane, Lane::Batches | Lane::Work) && self.answers.is_spent();
        if waits { Err(overloaded()) } else { Ok(()) }
    }
}

/// The refusal of what is one too many.
pub(super) fn overloaded() -> Problem {
    Problem::new(Code::Overloaded).retry_after(1)
}
