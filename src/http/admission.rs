//! Admits requests: holds the budgets of one listener, and the share of them that one certificate
//! has.
//!
//! Requests go in five lanes, so that many large ones do not keep out rare and urgent ones:
//! batches, everything else, acts upon orders, sealing, others' logs. Each lane has its own
//! threads, and its own memory for bodies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Account, Budget, ByHolder, Charge, HOLDER};
use super::limits::{Limits, MAX_BATCH, MOST_OFFER};
use super::problem::Problem;
use crate::access::{AccountHolder, CallerStanding};
use crate::code::Code;
use crate::register::SpkiDigest;

/// The charge for a request with a small body.
const REQUEST: usize = 4 << 10;
/// Requests under way at a listener.
const REQUESTS: usize = 8 << 10;
/// Bytes of answers under way at a listener.
const ANSWERS: usize = 128 << 20;
/// The largest batch, and the memory that growing into it takes.
const LARGEST_BATCH: usize = MAX_BATCH + (64 << 10);
/// The largest body of other work.
const LARGEST_BODY: usize = (4 << 20) + (64 << 10);

/// The largest offer of another's log, and the memory that growing into it takes.
const LARGEST_OFFER: usize = MOST_OFFER + (64 << 10);

/// The lane in which a request goes through a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Batches of identifiers.
    Batches,
    /// Everything that has no lane of its own.
    Work,
    /// Acts upon orders: revoking and suspending must not wait for the work that they stop.
    Acts,
    /// Sealing, and asking whether the node is sealed.
    Stops,
    /// Others' logs, as their owners bring them: what one commit there changed is never cut.
    Offers,
}

/// The budgets of a listener.
pub(super) struct Admission {
    connections: Budget,
    requests: Budget,
    answers: Budget,
    /// In the order of [`Lane`].
    lanes: [LaneBudget; 5],
    known: Mutex<HashMap<(SpkiDigest, AccountHolder), Arc<Allowance>>>,
}

struct LaneBudget {
    bytes: Budget,
    threads: Arc<Semaphore>,
    /// How many of the threads there are.
    number: usize,
    /// How many of them one certificate can have.
    each: usize,
    /// The threads that all certificates of one holder can have: a quarter, and at least as many as
    /// two certificates, so that a stolen certificate does not keep out the holder's others.
    holders: ByHolder<Semaphore>,
}

impl LaneBudget {
    fn new(bytes: usize, largest: usize, threads: usize, each: usize) -> Self {
        Self {
            bytes: Budget::new(bytes, largest),
            threads: Arc::new(Semaphore::new(threads)),
            number: threads,
            each,
            holders: ByHolder::default(),
        }
    }

    fn allowance(&self, standing: &CallerStanding) -> LaneAllowance {
        let share = match standing.holder {
            AccountHolder::Anybody => self.number,
            _ => (self.number / HOLDER).max(2 * self.each).min(self.number),
        };
        LaneAllowance {
            bytes: self.bytes.account(standing),
            own: Arc::new(Semaphore::new(self.each)),
            holder: self
                .holders
                .of(&standing.holder, || Arc::new(Semaphore::new(share))),
            all: Arc::clone(&self.threads),
        }
    }
}

/// One certificate's share of a listener, over all its connections.
pub(super) struct Allowance {
    pub(super) connections: Account,
    pub(super) requests: Account,
    pub(super) answers: Account,
    lanes: [LaneAllowance; 5],
}

struct LaneAllowance {
    bytes: Account,
    own: Arc<Semaphore>,
    holder: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl LaneAllowance {
    /// Whether some of its bytes or threads are taken: each permit refers to its semaphore.
    fn is_drawn_on(&self) -> bool {
        self.bytes.is_drawn_on() || Arc::strong_count(&self.own) > 1
    }
}

/// A thread of a lane. The work that runs on it holds it, because the caller may be gone before the
/// work ends.
pub(super) struct LaneThread {
    _own: OwnedSemaphorePermit,
    _holder: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // All lanes together have fewer threads than tokio's pool (512), so that none waits for
        // work outside the lanes either.
        let lanes = [
            LaneBudget::new(limits.batches, LARGEST_BATCH, cores, cores),
            LaneBudget::new(64 << 20, LARGEST_BODY, 64, 8),
            LaneBudget::new(32 << 20, LARGEST_BODY, 16, 4),
            LaneBudget::new(1 << 20, 64 << 10, 8, 2),
            LaneBudget::new(4 * LARGEST_OFFER, LARGEST_OFFER, 16, 2),
        ];
        Self {
            connections: Budget::new(limits.connections, 1).guaranteeing(2),
            requests: Budget::new(REQUESTS, 1).guaranteeing(8),
            answers: Budget::new(ANSWERS, 1),
            lanes,
            known: Mutex::default(),
        }
    }

    /// A certificate's allowance under its holder: one for all its connections, kept until
    /// everything that was taken of it is given back. Work goes on after its connection is closed,
    /// and it still counts when the caller connects again. Where a register gives the certificate
    /// to another holder, connections from then on draw on that one's share.
    pub(super) fn allowance(&self, spki: SpkiDigest, standing: &CallerStanding) -> Arc<Allowance> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, allowance| Arc::strong_count(allowance) > 1 || allowance.is_drawn_on());
        Arc::clone(
            known
                .entry((spki, standing.holder.clone()))
                .or_insert_with(|| Arc::new(self.new_allowance(standing))),
        )
    }

    /// An allowance of its own, for a connection without a certificate.
    pub(super) fn new_allowance(&self, standing: &CallerStanding) -> Allowance {
        Allowance {
            connections: self.connections.account(standing),
            requests: self.requests.account(standing),
            answers: self.answers.account(standing),
            lanes: self.lanes.each_ref().map(|lane| lane.allowance(standing)),
        }
    }
}

impl Allowance {
    /// Lets a request into a lane; its body is charged as it arrives.
    ///
    /// # Errors
    /// [`Code::Overloaded`]: the certificate's share, its holder's, or the whole is used up.
    pub(super) fn admit(&self, lane: Lane) -> Result<Charge, Problem> {
        self.check_room_for_answer(lane)?;
        self.lanes[lane as usize]
            .bytes
            .charge(REQUEST)
            .ok_or_else(overloaded)
    }

    /// Waits for a thread: first among the certificate's own requests, then among its holder's, so
    /// that only a few requests of each wait in the common queue.
    ///
    /// # Errors
    /// [`Code::Overloaded`], as [`Allowance::admit`].
    pub(super) async fn thread(&self, lane: Lane) -> Result<LaneThread, Problem> {
        let threads = &self.lanes[lane as usize];
        let own = Arc::clone(&threads.own)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        let holder = Arc::clone(&threads.holder)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        let all = Arc::clone(&threads.all)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        self.check_room_for_answer(lane)?;
        Ok(LaneThread {
            _own: own,
            _holder: holder,
            _all: all,
        })
    }

    fn is_drawn_on(&self) -> bool {
        [&self.connections, &self.requests, &self.answers]
            .into_iter()
            .any(Account::is_drawn_on)
            || self.lanes.iter().any(LaneAllowance::is_drawn_on)
    }

    /// Checks that there is room for an answer. Acts and sealing always pass, because their answers
    /// are small and they must not wait.
    fn check_room_for_answer(&self, lane: Lane) -> Result<(), Problem> {
        let waits = matches!(lane, Lane::Batches | Lane::Work) && self.answers.is_spent();
        if waits { Err(overloaded()) } else { Ok(()) }
    }
}

/// The refusal of a request for which there is no room.
pub(super) fn overloaded() -> Problem {
    Problem::new(Code::Overloaded).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Id;

    fn of(organisation: &str) -> CallerStanding {
        CallerStanding {
            holder: AccountHolder::Organisation(Id::parse(organisation).unwrap()),
            stops: false,
            until: None,
        }
    }

    /// All threads of a lane that one certificate gets without waiting.
    fn threads(allowance: &Allowance, lane: Lane) -> Vec<LaneThread> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::iter::from_fn(
            || match std::pin::pin!(allowance.thread(lane)).poll(&mut context) {
                std::task::Poll::Ready(thread) => thread.ok(),
                std::task::Poll::Pending => None,
            },
        )
        .collect()
    }

    #[test]
    fn closing_connections_while_their_work_goes_on_gives_nothing_back() {
        let admission = Admission::new(&Limits::default());
        let connect =
            |certificate: u8| admission.allowance(SpkiDigest([certificate; 32]), &of("cnss"));
        let connection = connect(1);
        let running = threads(&connection, Lane::Work);
        let answer = connection.answers.charge(ANSWERS / 8).unwrap();
        assert_eq!(running.len(), 8);
        drop(connection);
        let again = connect(1);
        assert!(
            threads(&again, Lane::Work).is_empty(),
            "its threads are still running"
        );
        assert!(again.answers.is_spent(), "its answers are not read yet");
        // Another certificate, or none, that connects meanwhile changes nothing.
        drop((again, connect(2)));
        assert!(threads(&connect(1), Lane::Work).is_empty());
        drop(running);
        assert!(connect(1).answers.is_spent());
        drop(answer);
        assert_eq!(threads(&connect(1), Lane::Acts).len(), 4);
        drop(connect(2));
        assert_eq!(
            admission.known.lock().unwrap().len(),
            1,
            "an allowance of which nothing is taken is forgotten"
        );
    }

    #[test]
    fn a_certificate_that_moves_to_another_holder_draws_on_that_ones_share() {
        let admission = Admission::new(&Limits::default());
        let connect = |holder| admission.allowance(SpkiDigest([1; 32]), &of(holder));
        let before = connect("cnss");
        let running = threads(&before, Lane::Work);
        assert!(threads(&connect("cnss"), Lane::Work).is_empty());
        assert_eq!(threads(&connect("dgi"), Lane::Work).len(), running.len());
    }

    #[test]
    fn no_certificate_has_all_threads_of_its_holder_and_no_holder_all_of_a_lane() {
        let admission = Admission::new(&Limits::default());
        for (lane, share) in [(Lane::Work, 16), (Lane::Acts, 8), (Lane::Stops, 4)] {
            let certificates: Vec<_> = (0..8)
                .map(|n| admission.allowance(SpkiDigest([n; 32]), &of("cnss")))
                .collect();
            let taken: Vec<_> = certificates
                .iter()
                .map(|allowance| threads(allowance, lane))
                .collect();
            assert!(
                !taken[1].is_empty(),
                "{lane:?}: another certificate of the same holder has some"
            );
            assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), share, "{lane:?}");
            let other = admission.allowance(SpkiDigest([9; 32]), &of("dgi"));
            assert!(
                !threads(&other, lane).is_empty(),
                "{lane:?}: another holder has its own"
            );
        }
    }
}
