//! The one writer: merges what waits into one durable write.
//!
//! Use cases prepare a [`Job`] (sealed mappings, state changes, an audit entry) and wait for its receipt. The writer takes
//! all jobs that wait, drops mappings that meanwhile got stored, packs the rest into chunks, numbers the audit entries,
//! writes everything in one batch with one fsync, and only then answers.
//!
//! **Why no answer can overtake a mapping.** A pseudonym enters the index just before the commit that stores it. A request
//! that finds it there stores nothing, but has an audit entry of its own to write, and the writer works in order: its
//! answer waits for a commit that is the same or a later one. Where a commit fails, the store is poisoned and nothing is
//! answered ever after.

mod log;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::audit::log::Appender;
use crate::audit::{AuditReceipt, Entry, Event, Tokenized};
use crate::clock::Clock;
use crate::code::Code;
use crate::keys::DomainScope;
use crate::pseudonym::Pseudonym;
use crate::seal::chunk::{ChunkBuilder, ChunkCipher, MAX_RECORDS};
use crate::seal::mapping::{RecordRef, Records};
use crate::seal::segment::{OpenSegment, SegmentId};
use crate::store::index::{Index, PartitionId};
use crate::store::{Batch, ChunkKey, Store, StoreError};
use log::{GroupLog, Refusals};

/// Jobs that may wait before callers are turned away.
const QUEUE: usize = 4_096;
/// Pseudonyms and records that may wait in them: bounds their memory to some 100 MB, whoever sends, and also where a
/// caller goes away and leaves its job behind.
const QUEUE_WEIGHT: usize = 1 << 20;
/// Jobs merged into one commit at most.
const GROUP: usize = 1_024;
/// Records merged into one commit at most: bounds the memory of a group.
const GROUP_RECORDS: usize = 200_000;
/// How often refusals that were only counted are written down.
const TICK: Duration = Duration::from_millis(500);

/// Sealed mappings of one batch in one domain.
pub struct NewMappings {
    /// Sector number and epoch.
    pub partition: PartitionId,
    /// The domain's granularity values.
    pub scope: Arc<DomainScope>,
    /// The segment they are sealed under.
    pub segment: Arc<OpenSegment>,
    /// The records.
    pub records: Records,
}

/// The audit entry of a job.
pub enum Logged {
    /// An entry of its own, with the tags of the items that it concerns.
    Entry(Entry, Vec<[u8; 16]>),
    /// A tokenization; single-item ones of one client are merged. `digest` is filled in by the writer.
    Tokenized {
        /// When the request arrived.
        time: Timestamp,
        /// What the entry says.
        entry: Box<Tokenized>,
        /// The pseudonyms answered.
        answered: Vec<Pseudonym>,
    },
    /// A refusal; those of one actor with one code are counted by the second.
    Refused {
        /// When the request arrived.
        time: Timestamp,
        /// Who asked.
        actor: String,
        /// What for.
        operation: &'static str,
        /// Why it was refused.
        code: Code,
    },
}

/// A state change that belongs to a job.
pub type Change = Box<dyn FnOnce(&Store, &mut Batch) + Send>;

/// Called once when a write failed: the process must end.
pub type Poisoned = Box<dyn FnOnce(&StoreError) + Send>;

/// What one request wants written.
pub struct Job {
    /// Mappings to store.
    pub mappings: Vec<NewMappings>,
    /// State to change.
    pub changes: Vec<Change>,
    /// The organisation whose items were counted for it.
    pub count: Option<Arc<DayCount>>,
    /// What the log says of it.
    pub log: Logged,
}

impl Job {
    fn records(&self) -> usize {
        self.mappings.iter().map(|new| new.records.len()).sum()
    }

    /// What it counts against [`QUEUE_WEIGHT`].
    fn weight(&self) -> usize {
        let logged = match &self.log {
            Logged::Tokenized { answered, .. } => answered.len(),
            // Few and small; and an authority must not wait for batches.
            Logged::Entry(..) | Logged::Refused { .. } => 0,
        };
        self.records() + logged
    }
}

/// Items that an organisation sent today, counted in memory when a request is let in and written down with its commit.
#[derive(Debug)]
pub struct DayCount {
    /// Organisation id.
    pub organisation: String,
    /// Days since 1970-01-01.
    pub day: u32,
    /// Items so far; only grows.
    pub items: AtomicU64,
}

/// Waits for a job to be durable.
pub struct Pending(oneshot::Receiver<Option<AuditReceipt>>);

impl Pending {
    /// Blocks until the job is durable.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`] when it could not be made durable.
    pub fn wait(self) -> Result<AuditReceipt, Code> {
        self.0.blocking_recv().ok().flatten().ok_or(Code::AuditUnavailable)
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
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    clock_mark: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

type Message = (Job, oneshot::Sender<Option<AuditReceipt>>);

impl Committer {
    /// Starts the writer over a store and its log. `cipher` wraps chunks; an entity without mappings has none. `poisoned` is
    /// called once when a write fails: the process must end.
    ///
    /// # Errors
    /// [`StoreError`] when the log's end cannot be read.
    pub fn start(
        store: Arc<Store>,
        log: Appender,
        index: Arc<Index>,
        cipher: Option<Arc<ChunkCipher>>,
        sequences: HashMap<PartitionId, u32>,
        clock: Arc<dyn Clock>,
        poisoned: Poisoned,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(QUEUE);
        let clock_mark = Arc::new(AtomicU64::new(store.clock_mark()?.max(0) as u64));
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut writer = Writer {
            store,
            index,
            cipher,
            sequences,
            log,
            refusals: Refusals::default(),
            clock,
            clock_mark: clock_mark.clone(),
            waiting: waiting.clone(),
            poisoned: Some(poisoned),
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&receiver))
            .expect("the operating system starts a thread");
        Ok(Self { sender: Some(sender), thread: Some(thread), clock_mark, waiting })
    }

    /// Whether so much waits that a batch would be turned away: worth knowing before work is put into it.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= QUEUE_WEIGHT
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many wait; [`Code::AuditUnavailable`] when the writer has stopped.
    pub fn submit(&self, job: Job) -> Result<Pending, Code> {
        let weight = job.weight();
        // A job that is heavier than all that may wait passes when there is room at all.
        if self.waiting.fetch_add(weight, Ordering::Relaxed) >= QUEUE_WEIGHT && weight > 0 {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            return Err(Code::Overloaded);
        }
        let (reply, pending) = oneshot::channel();
        self.sender.as_ref().expect("there until drop").try_send((job, reply)).map_err(|error| {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => Code::Overloaded,
                TrySendError::Disconnected(_) => Code::AuditUnavailable,
            }
        })?;
        Ok(Pending(pending))
    }

    /// Queues an entry of its own.
    ///
    /// # Errors
    /// As [`Committer::submit`].
    pub fn log(&self, time: Timestamp, event: Event) -> Result<Pending, Code> {
        self.submit(Job {
            mappings: vec![],
            changes: vec![],
            count: None,
            log: Logged::Entry(Entry::new(time, event), vec![]),
        })
    }

    /// Queues the entry of a start, to be written together with what the start changes. Nothing may be queued before it.
    ///
    /// # Errors
    /// As [`Committer::submit`].
    pub fn begin(&self, changes: Batch, time: Timestamp, start: Event) -> Result<Pending, Code> {
        self.submit(Job {
            mappings: vec![],
            // The first job of all finds the group's batch empty.
            changes: vec![Box::new(move |_, batch| *batch = changes)],
            count: None,
            log: Logged::Entry(Entry::new(time, start), vec![]),
        })
    }

    /// The latest time that was ever acted on (Unix milliseconds).
    pub fn clock_mark(&self) -> i64 {
        self.clock_mark.load(Ordering::Relaxed) as i64
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

struct Writer {
    store: Arc<Store>,
    index: Arc<Index>,
    cipher: Option<Arc<ChunkCipher>>,
    /// Next chunk sequence of each partition.
    sequences: HashMap<PartitionId, u32>,
    log: Appender,
    refusals: Refusals,
    clock: Arc<dyn Clock>,
    clock_mark: Arc<AtomicU64>,
    /// Weight of the jobs that wait.
    waiting: Arc<AtomicUsize>,
    poisoned: Option<Poisoned>,
}

impl Drop for Writer {
    /// A writer that a fault of ours ended must not leave a process behind that looks alive and answers nobody.
    fn drop(&mut self) {
        if let Some(poisoned) = self.poisoned.take_if(|_| std::thread::panicking()) {
            poisoned(&StoreError::WriterEnded);
        }
    }
}

impl Writer {
    fn run(&mut self, receiver: &Receiver<Message>) {
        loop {
            let group = match receiver.recv_timeout(TICK) {
                Ok(first) => self.gather(first, receiver),
                Err(RecvTimeoutError::Timeout) => vec![],
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit(vec![], true);
                    return;
                }
            };
            if !self.commit(group, false) {
                return;
            }
        }
    }

    /// Takes what waits behind the first message, within the bounds of a group.
    fn gather(&self, first: Message, receiver: &Receiver<Message>) -> Vec<Message> {
        let (mut records, mut weight) = (first.0.records(), first.0.weight());
        let mut group = vec![first];
        while group.len() < GROUP && records < GROUP_RECORDS {
            let Ok(next) = receiver.try_recv() else { break };
            records += next.0.records();
            weight += next.0.weight();
            group.push(next);
        }
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
        group
    }

    /// Writes a group; whether the writer may go on.
    fn commit(&mut self, group: Vec<Message>, last: bool) -> bool {
        let mut batch = Batch::default();
        let mut segments: Vec<Arc<OpenSegment>> = vec![];
        let (jobs, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let mut mappings = vec![];
        let mut logs = vec![];
        let mut counts = HashMap::new();
        for job in jobs {
            mappings.extend(job.mappings);
            job.changes.into_iter().for_each(|change| change(&self.store, &mut batch));
            logs.push(job.log);
            if let Some(count) = job.count {
                counts.insert(Arc::as_ptr(&count), count);
            }
        }
        for count in counts.values() {
            let items = count.items.load(Ordering::Relaxed);
            self.store.put_quota_used(&mut batch, &count.organisation, count.day, items);
        }
        self.pack(&mut batch, &mappings, &mut segments);
        let now = self.clock.now();
        let mut log = GroupLog::new(self.log.next());
        if let Some(first) = self.log.turn(now) {
            log.begin(now, first);
        }
        self.refusals.flush(now, last, &mut log);
        let places: Vec<_> = logs.into_iter().map(|entry| log.place(entry, &mut self.refusals)).collect();
        let first = log.first();
        let entries = log.write(&self.store, &mut batch);
        let receipts = self.log.append(&entries, &mut batch);
        if entries.is_empty() && batch.is_empty() {
            // Refusals that were only counted: nothing to write now.
            replies.into_iter().for_each(|reply| drop(reply.send(None)));
            return !last || self.close();
        }

        let mark = self.clock_mark.load(Ordering::Relaxed).max(now.as_millisecond().max(0) as u64);
        self.store.put_clock_mark(&mut batch, mark as i64);
        if !self.write(batch) {
            return false;
        }
        self.log.durable();
        self.clock_mark.store(mark, Ordering::Relaxed);
        segments.iter().for_each(|segment| segment.mark_stored());
        for (reply, place) in replies.into_iter().zip(places) {
            // A caller that went away needs no answer; its effect stays, and is logged.
            let receipt = place.map(|number| receipts[(number - first) as usize].shared());
            drop(reply.send(receipt));
        }
        !last || self.close()
    }

    /// Writes rows durably, or says that the process must end.
    fn write(&mut self, batch: Batch) -> bool {
        let written = match self.log.is_forked() {
            true => Err(StoreError::Forked),
            false => self.store.commit(batch),
        };
        let Err(error) = written else { return true };
        if let Some(poisoned) = self.poisoned.take() {
            poisoned(&error);
        }
        false
    }

    /// The last thing that is written: the checkpoint over all that was.
    fn close(&mut self) -> bool {
        self.log.end();
        let mut batch = Batch::default();
        self.log.append(&[], &mut batch);
        batch.is_empty() || self.write(batch)
    }

    /// Packs new mappings into chunks, each of one partition, segment and scope.
    fn pack(&mut self, batch: &mut Batch, mappings: &[NewMappings], segments: &mut Vec<Arc<OpenSegment>>) {
        let mut groups: BTreeMap<(PartitionId, &SegmentId, &DomainScope), Vec<&NewMappings>> = BTreeMap::new();
        for new in mappings {
            groups.entry((new.partition, new.segment.id(), &new.scope)).or_default().push(new);
        }
        let mut written: HashSet<SegmentId> = HashSet::new();
        for ((partition, id, scope), group) in groups {
            let runs = self.claim(partition, &group);
            let segment = &group[0].segment;
            if !runs.is_empty() && !segment.is_stored() && written.insert(*id) {
                self.store.put_segment(batch, id, segment.record());
                segments.push(segment.clone());
            }
            for (sequence, run) in runs {
                self.put_run(batch, ChunkKey { sector: partition.0, epoch: partition.1, sequence }, id, scope, run);
            }
        }
    }

    /// Enters the group's mappings into the index; what was not there yet comes back in runs, one for each chunk.
    fn claim<'a>(&mut self, partition: PartitionId, group: &[&'a NewMappings]) -> Vec<(u32, Vec<Claimed<'a>>)> {
        let next = self.sequences.entry(partition).or_insert(1);
        // Wrapping around would overwrite the first chunks.
        let after = |sequence: u32| sequence.checked_add(1).expect("an epoch of a sector has fewer than 2^32 chunks");
        let mut runs = vec![];
        let mut run = vec![];
        self.index.partition(partition).insert_all(|insert| {
            for new in group {
                for entry in new.records.entries() {
                    if insert(entry.pseudonym.as_bytes(), *next) {
                        run.push((*entry, &new.records));
                        if run.len() == MAX_RECORDS {
                            runs.push((*next, std::mem::take(&mut run)));
                            *next = after(*next);
                        }
                    }
                }
            }
        });
        if !run.is_empty() {
            runs.push((*next, run));
            *next = after(*next);
        }
        runs
    }

    fn put_run(
        &self,
        batch: &mut Batch,
        key: ChunkKey,
        id: &SegmentId,
        scope: &DomainScope,
        mut run: Vec<Claimed<'_>>,
    ) {
        run.sort_unstable_by_key(|(entry, _)| entry.pseudonym);
        let size = run.iter().map(|(entry, records)| records.get(entry).len()).sum();
        let mut chunk = ChunkBuilder::new(id, scope, size);
        run.iter().for_each(|(entry, records)| chunk.push(records.get(entry)));
        let cipher = self.cipher.as_ref().expect("mappings come only where a chunk cipher is");
        self.store.put_chunk(batch, key, &cipher.wrap(&key.to_bytes(), chunk));
    }
}

type Claimed<'a> = (RecordRef, &'a Records);
