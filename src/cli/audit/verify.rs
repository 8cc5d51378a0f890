//! `cloison audit verify`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use jiff::Timestamp;

use super::{LogArgs, LogKeyArgs, unreadable};
use crate::audit::verify::{self, LogExpectations, LogReport, LogsReport};
use crate::terminal::files::replace_file;
use crate::terminal::{CommandError, print, print_json, progress};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{SignatureKind, Verifier};

/// Check a whole log: signatures, tree, every entry, and that it contains what was seen before
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit verify --client clients/auditor.toml --register register.toml\n  \
    cloison audit verify ./copy --register register.toml --seen last-month.checkpoint\n  \
    cloison audit verify /backup/vault \\\n    \
    --key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\n\n\
    Keep the checkpoint of each check (`--keep FILE`) and name it with `--seen` at the next one: a log that was \
    rewritten, even with its key, does not contain what you saw. The command warns when the times of entries run backwards: \
    such a log is complete, but its clock was wrong. Exit codes: 0 good, with or without warnings; 1 a finding, or the log \
    could not be read.")]
pub struct AuditVerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    keys: LogKeyArgs,
    /// A checkpoint kept from before; the log must contain it (repeatable)
    #[arg(long, value_name = "FILE")]
    seen: Vec<PathBuf>,
    /// When the log is good, write its last checkpoint here for the next time; the log must contain
    /// the one that is already there
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// The verifier key of a witness or of the other side (`name+id+key`), whose cosignatures count
    /// beside those of the register's witnesses; repeatable
    #[arg(long, value_name = "KEY", value_parser = cosigner)]
    witness: Vec<Verifier>,
    /// How many of the witnesses must have cosigned the last checkpoint
    #[arg(long, value_name = "K", default_value_t = 0)]
    require: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn cosigner(text: &str) -> Result<Verifier, String> {
    let key = Verifier::parse(text).map_err(|error| error.to_string())?;
    match key.kind() {
        SignatureKind::Cosigner => Ok(key),
        SignatureKind::Log | SignatureKind::Keeper => {
            Err("this is a log's key and not a cosigner's: name it with --key".into())
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read, or anything is wrong with it.
pub fn run(args: &AuditVerifyArgs) -> Result<(), CommandError> {
    let read =
        |path: &PathBuf| std::fs::read(path).map_err(|error| CommandError::file(path, &error));
    // The kept checkpoint is replaced only by one that contains it.
    let kept = args
        .keep
        .as_ref()
        .filter(|path| path.exists())
        .map(read)
        .transpose()?;
    let seen: Vec<_> = args.seen.iter().map(read).collect::<Result<_, _>>()?;
    let wanted = LogExpectations {
        keys: args.keys.keys()?,
        cosigners: args.witness.clone(),
        witnesses: args.keys.witnesses()?,
        required: args.require,
        seen: seen.into_iter().chain(kept.clone()).collect(),
    };
    let source = args.log.open()?;
    let started = Instant::now();
    let bar = progress(Some(0));
    let mut shown = |log: &str, done: u64, all: u64| {
        bar.set_length(all);
        bar.set_position(done);
        bar.set_message(format!("{} entries of {log}", HumanCount(done)));
    };
    let report = verify::all(&*source, &wanted, &mut shown);
    bar.finish_and_clear();
    let report = report.map_err(|error| unreadable(&error))?;
    if args.json {
        print_json(
            &serde_json::json!({"good": report.is_good(), "logs": report.logs, "findings": report.findings}),
        )?;
    } else {
        print(text(&report, started.elapsed()))?;
    }
    match (report.is_good(), &args.keep) {
        (true, None) => Ok(()),
        (true, Some(path)) => keep(&report, kept.as_deref(), path),
        (false, _) => Err(fault(&report)),
    }
}

/// Replaces the kept checkpoint by the last verified one, which contains it.
fn keep(report: &LogsReport, kept: Option<&[u8]>, path: &Path) -> Result<(), CommandError> {
    let Some(last) = report.logs.last() else {
        return Ok(());
    };
    if let Some((before, _)) = kept.and_then(|note| Checkpoint::read(note).ok()) {
        // The log of its name contains it, or the report would not be good. Each later one contains
        // it, too, if it begins with the last checkpoint of the one before.
        let mut later = report
            .logs
            .iter()
            .skip_while(|log| log.origin != before.origin)
            .skip(1);
        if let Some(anew) = later.find(|log| log.continues.is_none()) {
            return Err(CommandError::new(
                format_args!(
                    "{} does not begin with the last checkpoint of the log before it: the one that is kept, of {}, stays",
                    anew.origin, before.origin
                ),
                "keep that file, name it with --seen from now on, and another one with --keep",
            ));
        }
        if last.origin != before.origin {
            eprintln!(
                "the checkpoint of {} replaces that of {}, which it contains",
                last.origin, before.origin
            );
        }
    }
    // The kept checkpoint is evidence, so the new one replaces it at once.
    replace_file(path, &last.note)
}

fn fault(report: &LogsReport) -> CommandError {
    let what = match report.all_findings().count() {
        _ if report.logs.is_empty() => "there is no log here".to_owned(),
        1 => "the log is not good: one finding".to_owned(),
        count => format!("the log is not good: {count} findings"),
    };
    CommandError::new(
        what,
        "keep this copy and every checkpoint you have, and compare with the other side's and the witnesses'",
    )
}

fn text(report: &LogsReport, took: Duration) -> String {
    let mut lines: Vec<String> = vec![];
    for log in &report.logs {
        lines.push(log_text(log));
    }
    for (origin, finding) in report.all_findings() {
        let within = if origin.is_empty() {
            String::new()
        } else {
            format!("{origin}: ")
        };
        lines.push(format!("WRONG  {within}{finding}"));
    }
    for (origin, place) in report.all_warnings() {
        lines.push(format!(
            "WARNING  {origin}: {place}: the clock was set back, or had run ahead before"
        ));
    }
    if report.logs.iter().any(|log| log.more_findings) {
        lines.push("WRONG  and more of the kind".to_owned());
    }
    if report.is_good() {
        let entries: u64 = report.logs.iter().map(|log| log.checked).sum();
        lines.push(format!(
            "good: {} entries, every one of them under a signed checkpoint, in {:.1} s",
            HumanCount(entries),
            took.as_secs_f64()
        ));
    }
    lines.join("\n")
}

fn log_text(log: &LogReport) -> String {
    let mut text = format!(
        "{}\n  {} entries, root {}",
        log.origin,
        HumanCount(log.size),
        log.root
    );
    if let (Some(from), Some(to)) = (&log.earliest, &log.latest) {
        text += &format!("\n  from {from} to {to}");
    }
    let events: Vec<String> = log
        .events
        .iter()
        .map(|(event, count)| format!("{event} {}", HumanCount(*count)))
        .collect();
    if !events.is_empty() {
        text += &format!("\n  {}", events.join(", "));
    }
    for cosigned in &log.cosigned {
        let time = Timestamp::from_second(cosigned.time.try_into().unwrap_or(0))
            .unwrap_or(Timestamp::UNIX_EPOCH);
        text += &format!("\n  cosigned by {} at {time}", cosigned.name);
    }
    for size in &log.contains {
        text += &format!(
            "\n  contains the checkpoint over {} entries that was seen before",
            HumanCount(*size)
        );
    }
    if let Some(before) = &log.continues {
        text += &format!("\n  continues {before}");
    }
    if log.resumed {
        text += "\n  begins after a restore that lost entries: see entry 0";
    }
    if log.uncovered > 0 {
        text += &format!(
            "\n  {} more entries at its end that no checkpoint covers yet",
            log.uncovered
        );
    }
    text
}
