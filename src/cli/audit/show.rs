//! `cloison audit show`.

use serde_json::{Value, json};

use super::{FilterArgs, LogArgs, MatchingEntry};
use crate::terminal::{CommandError, print, print_json};

/// Show entries to people, a line each
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit show --client clients/auditor.toml --event release --from 2026-11-01\n  \
    cloison audit show ./copy --order 97483811-47ac-4cfb-9d79-2e01cc0fb1e3\n\n\
    Nothing is verified here: `cloison audit verify` does that. `cloison audit export` gives all entries to programs.")]
pub struct AuditShowArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Show no more than the last N that match
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read.
pub fn run(args: &AuditShowArgs) -> Result<(), CommandError> {
    let source = args.log.open()?;
    let mut found = std::collections::VecDeque::new();
    let mut matched = 0u64;
    args.filter.each(
        &*source,
        |MatchingEntry {
             shard,
             index,
             entry,
         }| {
            matched += 1;
            found.push_back((shard.to_owned(), index, entry.to_vec()));
            if found.len() > args.last {
                found.pop_front();
            }
            Ok(())
        },
    )?;
    let parsed = |entry: &[u8]| serde_json::from_slice::<Value>(entry).unwrap_or_default();
    if args.json {
        let entries: Vec<_> = found
            .iter()
            .map(|(shard, index, entry)| json!({"shard": shard, "index": index, "entry": parsed(entry)}))
            .collect();
        return print_json(&json!({"matched": matched, "entries": entries}));
    }
    let mut lines: Vec<String> = found
        .iter()
        .map(|(shard, index, entry)| line(shard, *index, &parsed(entry)))
        .collect();
    if matched > found.len() as u64 {
        lines.push(format!(
            "({} more before these: --last {matched})",
            matched - found.len() as u64
        ));
    }
    if lines.is_empty() {
        lines.push("no entry matches".to_owned());
    }
    print(lines.join("\n"))
}

/// Place, time, event, and what else the entry says.
fn line(shard: &str, index: u64, entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let place = if shard.is_empty() {
        format!("#{index}")
    } else {
        format!("{shard}#{index}")
    };
    let mut line = format!("{place:<12} {} {:<13}", text("time"), text("event"));
    // Long hexadecimal digests are for programs.
    let hidden = [
        "time",
        "event",
        "digest",
        "order_digest",
        "register_digest",
        "tags",
        "checkpoint",
        "lost",
        "kept_root",
    ];
    for (name, value) in entry
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !hidden.contains(&name.as_str()))
    {
        match value {
            Value::String(value) => line += &format!(" {name}={value}"),
            value => line += &format!(" {name}={value}"),
        }
    }
    line
}
