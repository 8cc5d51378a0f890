//! The one writer: merges the jobs that wait into one durable write.
//!
//! Use cases prepare a [`Job`] (sealed mappings, state changes, an audit entry) and wait for its
//! receipt. The writer takes all jobs that wait, drops mappings that have been stored since, packs
//! the rest into chunks, numbers the audit entries, writes everything in one batch with one fsync,
//! and only then answers.
//!
//! **Why no answer can overtake a mapping.** A pseudonym enters the index just before the commit
//! that stores it. A request that finds it there stores nothing, but must write an audit entry, and
//! the writer works in order: so its answer waits for the same commit or a later one. If a commit
//! fails, the store is poisoned and no request is answered any more.

mod journal;
mod log;
mod mark;
pub mod orders;
mod pace;
mod pack;
mod rounds;
pub mod small;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::audit::log::Appender;
use crate::audit::{AuditEntry, AuditEvent, AuditReceipt, TokenizeDetails};
use crate::clock::{Clock, ClockMark};
use crate::code::Code;
use crate::keys::DomainScope;
use crate::seal::chunk::{ChunkBuilder, ChunkCipher};
use crate::seal::journal::JournalCipher;
use crate::seal::segment::OpenSegment;
use crate::store::index::{Index, PartitionId};
use crate::store::{ItemTag, RowBatch, StateChanges, Store, StoreError};
use crate::system::lock::unpoisoned;
use journal::CommitJournal;
pub use log::AnsweredPseudonyms;
use log::{EventCounts, GroupLog};
pub use mark::{LowerMark, LowerMarkError};
pub use pace::STALL;
use pace::WriterPace;
use rounds::CommitRounds;
use small::{SmallChunk, SmallChunkKind, SmallChunks};

/// Jobs that may wait before callers are turned away.
const QUEUE: usize = 4_096;
/// Pseudonyms and records that may wait in them. Bounds their memory to about 100 MB whatever
/// callers do: a caller that goes away leaves its job behind.
const QUEUE_WEIGHT: usize = 1 << 20;
/// Jobs merged into one commit at most.
const GROUP: usize = 1_024;
/// Records merged into one commit at most: bounds the memory of a group.
const GROUP_RECORDS: usize = 200_000;
/// Tags merged into one commit, but for the last job's: a job changes state for each item that its
/// entry has a tag of, and followers take what one commit changes as one record.
const GROUP_TAGS: usize = 10_000;
/// How often the writer writes down refusals that it has only counted.
const TICK: Duration = Duration::from_millis(500);

/// Sealed mappings of one batch in one domain, sorted within each chunk.
pub struct NewMappings {
    /// Sector number and epoch.
    pub partition: PartitionId,
    /// The domain's granularity values.
    pub scope: Arc<DomainScope>,
    /// The segment they are sealed under.
    pub segment: Arc<OpenSegment>,
    /// The records: full chunks, and a last one that may be smaller.
    pub chunks: Vec<ChunkBuilder>,
    /// The index's generation before the look-up that did not find them.
    pub generation: u64,
}

/// The audit entry of a job.
pub enum JobLog {
    /// An entry of its own, with the tags of the items that it concerns.
    Entry(AuditEntry, Vec<ItemTag>),
    /// A tokenization; single-item ones of one client are merged. `digest` is filled in by the
    /// writer.
    Tokenized {
        /// When the request arrived.
        time: Timestamp,
        /// The entry's details.
        entry: Box<TokenizeDetails>,
        /// The pseudonyms that were answered.
        answered: AnsweredPseudonyms,
    },
    /// Reading of entry bundles; those of one auditor are counted by the minute.
    Read {
        /// When the request arrived.
        time: Timestamp,
        /// Who reads.
        actor: String,
    },
    /// An entry of its own with a digest, and the digest's erasable salt.
    Salted(AuditEntry, [u8; 16]),
    /// No entry: a change that an entity makes for itself, which changes no answer.
    Nothing,
    /// A refusal; those of one actor with one code are counted by the second.
    Refused {
        /// When the request arrived.
        time: Timestamp,
        /// Who asked.
        actor: String,
        /// The operation that was refused.
        operation: &'static str,
        /// Why it was refused.
        code: Code,
    },
}

/// A state change that belongs to a job.
pub type Change = Box<dyn FnOnce(&Store, &mut RowBatch) + Send>;

/// Called once when a write failed: the process must end.
pub type PoisonHandler = Box<dyn FnOnce(&StoreError) + Send>;

/// What one request writes.
pub struct Job {
    /// Mappings to store.
    pub mappings: Vec<NewMappings>,
    /// State to change.
    pub changes: Vec<Change>,
    /// The counts of those whose items were counted: at the vault, an organisation's day.
    pub counts: Vec<Arc<DayCount>>,
    /// The job's audit entry.
    pub log: JobLog,
}

impl Job {
    /// A job that stores no mappings: an audit entry, and changes of state.
    pub fn new(log: JobLog, changes: Vec<Change>) -> Self {
        Self {
            mappings: vec![],
            changes,
            counts: vec![],
            log,
        }
    }

    /// A job with an entry of its own. `tags` are those of the items that the entry concerns.
    pub fn entry(
        time: Timestamp,
        event: AuditEvent,
        tags: Vec<ItemTag>,
        changes: Vec<Change>,
    ) -> Self {
        Self::new(JobLog::Entry(AuditEntry::new(time, event), tags), changes)
    }

    fn records(&self) -> usize {
        self.mappings
            .iter()
            .flat_map(|new| &new.chunks)
            .map(|chunk| chunk.records().len())
            .sum()
    }

    /// How many tags its entry has.
    fn tags(&self) -> usize {
        match &self.log {
            JobLog::Entry(_, tags) => tags.len(),
            _ => 0,
        }
    }

    /// The job's weight against [`QUEUE_WEIGHT`].
    fn weight(&self) -> usize {
        let logged = match &self.log {
            JobLog::Tokenized { answered, .. } => answered.len(),
            // These are few and small, and an authority must not wait for batches.
            JobLog::Entry(..)
            | JobLog::Salted(..)
            | JobLog::Nothing
            | JobLog::Read { .. }
            | JobLog::Refused { .. } => 0,
        };
        self.records() + logged
    }
}

/// Items that an organisation sent today; an identity source counts hours in the same way. Counted
/// in memory when a request is admitted, and stored with the request's commit.
#[derive(Debug)]
pub struct DayCount {
    /// Organisation id.
    pub organisation: String,
    /// Days since 1970-01-01.
    pub day: u32,
    /// Items so far; only grows.
    pub items: AtomicU64,
}

/// What the writer seals with.
pub struct WriterSeals {
    /// Wraps chunks; an entity without mappings has none.
    pub chunks: Option<Arc<ChunkCipher>>,
    /// Seals the log's side records.
    pub journal: Arc<JournalCipher>,
    /// Whether each commit's day counts are in its own side record, and not put off for a second.
    pub counts_at_once: bool,
}

/// Waits for a job to be durable.
pub struct Pending(oneshot::Receiver<Option<AuditReceipt>>);

impl Pending {
    /// Blocks until the job is durable.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`] when it could not be made durable.
    pub fn wait(self) -> Result<AuditReceipt, Code> {
        self.0
            .blocking_recv()
            .ok()
            .flatten()
            .ok_or(Code::AuditUnavailable)
    }

    /// Blocks until the writer is done with a job that has no entry.
    fn done(self) -> Result<(), Code> {
        self.0
            .blocking_recv()
            .map(drop)
            .map_err(|_| Code::AuditUnavailable)
    }

    /// Waits until a refusal is written down or counted, without blocking the thread.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`] when it could not be.
    pub async fn noted(self) -> Result<(), Code> {
        self.0.await.map(|_| ()).map_err(|_| Code::AuditUnavailable)
    }

    /// Waits until the job is durable, without blocking the thread.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`] when it could not be made durable.
    pub async fn durable(self) -> Result<AuditReceipt, Code> {
        self.0.await.ok().flatten().ok_or(Code::AuditUnavailable)
    }
}

/// Hands jobs to the writer.
pub struct Committer {
    sender: Option<SyncSender<QueuedJob>>,
    thread: Option<JoinHandle<()>>,
    mark: Arc<ClockMark>,
    /// Held while the mark is lowered.
    lowering: Mutex<()>,
    waiting: Arc<AtomicUsize>,
    pace: Arc<WriterPace>,
    rounds: Arc<CommitRounds>,
    small: Arc<SmallChunks>,
    poisoned: Arc<Mutex<Option<PoisonHandler>>>,
}

type QueuedJob = (Job, oneshot::Sender<Option<AuditReceipt>>);

impl Committer {
    /// Starts the writer over a store and its log. `poisoned` is called once when a write fails:
    /// the process must end. `small` are the small chunks that are there already.
    ///
    /// # Errors
    /// [`StoreError`] when the log's end cannot be read.
    pub fn start(
        store: Arc<Store>,
        log: Appender,
        index: Arc<Index>,
        seals: WriterSeals,
        small: SmallChunks,
        clock: Arc<dyn Clock>,
        poisoned: PoisonHandler,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(QUEUE);
        let mark = Arc::new(ClockMark::at(store.clock_mark()?));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (rounds, small, pace) = (
            Arc::new(CommitRounds::default()),
            Arc::new(small),
            Arc::new(WriterPace::default()),
        );
        let poisoned = Arc::new(Mutex::new(Some(poisoned)));
        let mut writer = CommitWriter {
            store,
            index,
            cipher: seals.chunks,
            journal: CommitJournal::new(seals.journal, seals.counts_at_once),
            fresh: vec![],
            inserted: 0,
            log,
            event_counts: EventCounts::default(),
            clock,
            mark: mark.clone(),
            waiting: waiting.clone(),
            pace: pace.clone(),
            rounds: rounds.clone(),
            small: small.clone(),
            poisoned: poisoned.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&receiver))
            .expect("the operating system starts a thread");
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            mark,
            lowering: Mutex::default(),
            waiting,
            pace,
            rounds,
            small,
            poisoned,
        })
    }

    /// Waits until every commit that has begun is over. Returns whether they all became durable:
    /// then the store holds every chunk that the index named before the call.
    pub fn settled(&self) -> bool {
        self.rounds.settled()
    }

    /// The small chunks.
    pub fn small(&self) -> &SmallChunks {
        &self.small
    }

    /// Reports a failed write of another thread.
    pub fn poison(&self, error: &StoreError) {
        report(&self.poisoned, error);
    }

    /// Whether the writer would turn a batch away because too much waits. Ask before working on a
    /// batch.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= QUEUE_WEIGHT
    }

    /// How long the writer has been stalled: jobs wait, and no commit has finished for longer than
    /// [`STALL`]. The disk hangs.
    pub fn stalled(&self) -> Option<Duration> {
        self.pace.stalled()
    }

    /// Admits a request that will wait for a commit, and perhaps keep others waiting meanwhile.
    /// While the writer is stalled, waits for at most [`STALL`]. Blocks the thread.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`] when the writer is stalled even then.
    pub fn admit(&self) -> Result<(), Code> {
        let began = Instant::now();
        while self.stalled().is_some() {
            if began.elapsed() > STALL {
                return Err(Code::AuditUnavailable);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many wait; [`Code::AuditUnavailable`] when the writer has
    /// stopped, or has been stalled for twice [`STALL`]: while the disk hangs, the job would wait
    /// forever. Nothing was done then.
    pub fn submit(&self, job: Job) -> Result<Pending, Code> {
        // Changes that an entity makes for itself may wait.
        if !matches!(job.log, JobLog::Nothing)
            && self.stalled().is_some_and(|since| since > 2 * STALL)
        {
            return Err(Code::AuditUnavailable);
        }
        let weight = job.weight();
        // A job that is heavier than the whole queue passes when there is room at all.
        if self.waiting.fetch_add(weight, Ordering::Relaxed) >= QUEUE_WEIGHT && weight > 0 {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            return Err(Code::Overloaded);
        }
        let (reply, pending) = oneshot::channel();
        self.pace.enter();
        self.sender
            .as_ref()
            .expect("there until drop")
            .try_send((job, reply))
            .map_err(|error| {
                self.pace.leave(1);
                self.waiting.fetch_sub(weight, Ordering::Relaxed);
                match error {
                    TrySendError::Full(_) => Code::Overloaded,
                    TrySendError::Disconnected(_) => Code::AuditUnavailable,
                }
            })?;
        Ok(Pending(pending))
    }

    /// Writes an entry together with the changes that it describes, and blocks until both are
    /// durable. `tags` are those of the items that the entry concerns.
    ///
    /// # Errors
    /// As [`Committer::submit`], and [`Code::AuditUnavailable`] when the job could not be made
    /// durable. Nothing was done then.
    pub fn record(
        &self,
        time: Timestamp,
        event: AuditEvent,
        tags: Vec<ItemTag>,
        changes: Vec<Change>,
    ) -> Result<AuditReceipt, Code> {
        self.submit(Job::entry(time, event, tags, changes))?.wait()
    }

    /// Makes a change that no entry describes, and blocks until it is durable. Only for what an
    /// entity does for itself, which changes no answer.
    ///
    /// # Errors
    /// As [`Committer::record`].
    pub fn change_unlogged(&self, change: Change) -> Result<(), Code> {
        self.submit(Job::new(JobLog::Nothing, vec![change]))?.done()
    }

    /// The latest time that was ever acted on (Unix milliseconds).
    pub fn clock_mark(&self) -> i64 {
        self.mark.milliseconds()
    }

    /// The clock's high-water mark: every commit raises it.
    pub fn mark(&self) -> &Arc<ClockMark> {
        &self.mark
    }
}

impl Drop for Committer {
    /// Lets the writer finish what waits.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn report(poisoned: &Mutex<Option<PoisonHandler>>, error: &StoreError) {
    let handler = unpoisoned(poisoned.lock()).take();
    if let Some(handler) = handler {
        handler(error);
    }
}

struct CommitWriter {
    store: Arc<Store>,
    index: Arc<Index>,
    cipher: Option<Arc<ChunkCipher>>,
    journal: CommitJournal,
    /// Chunks of the commit under way.
    fresh: Vec<(SmallChunkKind, SmallChunk)>,
    /// Entries that were inserted into the index since its bound was last checked.
    inserted: u64,
    log: Appender,
    event_counts: EventCounts,
    clock: Arc<dyn Clock>,
    mark: Arc<ClockMark>,
    /// Weight of the jobs that wait.
    waiting: Arc<AtomicUsize>,
    pace: Arc<WriterPace>,
    rounds: Arc<CommitRounds>,
    small: Arc<SmallChunks>,
    poisoned: Arc<Mutex<Option<PoisonHandler>>>,
}

impl Drop for CommitWriter {
    /// Reports a writer that panicked: the process would look alive and answer no request.
    fn drop(&mut self) {
        self.rounds.close();
        if std::thread::panicking() {
            report(&self.poisoned, &StoreError::WriterEnded);
        }
    }
}

impl CommitWriter {
    fn run(&mut self, receiver: &Receiver<QueuedJob>) {
        loop {
            let group = match receiver.recv_timeout(TICK) {
                Ok(first) => self.gather(first, receiver),
                Err(RecvTimeoutError::Timeout) => vec![],
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.commit(vec![], true).and_then(|()| self.close()) {
                        report(&self.poisoned, &error);
                    }
                    return;
                }
            };
            let jobs = group.len();
            if let Err(error) = self.commit(group, false) {
                // Before the caller is told, so that `settled` does not count this commit as
                // durable.
                self.rounds.close();
                report(&self.poisoned, &error);
                return;
            }
            if jobs > 0 {
                self.pace.leave(jobs);
            }
            if self.inserted > self.index.stride() {
                self.inserted = 0;
                self.pace.hold_back(true);
                self.index.hold_back();
                self.pace.hold_back(false);
            }
        }
    }

    /// Takes the jobs that wait behind the first one, within the bounds of a group.
    fn gather(&self, first: QueuedJob, receiver: &Receiver<QueuedJob>) -> Vec<QueuedJob> {
        let (mut records, mut weight) = (first.0.records(), first.0.weight());
        let mut tags = first.0.tags();
        let mut group = vec![first];
        while group.len() < GROUP && records < GROUP_RECORDS && tags < GROUP_TAGS {
            let Ok(next) = receiver.try_recv() else { break };
            records += next.0.records();
            tags += next.0.tags();
            weight += next.0.weight();
            group.push(next);
        }
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
        group
    }

    /// Writes a group. After an error the writer may not go on.
    fn commit(&mut self, group: Vec<QueuedJob>, last: bool) -> Result<(), StoreError> {
        self.rounds.begin();
        let mut batch = RowBatch::default();
        let mut segments: Vec<Arc<OpenSegment>> = vec![];
        let (jobs, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let mut mappings = vec![];
        let mut logs = vec![];
        let mut counts = HashMap::new();
        for job in jobs {
            mappings.extend(job.mappings);
            job.changes
                .into_iter()
                .for_each(|change| change(&self.store, &mut batch));
            logs.push(job.log);
            for count in job.counts {
                counts.insert(Arc::as_ptr(&count), count);
            }
        }
        self.pack(&mut batch, mappings, &mut segments)?;
        let changes = batch.take_changes();
        self.put_counts(&mut batch, &counts);
        let now = self.clock.now();
        let mut log = GroupLog::new(self.log.next());
        if let Some(first) = self.log.turn(now) {
            log.begin(now, first);
        }
        self.event_counts.flush(now, last, &mut log);
        let places: Vec<_> = logs
            .into_iter()
            .map(|entry| log.place(entry, &mut self.event_counts))
            .collect();
        let first = log.first();
        let mark = self.mark.milliseconds().max(now.as_millisecond());
        let record = self.record(&mut batch, &mut log, changes, (now, mark), last);
        log.grants()
            .for_each(|(grant, number)| self.log.withhold(grant, number));
        let entries = log.write(&self.store, &mut batch, record.as_deref());
        let receipts = self.log.append(&entries, &mut batch);
        if entries.is_empty() && batch.is_empty() {
            // Refusals that were only counted: nothing to write now.
            replies.into_iter().for_each(|reply| drop(reply.send(None)));
            self.rounds.end();
            return Ok(());
        }

        self.write(batch)?;
        self.log.durable();
        self.rounds.end();
        self.fresh
            .drain(..)
            .for_each(|(kind, small)| self.small.add(&kind, small));
        if !receipts.is_empty() {
            self.mark.raise(mark);
        }
        segments.iter().for_each(|segment| segment.mark_stored());
        for (reply, place) in replies.into_iter().zip(places) {
            // A caller that went away needs no answer; its effect stays, and is logged.
            let receipt = place.map(|number| receipts[(number - first) as usize].shared());
            drop(reply.send(receipt));
        }
        Ok(())
    }

    /// Puts the day counts of the organisations whose items were counted.
    fn put_counts(
        &mut self,
        batch: &mut RowBatch,
        counts: &HashMap<*const DayCount, Arc<DayCount>>,
    ) {
        for count in counts.values() {
            let items = count.items.load(Ordering::Relaxed);
            self.store
                .put_quota_used(batch, &count.organisation, count.day, items);
        }
        self.journal.put_off(&batch.take_changes());
    }

    /// Makes the commit's sealed side record, if one is due, and the entry that names it where the
    /// commit has no other. The clock's `mark` is stored with it.
    fn record(
        &mut self,
        batch: &mut RowBatch,
        log: &mut GroupLog,
        mut changes: StateChanges,
        (now, mark): (Timestamp, i64),
        last: bool,
    ) -> Option<Vec<u8>> {
        if log.len() == 0 && self.journal.needs_entry(&changes, now, last) {
            log.name_record(now);
        }
        if log.len() == 0 || !self.journal.is_due(&changes, now, last) {
            return None;
        }
        self.store.put_clock_mark(batch, mark);
        changes.append(&batch.take_changes());
        let record = self.journal.record(changes, now);
        let entry = self.log.place_of(log.first() + log.len() - 1);
        Some(self.journal.cipher.seal(entry, record.as_bytes()))
    }

    /// Writes rows durably, unless another process extends this log.
    fn write(&self, batch: RowBatch) -> Result<(), StoreError> {
        if self.log.is_forked() {
            Err(StoreError::Forked)
        } else {
            self.store.commit(batch)
        }
    }

    /// Writes the last checkpoint, which covers every entry.
    fn close(&mut self) -> Result<(), StoreError> {
        self.log.end();
        let mut batch = RowBatch::default();
        self.log.append(&[], &mut batch);
        if batch.is_empty() {
            Ok(())
        } else {
            self.write(batch)
        }
    }
}
