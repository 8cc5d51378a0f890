//! `cloison audit summary`.

use indicatif::HumanCount;
use serde_json::json;

use super::filter::time;
use super::{LogArgs, each_entry, head, shards};
use crate::audit::search::NamedTime;
use crate::audit::summary::{Summary, SummaryCounter, SummaryKey, SummaryRow};
use crate::terminal::table::Table;
use crate::terminal::{CommandError, print, print_json, progress};

/// Count what was done, by authority, client or sector
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit summary ./copy --by authority --month 2026-11\n  \
    cloison audit summary --client clients/auditor.toml --by sector --json\n\n\
    The log of the vault has sector systems and releases, that of an authority's node has openings. A month is one in UTC. \
    Refusals name who was refused and no sector. Nothing is verified here: `cloison audit verify` does that.")]
pub struct AuditSummaryArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A row for each of these
    #[arg(long, value_enum)]
    by: SummaryRows,
    /// Only this month, such as 2026-11, or day [default: the whole log]
    #[arg(long, value_name = "MONTH", value_parser = time)]
    month: Option<NamedTime>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The rows of a summary.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum SummaryRows {
    /// What authorities asked for
    Authority,
    /// What sector systems sent
    Client,
    /// What was done in sectors
    Sector,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read.
pub fn run(args: &AuditSummaryArgs) -> Result<(), CommandError> {
    let source = args.log.open()?;
    let by = match args.by {
        SummaryRows::Authority => SummaryKey::Authority,
        SummaryRows::Client => SummaryKey::Client,
        SummaryRows::Sector => SummaryKey::Sector,
    };
    let (from, to) = (args.month.map(|m| m.begin), args.month.map(|m| m.end));
    let mut counter = SummaryCounter::new(by, from, to);
    let mut logs = vec![];
    let bar = progress(None);
    for shard in shards(&*source, None)? {
        let head = head(&*source, &shard)?;
        each_entry(&*source, &shard, head.size, |_, entry| {
            counter.add(entry);
            bar.inc(1);
            Ok(())
        })?;
        logs.push(json!({"origin": head.origin, "size": head.size}));
    }
    bar.finish_and_clear();
    let summary = counter.finish();
    if args.json {
        print_json(
            &json!({"from": from, "to": to, "logs": logs, "entries": summary.entries, "rows": summary.rows}),
        )
    } else {
        print(text(by, &summary))
    }
}

/// A column: its title and its figure.
type SummaryColumn = (&'static str, fn(&SummaryRow) -> u64);

/// The columns that say something about such rows.
fn columns(by: SummaryKey) -> (&'static str, Vec<SummaryColumn>) {
    let tokenize: [SummaryColumn; 3] = [
        ("requests", |row| row.batches),
        ("accepted", |row| row.accepted),
        ("rejected", |row| row.rejected),
    ];
    let reidentify: [SummaryColumn; 5] = [
        ("re-identifications", |row| row.reidentifications),
        ("orders", |row| row.orders),
        ("asked", |row| row.asked),
        ("mappings", |row| row.mappings),
        ("migrated", |row| row.migrated),
    ];
    let rights: [SummaryColumn; 2] = [
        ("look-ups", |row| row.look_ups),
        ("erasures", |row| row.erasures),
    ];
    let refused: [SummaryColumn; 1] = [("refused", |row| row.refused)];
    match by {
        SummaryKey::Authority => ("authority", [&reidentify[..], &refused[..]].concat()),
        SummaryKey::Client => ("client", [&tokenize[..], &refused[..]].concat()),
        SummaryKey::Sector => (
            "sector",
            [&tokenize[..], &reidentify[..], &rights[..]].concat(),
        ),
    }
}

fn text(by: SummaryKey, summary: &Summary) -> String {
    let entries = HumanCount(summary.entries);
    if summary.rows.is_empty() {
        return format!("nothing to count in {entries} entries");
    }
    let (name, columns) = columns(by);
    let titles = columns.iter().map(|(title, _)| *title);
    let mut table = Table::new(std::iter::once(name).chain(titles));
    let figures = |row: &SummaryRow| -> Vec<String> {
        columns
            .iter()
            .map(|(_, of)| HumanCount(of(row)).to_string())
            .collect()
    };
    let mut all = SummaryRow::default();
    for (name, row) in &summary.rows {
        table.row(name, figures(row));
        all.add(row);
    }
    if summary.rows.len() > 1 {
        table.row("all", figures(&all));
    }
    format!("{table}from {entries} entries")
}
