//! `cloison audit match`: the two halves of each re-identification.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indicatif::HumanCount;

use super::{derivations, each_entry, head, open_log, unreadable};
use crate::audit::halves::{HalfFinding, HalvesCheck, HalvesReport};
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::source::LogSource;

/// Hold the vault's log against that of an authority's node, or of its identity sources
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit match ./copy-vault ./copy-node\n  \
    cloison audit match clients/auditor.toml clients/auditor-node.toml\n  \
    cloison audit match ./copy-vault ./copy-identity-1 ./copy-identity-2\n\n\
    Every opening in the node's log names the entry of the vault's log that released it. An opening without its release should \
    not exist. A release without an opening is an answer that the node did not get or did not open.\n\n\
    Of identity sources it says for each hour, organisation and sector what the vault tokenized and what they derived for it, \
    and names what does not fit. No log is verified here: `cloison audit verify` does that first. Exit codes: 0 all fits; 1 not all does.")]
pub struct AuditMatchArgs {
    /// The vault's log: a folder, a store, or the client file that leads to it
    #[arg(value_name = "VAULT")]
    vault: PathBuf,
    /// The log of an authority's node, or the logs of the identity sources
    #[arg(value_name = "LOG", required = true)]
    others: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a log cannot be read or is of the other side, or a half has no other half.
pub fn run(args: &AuditMatchArgs) -> Result<(), CommandError> {
    let vault = open_log(&args.vault)?;
    let others = args.others.iter().map(|path| open_log(path));
    let others = others.collect::<Result<Vec<_>, _>>()?;
    if let Some(compared) = derivations::run(&*vault, &others, args.json) {
        return compared;
    }
    let [node] = &others[..] else {
        return Err(CommandError::usage(
            "the first of these logs is not an identity source's",
            "name the vault's log and that of one node, or the vault's and those of its identity sources",
        ));
    };
    let report = compare(&*vault, &**node)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(text(&report))?;
    }
    if report.is_good() {
        return Ok(());
    }
    Err(CommandError::new(
        format_args!(
            "{} openings without their release, {} releases without an opening",
            report.without_release.len(),
            report.without_reveal.len()
        ),
        "verify both logs and bring both copies up to date; where a half is still missing, ask the operators of \
         that side",
    ))
}

fn compare(vault: &dyn LogSource, node: &dyn LogSource) -> Result<HalvesReport, CommandError> {
    let shards = |source: &dyn LogSource| {
        let shards = source.shards().map_err(|error| unreadable(&error))?;
        let head = |shard: String| {
            let head = head(source, &shard)?;
            Ok((shard, head.origin, head.size))
        };
        shards
            .into_iter()
            .map(head)
            .collect::<Result<Vec<_>, CommandError>>()
    };
    let wrong = |origin: &str, wanted: &str| {
        CommandError::usage(
            format_args!("{origin} is not the log of {wanted}"),
            "name the vault's log first, then that of an authority's node, both of one deployment",
        )
    };
    // Logs that are in use grow meanwhile. The openings until here have their releases in what is
    // read of the vault's log from now on; those that follow say which of its releases were opened.
    let of_node = shards(node)?;
    let first = of_node.first().map_or("", |(_, origin, _)| origin);
    let mut check =
        HalvesCheck::of_node(first).ok_or_else(|| wrong(first, "an authority's node"))?;
    for (shard, origin, size) in shards(vault)? {
        if !check.vault_log(&origin, size) {
            return Err(wrong(&origin, "this deployment's vault"));
        }
        each_entry(vault, &shard, size, |index, entry| {
            check.vault_entry(&origin, index, entry);
            Ok(())
        })?;
    }
    let before: BTreeMap<String, u64> = of_node
        .into_iter()
        .map(|(_, origin, size)| (origin, size))
        .collect();
    for (shard, origin, size) in shards(node)? {
        let before = before.get(&origin).copied().unwrap_or(0);
        each_entry(node, &shard, size, |index, entry| {
            if index < before {
                check.node_entry(&origin, index, entry);
            } else {
                check.later_node_entry(&origin, index, entry);
            }
            Ok(())
        })?;
    }
    Ok(check.finish())
}

fn text(report: &HalvesReport) -> String {
    let lines = |title: &str, findings: &[HalfFinding]| {
        let line = |HalfFinding { half, what }: &HalfFinding| {
            format!(
                "{title}: {}#{} {} {}, officer {}, order {}, request {}, {} items: {what}\n",
                half.log,
                half.index,
                half.time,
                half.event,
                half.officer,
                half.order,
                half.request,
                half.items
            )
        };
        findings.iter().map(line).collect::<String>()
    };
    format!(
        "{}{}{} openings at the node of {} have their release at the vault.",
        lines("no release", &report.without_release),
        lines("no opening", &report.without_reveal),
        HumanCount(report.matched),
        report.authority
    )
}
