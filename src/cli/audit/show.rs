//! `cloison audit show`.

use std::collections::VecDeque;

use indicatif::HumanCount;
use serde_json::{Value, json};

use super::LogArgs;
use super::filter::{FilterArgs, MatchingEntry};
use crate::terminal::{CommandError, print, print_json};

/// Show entries to people, a line each
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit show --client clients/auditor.toml --event release --since 2026-11\n  \
    cloison audit show ./copy --order 97483811-47ac-4cfb-9d79-2e01cc0fb1e3\n\n\
    Times are in UTC. A line leaves out digests and cuts long texts and lists; --json has all of it. Nothing is verified here: \
    `cloison audit verify` does that. `cloison audit export` gives all entries to programs.")]
pub struct AuditShowArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Show only the last N that match
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read, or has no name that the filter asks for.
pub fn run(args: &AuditShowArgs) -> Result<(), CommandError> {
    let source = args.log.open()?;
    let mut found = VecDeque::new();
    let mut matched = 0u64;
    let foreign = args.filter.each(
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
        return print_json(&json!({"matched": matched, "entries": entries, "foreign": foreign}));
    }
    let mut lines: Vec<String> = found
        .iter()
        .map(|(shard, index, entry)| line(shard, *index, &parsed(entry)))
        .collect();
    if matched > found.len() as u64 {
        lines.push(format!(
            "({} more before these: --last {matched})",
            HumanCount(matched - found.len() as u64)
        ));
    }
    if lines.is_empty() {
        lines.push("no entry matches".to_owned());
    }
    if foreign > 0 {
        lines.push(format!(
            "({} texts in this log are not entries: `cloison audit verify` says which)",
            HumanCount(foreign)
        ));
    }
    print(lines.join("\n"))
}

/// Members that are for programs: digests, proofs and signed notes.
const HIDDEN: [&str; 13] = [
    "time",
    "event",
    "digest",
    "order_digest",
    "register_digest",
    "tags",
    "checkpoint",
    "lost",
    "kept_root",
    "vault_checkpoint",
    "vault_path",
    "entry",
    "leaf",
];

/// Place, time, event, and what else the entry says; one line, whatever that is.
fn line(shard: &str, index: u64, entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().map_or_else(String::new, plain);
    let place = if shard.is_empty() {
        format!("#{index}")
    } else {
        format!("{shard}#{index}")
    };
    let mut line = format!("{place:<12} {} {:<13}", text("time"), text("event"));
    members(&mut line, "", entry);
    line
}

/// Writes the members of an object, those of objects within it as `outer.inner`.
fn members(line: &mut String, within: &str, object: &Value) {
    for (name, value) in object.as_object().into_iter().flatten() {
        if HIDDEN.contains(&name.as_str()) {
            continue;
        }
        let name = format!("{within}{}", plain(name));
        match value {
            Value::Object(_) => members(line, &format!("{name}."), value),
            Value::Array(items) => *line += &format!(" {name}={}", list(items)),
            value => *line += &format!(" {name}={}", scalar(value)),
        }
    }
}

/// The first items of a list, or only how many there are, if they are not names.
fn list(items: &[Value]) -> String {
    const SHOWN: usize = 8;
    if items.iter().any(|item| item.is_object() || item.is_array()) {
        return format!("({})", HumanCount(items.len() as u64));
    }
    let mut shown: Vec<String> = items.iter().take(SHOWN).map(scalar).collect();
    if items.len() > SHOWN {
        shown.push(format!("…({})", HumanCount(items.len() as u64)));
    }
    shown.join(",")
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        value => value.to_string(),
    }
}

/// A text as it is, if it is one printable word; else quoted, with everything that a terminal would
/// act upon escaped. A long text is cut.
fn plain(text: &str) -> String {
    const MOST: usize = 120;
    let mut text = match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    let quoted = format!("{text:?}");
    let is_word = quoted.len() == text.len() + 2 && !text.is_empty() && !text.contains(' ');
    if !is_word {
        text = quoted;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_whatever_is_in_it() {
        let entry = json!({
            "time": "2026-11-22T10:00:00.000Z", "event": "reveal", "case": "RABAT/2026-17",
            "domain": {"epoch": 2, "period": "2026-11"}, "signers": ["a", "b"],
            "opened": [{"sector": "health", "epoch": 1}, {"sector": "tax", "epoch": 1}],
            "text": "two\nlines \u{1b}[31mred\u{202e}", "empty": "", "long": "x".repeat(500),
            "vault_checkpoint": "cloison/a\n1\nroot\n", "vault_path": ["00"], "many": (0..20).collect::<Vec<_>>(),
            "vault_entry": {"index": 7, "leaf": "00", "log": "cloison/a/vault/2026"},
        });
        let line = line("2026", 3, &entry);
        assert_eq!(line.lines().count(), 1);
        assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'));
        for part in [
            "2026#3       2026-11-22T10:00:00.000Z reveal       ",
            " case=RABAT/2026-17",
            " domain.epoch=2 domain.period=2026-11",
            " signers=a,b",
            " opened=(2)",
            r#" text="two\nlines \u{1b}[31mred\u{202e}""#,
            r#" empty="""#,
            " many=0,1,2,3,4,5,6,7,…(20)",
            " vault_entry.index=7 vault_entry.log=cloison/a/vault/2026",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("vault_path") && line.len() < 700, "{line}");
    }
}
