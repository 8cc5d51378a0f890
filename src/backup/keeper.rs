//! A server's backups: one job at a time, on a thread of its own, told about while it runs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::branch::LogBranch;
use super::error::RepositoryError;
use super::manifest::BackupId;
use super::prune::{PrunedBackups, prune};
use super::records::{place_of, prune_records};
use super::repository::{BackupRepository, RepositoryId, WritableRepository};
use super::take::{BackupOrder, KnownFiles, take};
use super::verify::{BackupVerification, BackupVerifier};
use super::view::{BackupJobView, BackupList, list};
use super::{BackupPlan, BackupProgress, BackupRetention};
use crate::access::BackupPermit;
use crate::code::Code;
use crate::entity::{Entity, EntityInForce};
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// How the log names a backup that the server takes by itself.
pub const BY_TIMER: &str = "timer";
/// Seconds after which a backup that failed is tried again, at the latest.
const AGAIN: i64 = 60;
/// Hours of a year, as retention counts them.
const YEAR_HOURS: i64 = 24 * 365;
/// How often backups are taken at least, until the last one that holds what was erased is gone.
const AFTER_ERASURE: SignedDuration = SignedDuration::from_hours(24);
/// How long entries go into one segment of the second place at most, once there are backups.
const SEGMENT: SignedDuration = SignedDuration::from_hours(12);

/// The body of a request for a backup.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBackup {
    /// Begin another repository, where the configured folder is empty although backups of this
    /// store went to a repository before.
    #[serde(default)]
    pub new_repository: bool,
}

/// The body of a request to verify a backup.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBackup {
    /// Its id; the last one where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// The body of a request to prune.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBackups {
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// When the last backups were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupTimes {
    /// The last one.
    pub last: Option<Timestamp>,
    /// The last one that was found good.
    pub verified: Option<Timestamp>,
}

/// Takes, lists, verifies and prunes a server's backups.
pub struct BackupKeeper {
    entity: EntityInForce,
    plan: BackupPlan,
    jobs: Arc<Mutex<KeeperJobs>>,
    known: Arc<Mutex<KnownFiles>>,
}

/// The work of a keeper.
#[derive(Default)]
struct KeeperJobs {
    begun: u64,
    running: Option<RunningJob>,
    ended: Option<BackupJobView>,
    /// The id of the last backup that was begun.
    last_id: Option<BackupId>,
    /// Before this the timer tries no other one.
    not_before: Option<Timestamp>,
    /// When the second place last began a segment for a backup.
    segment: Option<Timestamp>,
    thread: Option<JoinHandle<()>>,
}

struct RunningJob {
    view: BackupJobView,
    began: Instant,
    progress: Arc<BackupProgress>,
}

impl RunningJob {
    fn view(&self) -> BackupJobView {
        BackupJobView {
            done: self.progress.done.load(Ordering::Relaxed),
            all: self.progress.all.load(Ordering::Relaxed),
            copied: self.progress.copied.load(Ordering::Relaxed),
            milliseconds: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..self.view.clone()
        }
    }
}

/// What a job found out.
struct JobOutcome {
    backup: BackupId,
    entries: Option<u64>,
}

impl BackupKeeper {
    /// Keeps the backups of a server.
    pub fn new(entity: EntityInForce, plan: BackupPlan) -> Self {
        let days = plan.retention.longest_days();
        entity.get().note_backup_days(days);
        Self {
            entity,
            plan,
            jobs: Arc::default(),
            known: Arc::default(),
        }
    }

    /// Whose backups they are, as it is now.
    pub fn entity(&self) -> Arc<Entity> {
        self.entity.get()
    }

    /// The configuration.
    pub fn plan(&self) -> &BackupPlan {
        &self.plan
    }

    /// Begins to take a backup.
    ///
    /// # Errors
    /// [`Code::BackupRunning`], [`Code::BackupUnavailable`].
    pub fn create(
        &self,
        permit: &BackupPermit,
        asked: CreateBackup,
    ) -> Result<BackupJobView, Refusal> {
        self.create_for(permit.actor.to_string(), asked.new_repository, false)
    }

    /// Takes a backup if one is due, and removes afterwards those that no rule keeps. Call it about
    /// once a second.
    pub fn tick(&self, now: Timestamp) {
        let Some(every) = self.every() else { return };
        {
            let jobs = unpoisoned(self.jobs.lock());
            if jobs.running.is_some() || jobs.not_before.is_some_and(|time| now < time) {
                return;
            }
        }
        let again = SignedDuration::from_secs(AGAIN).min(every);
        let wait = match self.last() {
            // A clock that was set back, or had run ahead, makes a backup due too.
            Ok(Some(last)) => every - now.duration_since(last).abs(),
            _ => SignedDuration::ZERO,
        };
        let is_due = !wait.is_positive();
        let next = if is_due { again } else { wait.min(again) };
        unpoisoned(self.jobs.lock()).not_before = now.checked_add(next).ok();
        if is_due && let Err(refusal) = self.create_for(BY_TIMER.to_owned(), false, true) {
            tracing::error!(code = %refusal.code(), why = %refusal, "no backup was taken");
        }
    }

    /// How often a backup is due: as the configuration says, and once a day where older ones hold
    /// what was erased.
    fn every(&self) -> Option<SignedDuration> {
        let erasure = self.entity.get().store().last_erasure();
        let is_erased = erasure.is_ok_and(|erasure| erasure.is_some());
        let planned = self.plan.every;
        let planned = planned.map(|every| every.try_into().unwrap_or(SignedDuration::MAX));
        let wanted = [planned, is_erased.then_some(AFTER_ERASURE)];
        wanted.into_iter().flatten().min()
    }

    /// When the last backup of this log was taken.
    fn last(&self) -> Result<Option<Timestamp>, RepositoryError> {
        let (repository, entity) = (self.open()?, self.entity.get());
        let branch = LogBranch::Store(entity.store());
        let listing = repository.backups(&entity.log().key())?;
        // A name that anybody put there must not make a backup due for good; `list` tells of it.
        let read = listing.backups.into_iter();
        let mut backups: Vec<_> = read.filter_map(|(_, backup)| backup.ok()).collect();
        backups.sort_by_key(|backup| backup.log().position());
        for backup in backups.into_iter().rev() {
            if branch.contains(backup.log())? {
                return Ok(Some(backup.taken()));
            }
        }
        Ok(None)
    }

    fn create_for(
        &self,
        actor: String,
        new_repository: bool,
        then_prune: bool,
    ) -> Result<BackupJobView, Refusal> {
        self.refuse_while_running()?;
        let entity = self.entity.get();
        // Opened by the caller's thread, so that it is told at once what is wrong.
        let repository = self.open_or_make(&entity, new_repository)?;
        let lock = repository.lock()?;
        let id = self.next_id(&repository, &entity)?;
        let (retention, known) = (self.retention(&entity)?, self.known.clone());
        let recipients = self.plan.recipients.clone();
        self.turn_segment(&entity);
        self.begin("create", Some(&id.clone()), move |progress| {
            let order = BackupOrder {
                id,
                actor,
                place: repository.with(&lock),
                recipients: recipients.as_ref(),
            };
            let mut known = unpoisoned(known.lock());
            let taken = take(&entity, &order, &mut known, progress)?;
            tracing::info!(
                backup = %taken.id,
                bytes = taken.length(),
                copied = progress.copied.load(Ordering::Relaxed),
                "a backup was taken"
            );
            if then_prune {
                prune_after(repository.with(&lock), &entity, &retention);
            }
            Ok(JobOutcome {
                backup: taken.id,
                entries: None,
            })
        })
    }

    /// An id behind those that lie in the repository, and those that this process gave in another
    /// one.
    fn next_id(
        &self,
        repository: &BackupRepository,
        entity: &Entity,
    ) -> Result<BackupId, RepositoryError> {
        let last = repository.last_id()?;
        let mut jobs = unpoisoned(self.jobs.lock());
        let last = last.as_ref().max(jobs.last_id.as_ref());
        let id = BackupId::after(last, entity.now(), crate::clock::random());
        jobs.last_id = Some(id.clone());
        Ok(id)
    }

    /// Begins to verify a backup.
    ///
    /// # Errors
    /// [`Code::BackupRunning`], [`Code::BackupUnavailable`].
    pub fn verify(&self, _: &BackupPermit, asked: VerifyBackup) -> Result<BackupJobView, Refusal> {
        self.refuse_while_running()?;
        let entity = self.entity.get();
        let repository = self.open()?;
        let lock = repository.lock()?;
        let key = entity.log().key();
        let branch = LogBranch::Store(entity.store());
        let backup = repository.backup(asked.backup.as_deref(), &key, &branch)?;
        let id = backup.id().clone();
        self.begin("verify", Some(&id), move |progress| {
            let verifier = BackupVerifier {
                repository: &repository,
                lock: Some(&lock),
                key,
                cipher: None,
                identities: None,
            };
            let id = backup.id().clone();
            let entries = match verifier.verify(backup, progress)? {
                BackupVerification::Good(good) => {
                    repository.note_verified(&lock, &id, entity.now())?;
                    Some(good.entries)
                }
                BackupVerification::Unopened(_) => None,
            };
            Ok(JobOutcome {
                backup: id,
                entries,
            })
        })
    }

    /// Removes the backups that no rule keeps.
    ///
    /// # Errors
    /// [`Code::BackupRunning`], [`Code::BackupUnavailable`], [`Code::BackupDamaged`].
    pub fn prune(&self, _: &BackupPermit, asked: PruneBackups) -> Result<PrunedBackups, Refusal> {
        self.refuse_while_running()?;
        let (entity, repository) = (self.entity.get(), self.open()?);
        let lock = repository.lock()?;
        let (key, retention) = (entity.log().key(), self.retention(&entity)?);
        let done = prune(
            repository.with(&lock),
            &key,
            &retention,
            &LogBranch::Store(entity.store()),
            entity.now(),
            asked.dry_run,
        )?;
        if !asked.dry_run {
            prune_records(&entity, &repository)?;
        }
        Ok(done)
    }

    /// The backups, and the work on them.
    pub fn list(&self, _: &BackupPermit) -> BackupList {
        let entity = self.entity.get();
        let (key, branch) = (entity.log().key(), LogBranch::Store(entity.store()));
        let mut found = match self
            .open()
            .and_then(|repository| list(&repository, &key, None, &branch))
        {
            Ok(found) => found,
            Err(fault) => BackupList {
                repository: self.plan.path.display().to_string(),
                backups: vec![],
                foreign: vec![],
                fault: Some(fault.to_string()),
                running: None,
                ended: None,
            },
        };
        let jobs = unpoisoned(self.jobs.lock());
        found.running = jobs.running.as_ref().map(RunningJob::view);
        found.ended = jobs.ended.clone();
        found
    }

    /// When the last backup of this log was taken, and the last one that was found good. Reads
    /// manifests from the newest back until it has both.
    pub fn times(&self) -> BackupTimes {
        let entity = self.entity.get();
        let (key, branch) = (entity.log().key(), LogBranch::Store(entity.store()));
        let Ok(repository) = self.open() else {
            return BackupTimes::default();
        };
        let taken = |id: &BackupId| {
            let backup = repository.read_backup(id, &key).ok()?;
            let is_in = branch.contains(backup.log()).inspect_err(|error| {
                tracing::error!(%error, backup = %id, "whether a backup is of this log is not known");
            });
            is_in.ok()?.then(|| backup.taken())
        };
        let ids = repository.manifest_names().unwrap_or_default().ids;
        let newest = || ids.iter().rev();
        BackupTimes {
            last: newest().find_map(taken),
            verified: newest()
                .filter(|id| repository.verified(id).is_some())
                .find_map(taken),
        }
    }

    /// The oldest version of the journal secret that a side record needs; 0 if there is none.
    pub fn oldest_journal_secret(&self) -> u32 {
        let needed = self.entity.get().journal_versions();
        let needed = needed.inspect_err(|error| {
            tracing::error!(%error, "the versions of the journal secret that are needed are not known");
        });
        let oldest = needed.ok().and_then(|versions| versions.first().copied());
        oldest.unwrap_or(0)
    }

    /// The number of the work that ended last.
    pub fn ended(&self) -> Option<u64> {
        unpoisoned(self.jobs.lock())
            .ended
            .as_ref()
            .map(|job| job.job)
    }

    /// Stops the work under way and waits until it has ended.
    pub fn end(&self) {
        let thread = {
            let mut jobs = unpoisoned(self.jobs.lock());
            if let Some(running) = &jobs.running {
                running.progress.stop();
            }
            jobs.thread.take()
        };
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// The repository, which must hold this entity's backups, sealed if the configuration says so.
    fn open(&self) -> Result<BackupRepository, RepositoryError> {
        self.plan.open(self.entity.get().log().owner())
    }

    /// The same; it is made in an empty folder if it is the store's first one, or another one was
    /// asked for.
    fn open_or_make(
        &self,
        entity: &Entity,
        is_asked_for: bool,
    ) -> Result<BackupRepository, RepositoryError> {
        let path = &self.plan.path;
        let before = entity.store().backup_repository()?.map(RepositoryId);
        match self.open() {
            Err(RepositoryError::Empty(_)) if before.is_none() || is_asked_for => {
                let id = RepositoryId(crate::clock::random());
                let is_sealed = self.plan.recipients.is_some();
                BackupRepository::make(path, entity.log().owner(), id, is_sealed)
            }
            Err(RepositoryError::Empty(_)) => Err(RepositoryError::Lost(path.clone())),
            Ok(found) if before.is_some_and(|before| before != found.id()) && !is_asked_for => {
                Err(RepositoryError::Other(path.clone()))
            }
            found => found,
        }
    }

    /// Has the second place begin a segment before a backup, unless it did so lately: segments go
    /// whole, once the oldest backup is behind them.
    fn turn_segment(&self, entity: &Entity) {
        let now = entity.now();
        let mut jobs = unpoisoned(self.jobs.lock());
        let lately = |began: Timestamp| now.duration_since(began).abs() < SEGMENT;
        if !jobs.segment.is_some_and(lately) {
            jobs.segment = Some(now);
            entity.log().turn_second();
        }
    }

    /// What the configuration keeps; nothing outlives the shortest retention of the register, and
    /// what holds the erased nothing but its day.
    fn retention(&self, entity: &Entity) -> Result<BackupRetention, RepositoryError> {
        let years = entity.register().shortest_retention_years();
        let hours = years.map(|years| i64::from(years) * YEAR_HOURS);
        let store = entity.store();
        let erasure = store.last_erasure()?;
        let erased = erasure
            .map(|erasure| place_of(store, erasure))
            .transpose()?;
        Ok(BackupRetention {
            longest: hours.map(SignedDuration::from_hours),
            erased: erased.flatten(),
            ..self.plan.retention
        })
    }

    fn refuse_while_running(&self) -> Result<(), Refusal> {
        match &unpoisoned(self.jobs.lock()).running {
            None => Ok(()),
            Some(running) => {
                let RunningJob { view, .. } = running;
                let backup = view.backup.as_deref().unwrap_or_default();
                let why = format!("the server works on the backup {backup} ({})", view.kind);
                Err(Refusal::new(Code::BackupRunning, why))
            }
        }
    }

    fn begin(
        &self,
        kind: &'static str,
        backup: Option<&BackupId>,
        work: impl FnOnce(&BackupProgress) -> Result<JobOutcome, Refusal> + Send + 'static,
    ) -> Result<BackupJobView, Refusal> {
        let mut jobs = unpoisoned(self.jobs.lock());
        // The repository's lock, which the caller holds, admits one job.
        jobs.begun += 1;
        let view = BackupJobView {
            job: jobs.begun,
            kind: kind.to_owned(),
            backup: backup.map(BackupId::to_string),
            state: "running".to_owned(),
            done: 0,
            all: 0,
            copied: 0,
            milliseconds: 0,
            code: None,
            why: None,
            entries: None,
        };
        let progress = Arc::new(BackupProgress::default());
        let running = RunningJob {
            view: view.clone(),
            began: Instant::now(),
            progress: progress.clone(),
        };
        jobs.running = Some(running);
        let shared = self.jobs.clone();
        let run = move || {
            let work = std::panic::AssertUnwindSafe(|| work(&progress));
            let outcome = std::panic::catch_unwind(work);
            let bug = |_| {
                Err(Refusal::new(
                    Code::Internal,
                    "an internal error; see the log",
                ))
            };
            finish(&shared, outcome.unwrap_or_else(bug));
        };
        let thread = std::thread::Builder::new().name("backup".into()).spawn(run);
        match thread {
            Ok(thread) => jobs.thread = Some(thread),
            Err(error) => {
                jobs.running = None;
                let why = format!("the system starts no thread: {error}");
                return Err(Refusal::new(Code::BackupUnavailable, why));
            }
        }
        Ok(view)
    }
}

/// Notes how a job ended.
fn finish(jobs: &Mutex<KeeperJobs>, outcome: Result<JobOutcome, Refusal>) {
    let mut jobs = unpoisoned(jobs.lock());
    let Some(running) = jobs.running.take() else {
        return;
    };
    let view = running.view();
    jobs.ended = Some(match outcome {
        Ok(JobOutcome { backup, entries }) => BackupJobView {
            state: "done".to_owned(),
            backup: Some(backup.to_string()),
            entries,
            ..view
        },
        Err(refusal) => {
            let kind = &view.kind;
            tracing::error!(code = %refusal.code(), why = %refusal, kind, "the work on a backup failed");
            BackupJobView {
                state: "failed".to_owned(),
                code: Some(refusal.code().to_string()),
                why: Some(refusal.to_string()),
                ..view
            }
        }
    });
}

/// Prunes after a backup of the timer; a failure is logged, because the backup is taken all the
/// same.
fn prune_after(place: WritableRepository<'_>, entity: &Entity, retention: &BackupRetention) {
    let key = entity.log().key();
    let branch = LogBranch::Store(entity.store());
    match prune(place, &key, retention, &branch, entity.now(), false) {
        Ok(pruned) if pruned.removed.is_empty() => {}
        Ok(pruned) => tracing::info!(
            removed = pruned.removed.len(),
            bytes = pruned.bytes,
            "backups that no rule keeps were removed"
        ),
        Err(error) => {
            tracing::error!(%error, "no backup was removed");
            return;
        }
    }
    if let Err(refusal) = prune_records(entity, place.repository) {
        tracing::error!(code = %refusal.code(), why = %refusal, "not every side record that no backup needs was removed");
    }
}
