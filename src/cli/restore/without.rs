//! The part of `cloison restore` that is about a restore without places.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RestoreSource;
use crate::audit::log::KnownLoss;
use crate::audit::origin::{TrustedLogKey, owner_and_shard};
use crate::audit::source;
use crate::audit::verify::{self, LogExpectations};
use crate::backup::manifest::BackupManifest;
use crate::cli::audit::offline::{NamedLog, OfflineLog, PATIENCE, failed, trouble};
use crate::cli::backup::BackupSide;
use crate::clock::{Clock as _, SystemClock};
use crate::config::SECOND_PLACE_NAME;
use crate::journal::read::PlaceLog;
use crate::register::Register;
use crate::restore::clear::floors;
use crate::restore::places::furthest;
use crate::restore::without::{self, AllowedLoss, OtherSide, UNKNOWN_CHUNKS};
use crate::store::{RowBatch, Store};
use crate::terminal::CommandError;
use crate::terminal::files::read_text;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::source::{LogSource, LogSourceError};

/// How a store is restored although no place holds the log after its backup.
#[derive(clap::Args)]
pub(super) struct WithoutPlacesArgs {
    /// Restore although no place holds the log after the backup, as two operators allow by this
    /// statement: what came after it is lost
    #[arg(long, value_name = "STATEMENT")]
    without_places: Option<PathBuf>,
    /// With --without-places: the other side's log (a copy, or its store), which names epochs of
    /// the time after the backup
    #[arg(long, value_name = "LOG", requires = "without_places")]
    other_log: Option<PathBuf>,
    /// With --without-places: a checkpoint of this side's log that somebody remembers, such as a
    /// file of the other side's `[audit] cosigned`; repeatable
    #[arg(long, value_name = "FILE", requires = "without_places")]
    seen: Vec<PathBuf>,
    /// With --without-places: a place that the configuration states and that is lost: `second`, or
    /// the name of an `[[audit.follower]]`. Each has to be named; repeatable
    #[arg(long, value_name = "PLACE", requires = "without_places")]
    lost: Vec<String>,
}

/// What those allow, and name.
pub(super) struct AllowedArgs {
    loss: AllowedLoss,
    other: OtherSide,
    seen: Vec<(PathBuf, String)>,
}

impl WithoutPlacesArgs {
    /// Checks the statement against the register and the backup. `None` where a place is there.
    ///
    /// # Errors
    /// When there is neither a place nor a statement, or both, or the statement allows something
    /// else.
    pub(super) fn allow(
        &self,
        source: &RestoreSource,
    ) -> Result<Option<AllowedArgs>, CommandError> {
        let (side, backup) = (&source.side, &source.backup);
        let Some(file) = &self.without_places else {
            if !source.places.is_empty() {
                return Ok(None);
            }
            let what = "no place is there that holds the log after the backup";
            return Err(CommandError::usage(what, no_place(source)));
        };
        if let Some(place) = source.places.first() {
            return Err(CommandError::usage(
                format_args!(
                    "a place is there that holds {} entries of {}",
                    place.checkpoint.size, place.checkpoint.origin
                ),
                "restore from it: leave --without-places out. If people decided that it does not count, move it away first",
            ));
        }
        self.check_lost(side)?;
        let text = read_text(file)?;
        let now = SystemClock.now();
        let loss = without::allow(text.trim_end(), &side.register, &side.role, backup, now);
        let loss = loss.map_err(|refusal| {
            let hint = format!(
                "nothing was restored. Two operators sign for this side and this backup: {}",
                new_statement(source)
            );
            CommandError::new(refusal, hint)
        })?;
        let seen = self.seen.iter();
        let seen = seen.map(|file| Ok((file.clone(), read_text(file)?)));
        Ok(Some(AllowedArgs {
            loss,
            other: other_side(self.other_log.as_ref(), source)?,
            seen: seen.collect::<Result<_, CommandError>>()?,
        }))
    }
}

impl WithoutPlacesArgs {
    /// Refuses to pass over a place that the configuration states, unless it is named as lost: it
    /// may hold all that the backup lacks, wherever it lies.
    fn check_lost(&self, side: &BackupSide) -> Result<(), CommandError> {
        let stated = stated_places(side);
        if let Some(unknown) = self.lost.iter().find(|name| !stated.contains(name)) {
            return Err(CommandError::usage(
                format_args!("the configuration states no place {unknown}"),
                format_args!("it states: {}", listed(&stated)),
            ));
        }
        let (_, missing): (Vec<_>, Vec<_>) = stated
            .into_iter()
            .partition(|name| self.lost.contains(name));
        if missing.is_empty() {
            return Ok(());
        }
        let flags: Vec<_> = missing
            .iter()
            .map(|name| format!("--lost {name}"))
            .collect();
        Err(CommandError::usage(
            format_args!(
                "the configuration states places that may hold what came after the backup: {}; nothing was restored",
                listed(&missing)
            ),
            format_args!(
                "bring the folder of each and name it with --from instead of --without-places (`[audit] followed` at the \
                 other side, `--to` of `cloison audit follow`). Only for those that are lost for good add {}",
                flags.join(" ")
            ),
        ))
    }
}

/// Refuses places of which none reaches what was published when the backup was taken: old copies,
/// which say nothing of what came later.
pub(super) fn refuse_stale(
    places: &[PlaceLog],
    manifest: &BackupManifest,
) -> Result<(), CommandError> {
    let Some(place) = furthest(places) else {
        return Ok(());
    };
    let note = manifest.checkpoint.as_deref().unwrap_or_default();
    let Ok((published, _)) = Checkpoint::read(note.as_bytes()) else {
        return Ok(());
    };
    let shard = owner_and_shard(&published.origin).map(|(_, shard)| shard);
    if place.end() >= shard.map(|shard| (shard, published.size)) {
        return Ok(());
    }
    Err(CommandError::new(
        format_args!(
            "the place holds {} entries of {}, and {} of {} were published before the backup was taken: it is an old copy of a \
             place",
            place.checkpoint.size, place.checkpoint.origin, published.size, published.origin
        ),
        "name the place itself with --from; nothing was restored",
    ))
}

/// The places that a side's configuration states, as `--lost` names them.
fn stated_places(side: &BackupSide) -> Vec<String> {
    let log = side.config.log();
    let second = log.second.iter().map(|_| SECOND_PLACE_NAME.to_owned());
    let followers = log.places.followers.iter().map(|one| one.name.clone());
    second.chain(followers).collect()
}

fn listed(places: &[String]) -> String {
    if places.is_empty() {
        return "none".to_owned();
    }
    places.join(", ")
}

/// What to do where no place is there.
fn no_place(source: &RestoreSource) -> String {
    let stated = stated_places(&source.side);
    format!(
        "name one with --from PLACE. The configuration states: {}; a follower's place is the folder that `[audit] followed` \
         at the other side names, or `--to` of its `cloison audit follow`. Where none is left, two operators sign for what \
         is lost: {}, then --without-places loss.jws",
        listed(&stated),
        new_statement(source)
    )
}

/// The command that writes the statement for a backup.
fn new_statement(source: &RestoreSource) -> String {
    format!(
        "`cloison statement new --register register.toml --restore-without-places {}:{} --case REFERENCE --out loss.jws`",
        source.side.role.local_name(),
        source.backup.id()
    )
}

/// What the other side's log knows of the time after the backup; nothing where it is not named.
///
/// # Errors
/// When it cannot be read.
pub(super) fn other_side(
    log: Option<&PathBuf>,
    source: &RestoreSource,
) -> Result<OtherSide, CommandError> {
    let Some(path) = log else {
        return Ok(OtherSide::default());
    };
    let hint = "name the other side's store, or a copy of its log (`cloison audit copy`)";
    let unusable = |error: LogSourceError| CommandError::new(error, hint);
    let log = source::open(path).map_err(unusable)?;
    verify(&*log, source)?;
    OtherSide::read(&*log, source.backup.taken()).map_err(unusable)
}

/// Verifies that a log is the other side's: every entry, under the key that the register states.
fn verify(log: &dyn LogSource, source: &RestoreSource) -> Result<(), CommandError> {
    let hint = "`cloison audit verify` says what is wrong with it";
    let register = &source.side.register;
    let peers = source.side.role.peers(register).into_iter();
    let keys = peers.map(|(role, key)| TrustedLogKey::Owner(role.owner(&register.deployment), key));
    let wanted = LogExpectations {
        keys: keys.collect(),
        cosigners: vec![],
        witnesses: vec![],
        required: 0,
        seen: vec![],
    };
    let report = verify::all(log, &wanted, &mut |_, _, _| {})
        .map_err(|error| CommandError::new(error, hint))?;
    if report.is_good() {
        return Ok(());
    }
    let what = "the log that --other-log names is not a good log of the other side";
    Err(CommandError::new(what, hint))
}

impl AllowedArgs {
    /// Ends the shard of the restored store, begins the next one, and writes the entry about the
    /// loss with all that follows from it. The store is closed on return.
    ///
    /// # Errors
    /// When the log does not go on or cannot be written.
    pub(super) fn record(
        self,
        store: Store,
        config: &Path,
        register: &Register,
    ) -> Result<(), CommandError> {
        self.loss
            .check_signers(&store, &self.other)
            .map_err(|refusal| {
                CommandError::new(
                    refusal,
                    "have two other operators sign; nothing was restored",
                )
            })?;
        let mut batch = RowBatch::default();
        let put = floors(&store, &mut batch, UNKNOWN_CHUNKS);
        put.and_then(|()| store.commit(batch)).map_err(failed)?;
        let offline = OfflineLog {
            store: Arc::new(store),
            named: NamedLog::load(config)?,
            seen: self.seen,
        };
        let opened = offline.open(Some(KnownLoss::WithoutPlaces))?;
        let (log, appender) = opened.map_err(failed)?;
        let writer = offline.writer(&log, appender)?;
        let now = SystemClock.now();
        let recorded = without::record(self.loss, &offline.store, register, &self.other, now);
        let (event, changes) = recorded.map_err(failed)?;
        let receipt = writer.record(now, event, vec![], changes).map_err(failed)?;
        if log.signed(&receipt, PATIENCE).is_none() {
            return Err(failed(trouble(&log, "the entry was not published in time")));
        }
        drop((writer, log));
        close(offline.store)
    }
}

/// Waits until the log's threads have let go of the store, and closes it.
fn close(mut store: Arc<Store>) -> Result<(), CommandError> {
    let begun = Instant::now();
    loop {
        store = match Arc::try_unwrap(store) {
            Ok(store) => {
                drop(store);
                return Ok(());
            }
            Err(shared) if begun.elapsed() < PATIENCE => shared,
            Err(_) => return Err(failed("the store is still in use")),
        };
        std::thread::sleep(Duration::from_millis(10));
    }
}
