//! `cloison audit export`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::Value;

use super::LogArgs;
use super::filter::{FilterArgs, MatchingEntry};
use crate::terminal::{CommandError, output_error};

/// Export entries for programs: JSON lines or CSV
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit export ./copy > entries.jsonl\n  \
    cloison audit export ./copy --format csv --event release --output releases.csv\n\n\
    A JSON line has `shard`, `index` and `entry`; the entry is byte for byte the one that was logged. The CSV (RFC 4180) has \
    the most used members as columns, and the whole entry in its last column.")]
pub struct AuditExportArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The form of the export
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// The file to write, which must not exist; standard output without it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON lines: the same as --format jsonl
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// The form of the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read or the output takes no more.
pub fn run(args: &AuditExportArgs) -> Result<(), CommandError> {
    let source = args.log.open()?;
    match &args.output {
        None => left_out(write(
            args,
            &*source,
            &mut BufWriter::new(io::stdout().lock()),
            output_error,
        )?),
        Some(path) => {
            let failed = |error: &io::Error| CommandError::file(path, error);
            let file = std::fs::File::create_new(path).map_err(|error| failed(&error))?;
            let foreign = write(args, &*source, &mut BufWriter::new(file), failed);
            if foreign.is_err() {
                // It is ours and not whole. A failure to remove it changes nothing of the error.
                let _ = std::fs::remove_file(path);
            }
            left_out(foreign?)
        }
    }
}

/// Writes the entries that match; how many texts are not entries.
fn write(
    args: &AuditExportArgs,
    source: &dyn crate::tlog::source::LogSource,
    output: &mut impl Write,
    failed: impl Fn(&io::Error) -> CommandError,
) -> Result<u64, CommandError> {
    if args.format == ExportFormat::Csv {
        writeln!(output, "{}\r", COLUMNS.join(",")).map_err(|error| failed(&error))?;
    }
    let foreign = args.filter.each(source, |found| {
        let line = match args.format {
            ExportFormat::Jsonl => jsonl(&found),
            ExportFormat::Csv => csv(&found),
        };
        output.write_all(&line).map_err(|error| failed(&error))
    })?;
    output.flush().map_err(|error| failed(&error))?;
    Ok(foreign)
}

/// Says how many texts of the log are not entries, if any.
fn left_out(foreign: u64) -> Result<(), CommandError> {
    if foreign == 0 {
        return Ok(());
    }
    Err(CommandError::rejected(
        format_args!("{foreign} texts in this log are not entries, and were left out"),
        "`cloison audit verify` says which",
    ))
}

fn jsonl(found: &MatchingEntry<'_>) -> Vec<u8> {
    let head = format!(
        "{{\"shard\":\"{}\",\"index\":{},\"entry\":",
        found.shard, found.index
    );
    [head.as_bytes(), found.entry, b"}\n"].concat()
}

/// The columns; those between the third and the last are members of entries.
const COLUMNS: [&str; 27] = [
    "shard",
    "index",
    "time",
    "event",
    "client",
    "organisation",
    "operator",
    "officer",
    "authority",
    "actor",
    "operation",
    "sector",
    "scheme",
    "purpose",
    "order",
    "case",
    "code",
    "count",
    "requests",
    "accepted",
    "rejected",
    "items",
    "mappings",
    "basis",
    "request",
    "epoch",
    "entry",
];

fn csv(found: &MatchingEntry<'_>) -> Vec<u8> {
    let entry: Value = serde_json::from_slice(found.entry).unwrap_or_default();
    let mut line = vec![field(found.shard), found.index.to_string()];
    for name in &COLUMNS[2..COLUMNS.len() - 1] {
        let value = match &entry[name] {
            // A batch's epoch is in its domain.
            Value::Null if *name == "epoch" => &entry["domain"][name],
            value => value,
        };
        line.push(match value {
            Value::Null => String::new(),
            Value::String(text) => field(text),
            value => field(&value.to_string()),
        });
    }
    line.push(field(&String::from_utf8_lossy(found.entry)));
    format!("{}\r\n", line.join(",")).into_bytes()
}

/// A field of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe
/// before it.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_forms() {
        let entry =
            br#"{"case":"-1,2","client":"a","domain":{"epoch":3},"event":"tokenize","time":"t"}"#;
        let found = MatchingEntry {
            shard: "2026",
            index: 7,
            entry,
        };
        let line = String::from_utf8(jsonl(&found)).unwrap();
        assert!(
            line.starts_with(r#"{"shard":"2026","index":7,"entry":{"case""#)
                && line.ends_with("}}\n")
        );
        let line = String::from_utf8(csv(&found)).unwrap();
        assert!(
            line.starts_with("2026,7,t,tokenize,a,,,,,,,,,,,\"'-1,2\","),
            "{line}"
        );
        assert!(
            line.contains(",,,,,,,,,3,\"{\"\"case") && line.ends_with("\"\"t\"\"}\"\r\n"),
            "{line}"
        );
    }
}
