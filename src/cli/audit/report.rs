//! `cloison audit report`: writes and checks the annex of an inspection's minutes.

use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use minijinja::{Environment, context};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LogArgs, LogKeyArgs, each_entry, head, unreadable};
use crate::cli::inputs::{not_written, read_register, write_new};
use crate::client::path;
use crate::inspection::figures::{FigureCounter, InspectionFigures};
use crate::inspection::object::InspectionObject;
use crate::inspection::report::{InspectionReport, ReportStatement, SignedReport, check};
use crate::keys::file::write_private;
use crate::register::Register;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, open_client, print, print_json, progress};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::source::LogSource;
use crate::tlog::witness::KnownLogs as _;

/// The printable page.
const PAGE: &str = include_str!("report/report.html");
/// Its words, by language.
const WORDS: &str = include_str!("report/words.json");

/// Write the annex of an inspection's minutes, signed, or check one
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit report --inspection 7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d \\\n    \
    --client clients/auditor.toml --output minutes\n  \
    cloison audit report --check minutes.json --register register.toml ./copy\n\n\
    It writes minutes.json, signed with the key of the log's checkpoints, and minutes.html, the same to be printed. --check \
    verifies the signature and the checkpoint; with a copy of the log (or a store) it also counts the figures again.")]
pub struct AuditReportArgs {
    /// The inspection's id
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    inspection: Option<Uuid>,
    /// Write to this path, with .json and .html behind it; existing files are never overwritten
    #[arg(long, short, value_name = "PATH", requires = "inspection")]
    output: Option<PathBuf>,
    /// The language of the page
    #[arg(long, value_name = "LANGUAGE", value_parser = ["en", "fr"], default_value = "en")]
    language: String,
    /// Check this report instead
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    #[command(flatten)]
    keys: LogKeyArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the server gives no report, or the report is not valid.
pub fn run(args: &AuditReportArgs) -> Result<(), CommandError> {
    match (&args.check, args.inspection) {
        (Some(file), _) => verify(args, file),
        (None, Some(id)) => fetch(args, id),
        (None, None) => Err(CommandError::usage(
            "no inspection is named",
            "give --inspection ID; `cloison audit inspection list` lists them",
        )),
    }
}

fn fetch(args: &AuditReportArgs, id: Uuid) -> Result<(), CommandError> {
    let Some(file) = &args.log.client else {
        return Err(CommandError::usage(
            "no server is named",
            "give --client FILE: the auditor's client file for the vault or node",
        ));
    };
    let with = |output: &Path, end: &str| {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(end);
        output.with_file_name(name)
    };
    let places = args
        .output
        .as_deref()
        .map(|output| (with(output, ".json"), with(output, ".html")));
    // Checked before the request, which is logged.
    if let Some(there) = places
        .iter()
        .flat_map(|(data, page)| [data, page])
        .find(|path| path.exists())
    {
        return Err(CommandError::file(
            there,
            &std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    let client = open_client(file)?;
    let document: SignedReport =
        client.get_json(&path(&["v1", "inspections", &id.to_string(), "report"]))?;
    let Some((data, page)) = places else {
        return print_json(&document);
    };
    let text = serde_json::to_string_pretty(&document).map_err(CommandError::bug)?;
    write_new(&data, &text)?;
    write_private(&page, printable(&document, &args.language)?.as_bytes()).map_err(not_written)?;
    if args.json {
        print_json(&json!({"inspection": id, "report": data, "page": page}))
    } else {
        print(format_args!(
            "{} and {}; check it with `cloison audit report --check {} --register register.toml`",
            data.display(),
            page.display(),
            data.display()
        ))
    }
}

/// The page; every text in it is escaped.
fn printable(document: &SignedReport, language: &str) -> Result<String, CommandError> {
    let words: Value = serde_json::from_str(WORDS).map_err(CommandError::bug)?;
    let mut pages = Environment::new();
    // The suffix `.html` turns escaping on.
    pages
        .add_template("report.html", PAGE)
        .map_err(CommandError::bug)?;
    let page = pages
        .get_template("report.html")
        .map_err(CommandError::bug)?;
    let digest = crate::statement::digest_of::<ReportStatement>(&document.signature);
    let digest = digest
        .map(|digest| data_encoding::HEXLOWER.encode(&digest))
        .unwrap_or_default();
    let context = context! { r => document.report, w => words[language], language, digest };
    page.render(context).map_err(CommandError::bug)
}

fn verify(args: &AuditReportArgs, file: &Path) -> Result<(), CommandError> {
    let text = read_text(file)?;
    let document: SignedReport = serde_json::from_str(&text).map_err(|error| {
        CommandError::new(
            format_args!("{}: {error}", file.display()),
            "name the .json of a report",
        )
    })?;
    let keys = args.keys.keys()?;
    let report = check(&document, |origin| keys.key_of(origin)).map_err(|refusal| {
        CommandError::new(
            format_args!("the report is not valid: {refusal}"),
            "do not rely on it; get another one",
        )
    })?;
    let counted = match (&args.log.log, &args.keys.register) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(CommandError::usage(
                "no register is named, which lists the sectors' clients",
                "give --register FILE to count the figures again",
            ));
        }
        (Some(_), Some(register)) => {
            let figures = count(&*args.log.open()?, &report, &read_register(register)?)?;
            if figures != report.figures {
                let hint = "verify the copy, and check that the register is the report's";
                return Err(CommandError::new(
                    "the figures differ from those of the log",
                    hint,
                ));
            }
            Some(figures.entries)
        }
    };
    if args.json {
        print_json(
            &json!({"good": true, "inspection": report.inspection.decision.id, "counted": counted}),
        )
    } else {
        let again = counted.map_or(String::new(), |n| {
            format!("; its figures are those of {} entries", HumanCount(n))
        });
        let decision = &report.inspection.decision;
        print(format_args!(
            "good: signed for {}, inspection {}{again}",
            report.owner, decision.reference
        ))
    }
}

/// Counts the figures from a copy of the log, up to the report's checkpoint.
fn count(
    source: &dyn LogSource,
    report: &InspectionReport,
    register: &Register,
) -> Result<InspectionFigures, CommandError> {
    let (last, _) = Checkpoint::read(report.checkpoint.as_bytes()).map_err(|error| {
        CommandError::new(error, "the report has no valid checkpoint: get another one")
    })?;
    let object = InspectionObject::of(&report.inspection, register);
    let mut count = FigureCounter::default();
    let bar = progress(None);
    for shard in source.shards().map_err(|error| unreadable(&error))? {
        let found = head(source, &shard)?;
        let size = if found.origin == last.origin {
            last.size
        } else {
            found.size
        };
        if size > found.size {
            return Err(CommandError::new(
                "the copy ends before the report does",
                "bring it up to date: `cloison audit copy`",
            ));
        }
        each_entry(source, &shard, size, |_, entry| {
            count.add(&object, entry);
            bar.inc(1);
            Ok(())
        })?;
        if found.origin == last.origin {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(count.figures())
}
