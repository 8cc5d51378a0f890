//! `cloison audit resume`: lets a log go on after a restore that lost entries, or when the second
//! place is lost.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::offline::{NamedLog, OfflineLog, PATIENCE, failed, trouble};
use crate::audit::AuditEvent;
use crate::audit::log::{KnownLoss, LogError};
use crate::backup::manifest::BackupLogHead;
use crate::cli::assent::{Assent, Irreversible};
use crate::clock::{Clock as _, SystemClock};
use crate::journal::read::PlaceLog;
use crate::register::Register;
use crate::restore::head_of;
use crate::restore::without::{self, AllowedLoss, OtherSide};
use crate::store::Store;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// Let a log go on after its store was restored from a backup, or after its second place was lost
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison audit resume --after-restore --config vault.toml\n  \
    cloison audit resume --after-restore --statement loss.jws --config vault.toml\n  \
    cloison audit resume --after-restore --statement loss.jws --seen vault-seen.checkpoint \\\n    \
    --config vault.toml\n  \
    cloison audit resume --second-lost --config vault.toml\n\n\
    Stop the process first. Where a place holds what the store lacks, `cloison restore --in-place` brings it: use this only for \
    what is lost for good. After a restore the shard that lost entries is never extended again; the log goes on in a new \
    one, whose first entry says what was lost. Before that, see docs/operations.md for what else an older store lacks, and \
    tell the commission. When the second place is empty (lost, or new in the configuration), this machine cannot tell whether \
    the store is the newest one: compare it with what a witness or the other side has cosigned. The log says that it went on."
)]
pub struct AuditResumeArgs {
    /// The configuration of the vault or the node (`vault.toml`, `node.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Go on although the store was restored and lost entries
    #[arg(long, required_unless_present = "second_lost")]
    after_restore: bool,
    /// Go on although the second place has nothing
    #[arg(long, conflicts_with = "after_restore")]
    second_lost: bool,
    /// With `--after-restore`: a checkpoint of this log that the other side remembers (a file of
    /// its `[audit] cosigned`), where the second place has an older one
    #[arg(long, value_name = "FILE", requires = "after_restore")]
    seen: Option<PathBuf>,
    /// With `--after-restore`: the statement by which two operators allow it (`cloison statement
    /// new --resume-from-copy`); without it the command says for what they have to sign
    #[arg(long, value_name = "FILE", requires = "after_restore")]
    statement: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to resume, or the log cannot be written.
pub fn run(args: &AuditResumeArgs) -> Result<(), CommandError> {
    let place = read_place(args)?;
    if args.second_lost {
        go_on_without_second(args, &place)
    } else {
        go_on_after_restore(args, &place)
    }
}

/// A log that did not go on, with its open store.
fn read_place(args: &AuditResumeArgs) -> Result<OfflineLog, CommandError> {
    let seen = args.seen.as_ref();
    let seen = seen.map(|file| Ok::<_, CommandError>((file.clone(), read_text(file)?)));
    let seen = seen.transpose()?;
    let named = NamedLog::load(&args.config)?;
    if named.log.second.is_none() && named.asks_nobody() && seen.is_none() {
        return Err(CommandError::new(
            "the configuration names no second place (`[audit] second`) and no witness, so nothing is known to be lost",
            "start the process: it goes on where the store ends",
        ));
    }
    if !Store::is_there(&named.store) {
        return Err(CommandError::new(
            format_args!("there is no store at {}", named.store.display()),
            "mount its disk, or put the backup there first (docs/operations.md#backups)",
        ));
    }
    let store = Store::open(&named.store, &named.owner).map_err(failed)?;
    Ok(OfflineLog {
        store: Arc::new(store),
        named,
        seen: seen.into_iter().collect(),
    })
}

/// Refuses to give up what the second place still holds: that is brought back, and nothing is lost.
fn refuse_where_nothing_is_lost(place: &OfflineLog) -> Result<(), CommandError> {
    let Some(folder) = &place.named.log.second else {
        return Ok(());
    };
    let head = head_of(&place.store).map_err(failed)?;
    // A place that cannot be read brings nothing back.
    let Ok(held) = PlaceLog::open(folder, &place.named.owner, &place.key()?, None) else {
        return Ok(());
    };
    let goes_on = head.is_some_and(|head| {
        held.end() > head.position() && matches!(held.contains(&head.checkpoint()), Ok(Some(true)))
    });
    if !goes_on {
        return Ok(());
    }
    Err(CommandError::new(
        format_args!(
            "the second place {} holds what this store lacks: nothing is lost",
            folder.display()
        ),
        "`cloison restore --in-place --config FILE` brings it. Where that says that the place is damaged, move the place's \
         folders away and leave its file `checkpoint`",
    ))
}

/// Checks that two operators allow to go on from this very store. Without their statement, says for
/// what they have to sign.
fn allow(
    args: &AuditResumeArgs,
    place: &OfflineLog,
    register: &Register,
) -> Result<AllowedLoss, CommandError> {
    let head = head_of(&place.store).map_err(failed)?;
    let position = head.as_ref().and_then(BackupLogHead::position);
    let kept = head.zip(position).map(|(head, (shard, size))| {
        let root = data_encoding::HEXLOWER.encode(&head.root);
        format!("{shard}:{size}:{root}")
    });
    let kept = kept.unwrap_or_else(|| "none".to_owned());
    let entity = place.named.role.local_name();
    let Some(file) = &args.statement else {
        return Err(CommandError::usage(
            "two operators have to sign for what is lost; nothing was done",
            format_args!(
                "`cloison statement new --register {} --resume-from-copy {entity}:{kept} --case REFERENCE --out loss.jws`, \
                 `cloison statement sign` by both, then the same command with --statement loss.jws",
                place.named.register.file.display()
            ),
        ));
    };
    let text = read_text(file)?;
    let allowed = without::allow_copy(
        text.trim_end(),
        register,
        (&entity, &kept),
        SystemClock.now(),
    )
    .and_then(|allowed| {
        allowed.check_signers(&place.store, &OtherSide::default())?;
        Ok(allowed)
    });
    allowed.map_err(|refusal| {
        let hint = "`cloison statement check` says what the statement allows, and who has signed it; nothing was done";
        CommandError::new(refusal, hint)
    })
}

/// Why a log does not go on by this command, and by which one it does.
fn not_resumed(error: LogError) -> CommandError {
    let hint = match &error {
        LogError::Behind { went_on: false, .. } => {
            "nothing was done. Bring what is missing from a place that holds it: `cloison restore --in-place --config FILE --from \
             PLACE`; only for what is lost for good: `cloison audit resume --after-restore`"
        }
        LogError::Behind { .. } => {
            "nothing was done. This store's log went on without them: restore a backup with a place that holds them, `cloison restore \
             REPOSITORY --config FILE --from PLACE`; only for what is lost for good: `cloison audit resume --after-restore`"
        }
        LogError::SecondLost { .. } => {
            "nothing was done. Where a follower's folder holds more than the store: `cloison restore --in-place --config FILE --from \
             PLACE`; then, if the second place is lost or new: `cloison audit resume --second-lost`"
        }
        _ => return failed(error),
    };
    CommandError::new(error, hint)
}

/// Begins a new shard, whose first entry says what was lost.
fn go_on_after_restore(args: &AuditResumeArgs, place: &OfflineLog) -> Result<(), CommandError> {
    let (origin, published, found) = match place.open(None)? {
        Err(LogError::Behind {
            origin,
            published,
            found,
            ..
        }) => (origin, published, found),
        Err(error) => return Err(not_resumed(error)),
        Ok(_) => {
            return Err(CommandError::new(
                "there is nothing to resume: the store leads to the checkpoint that the second place and those who cosign have",
                "start the process",
            ));
        }
    };
    refuse_where_nothing_is_lost(place)?;
    let register = crate::serve::open_register(&place.named.register)?;
    let allowed = allow(args, place, &register)?;
    args.assent.obtain(&Irreversible {
        changes: format!("{origin} had {published} published entries, and {found}. The log goes on without them."),
        lost: "The shard that lost entries is never extended again, and the new one says so for good. Earlier orders are over, \
               every sector is closed until its epoch is confirmed, and releases wait until erasures were lodged again.",
    })?;
    let (log, appender) = place.open(Some(KnownLoss::AfterRestore))?.map_err(failed)?;
    // The writer writes the entry about the loss before anything else.
    let writer = place.writer(&log, appender)?;
    let (now, nothing) = (SystemClock.now(), OtherSide::default());
    let recorded = without::record(allowed, &place.store, &register, &nothing, now);
    let (event, changes) = recorded.map_err(failed)?;
    let receipt = writer.record(now, event, vec![], changes).map_err(failed)?;
    let resumed = log.signed(&receipt, PATIENCE);
    let resumed =
        resumed.ok_or_else(|| failed(trouble(&log, "the entry was not written in time")))?;
    drop(writer);
    let new = &resumed.checkpoint.origin;
    if args.json {
        print_json(&json!({"lost": {"log": origin, "entries": published}, "log": new}))
    } else {
        print(format_args!(
            "{origin} had {published} published entries, and {found}.\n\
             The log goes on as {new}; its first entry says so. Orders that were issued before are over, every sector is closed, \
             and nothing is released, until people have confirmed what they know: start the process, then `cloison restore state`."
        ))
    }
}

/// Logs that the second place had nothing, and fills it with the checkpoint over that entry.
fn go_on_without_second(args: &AuditResumeArgs, place: &OfflineLog) -> Result<(), CommandError> {
    let (origin, published) = match place.open(None)? {
        Err(LogError::SecondLost {
            origin, published, ..
        }) => (origin, published),
        Err(error) => return Err(not_resumed(error)),
        Ok(_) => {
            return Err(CommandError::new(
                "the second place has what it should have",
                "start the process",
            ));
        }
    };
    args.assent.obtain(&Irreversible {
        changes: format!(
            "The second place has nothing, as where its disk is not mounted; {origin} goes on from {published} published \
             entries."
        ),
        lost: "Whether more were published can no longer be told here; the log says so for good.",
    })?;
    let (log, appender) = place.open(Some(KnownLoss::SecondLost))?.map_err(failed)?;
    let last = log.latest();
    let last = last.ok_or_else(|| failed("the store has no checkpoint"))?;
    let writer = place.writer(&log, appender)?;
    let event = AuditEvent::SecondLost {
        checkpoint: last.note.clone(),
    };
    let receipt = writer
        .record(SystemClock.now(), event, vec![], vec![])
        .map_err(failed)?;
    let published = log.signed(&receipt, PATIENCE);
    let published =
        published.ok_or_else(|| failed(trouble(&log, "the entry was not published in time")))?;
    drop(writer);
    let (size, origin) = (published.checkpoint.size, &published.checkpoint.origin);
    if args.json {
        print_json(&json!({"log": origin, "entries": size}))
    } else {
        print(format_args!(
            "The second place had nothing. It has the checkpoint over {size} entries of {origin} now; the last of them says so. \
             Start the process now."
        ))
    }
}
