//! `cloison audit prove`: proves one entry to anyone who has the log's key.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{LogArgs, LogKeyArgs, shards, unreadable};
use crate::keys::file::write_public;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::path::LogResource;
use crate::tlog::proof::{inclusion, is_included};
use crate::tlog::proof_file::ProofFile;
use crate::tlog::source::{LogSource, LogSourceError, SourceTiles, read_or_wider, split_bundle};
use crate::tlog::tree::{TILE_WIDTH, TileId, leaf_hash, width};
use crate::tlog::witness::KnownLogs as _;

/// Write a proof that an entry is in the log, or check one
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison audit prove 2026#1842 --client clients/auditor.toml --output release.tlog-proof\n  \
    cloison audit prove --check release.tlog-proof --register register.toml\n\n\
    The file (C2SP tlog-proof) holds the entry, its path in the tree and the signed checkpoint. To check it, one needs \
    only this file and the log's public key. Exit codes of --check: 0 proven; 1 not.")]
pub struct AuditProveArgs {
    /// The entry's number, with its shard where there are several: 1842, 2026#1842
    #[arg(value_name = "ENTRY", required_unless_present = "check")]
    entry: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    /// The file to write; standard output without it
    #[arg(long, short, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Check this proof file instead, with the keys that --key or --register name
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    #[command(flatten)]
    keys: LogKeyArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When there is no such entry, or the file proves nothing.
pub fn run(args: &AuditProveArgs) -> Result<(), CommandError> {
    match (&args.check, &args.entry) {
        (Some(file), _) => check(args, file),
        (None, Some(entry)) => prove(args, entry),
        (None, None) => Err(CommandError::usage(
            "no entry is named",
            "name an entry, or a file with --check",
        )),
    }
}

fn prove(args: &AuditProveArgs, entry: &str) -> Result<(), CommandError> {
    let source = args.log.open()?;
    let (shard, number) = match entry.rsplit_once('#') {
        Some((shard, number)) => (Some(shard), number),
        None => (None, entry),
    };
    let index: u64 = number.parse().map_err(|_| {
        CommandError::usage(
            format_args!("{entry} is not an entry's number"),
            "write a number, or shard and number: 2026#1842",
        )
    })?;
    let shard = match (shards(&*source, shard)?.as_slice(), shard) {
        ([one], _) => one.clone(),
        ([.., last], None) => last.clone(),
        _ => {
            return Err(CommandError::new(
                "the log has no shard",
                "`cloison audit verify` says what it lacks",
            ));
        }
    };
    let proof = make(&*source, &shard, index)?;
    let origin = proof
        .claimed()
        .map(|checkpoint| checkpoint.origin)
        .unwrap_or_default();
    match &args.output {
        None if args.json => {
            print_json(&json!({"log": origin, "index": index, "proof": proof.text()}))
        }
        None => print(proof.text().trim_end_matches('\n')),
        Some(path) => {
            write_public(path, proof.text().as_bytes())
                .map_err(|error| CommandError::new(error, "choose another path"))?;
            if args.json {
                print_json(&json!({"log": origin, "index": index, "file": path}))
            } else {
                print(format_args!(
                    "entry {index} of {origin}: proof in {}",
                    path.display()
                ))
            }
        }
    }
}

/// Makes the proof and checks it.
fn make(source: &dyn LogSource, shard: &str, index: u64) -> Result<ProofFile, CommandError> {
    let note = source
        .read(shard, LogResource::Checkpoint)
        .map_err(|error| unreadable(&error))?
        .unwrap_or_default();
    let (head, _) = Checkpoint::read(&note).map_err(|error| {
        CommandError::new(
            format_args!("the checkpoint: {error}"),
            "`cloison audit verify` says more",
        )
    })?;
    if index >= head.size {
        return Err(CommandError::new(
            format_args!(
                "the log has no entry {index} yet: its checkpoint covers {}",
                head.size
            ),
            "the last entries come under a checkpoint within a second",
        ));
    }
    let bundle = index / TILE_WIDTH as u64;
    let resource = LogResource::Entries(
        bundle,
        width(
            TileId {
                level: 0,
                index: bundle,
            },
            head.size,
        ),
    );
    let bytes = read_or_wider(source, shard, resource).map_err(|error| unreadable(&error))?;
    let place = (index % TILE_WIDTH as u64) as usize;
    let entry = bytes
        .as_deref()
        .and_then(split_bundle)
        .and_then(|entries| entries.get(place).map(|entry| entry.to_vec()));
    let entry = entry.ok_or_else(|| unreadable(&LogSourceError::Tile(resource.to_string())))?;
    let mut tiles = SourceTiles::new(source, shard, head.size);
    let path = inclusion(&mut tiles, index, head.size).map_err(|error| unreadable(&error))?;
    if !is_included(&leaf_hash(&entry), index, head.size, &path, &head.root) {
        return Err(CommandError::new(
            format_args!("entry {index} is not the one that the checkpoint covers"),
            "`cloison audit verify` says what is wrong with this log",
        ));
    }
    let checkpoint = String::from_utf8(note).unwrap_or_default();
    Ok(ProofFile {
        entry,
        index,
        path,
        checkpoint,
    })
}

fn check(args: &AuditProveArgs, file: &Path) -> Result<(), CommandError> {
    let keys = args.keys.keys()?;
    let hint = "the file proves nothing: get another one from the log itself";
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::new(format_args!("{}: {error}", file.display()), hint)
    };
    let proof = ProofFile::parse(&read_text(file)?).map_err(|error| failed(&error))?;
    let claimed = proof.claimed().map_err(|error| failed(&error))?;
    let key = keys.key_of(&claimed.origin).ok_or_else(|| {
        failed(&format_args!(
            "it is of the log {}, for which no key is trusted",
            claimed.origin
        ))
    })?;
    let (checkpoint, _) = proof.check(&key).map_err(|error| failed(&error))?;
    let entry: Value = serde_json::from_slice(&proof.entry).unwrap_or_default();
    if args.json {
        print_json(&json!({
            "proven": true, "log": checkpoint.origin, "index": proof.index, "size": checkpoint.size, "entry": entry,
        }))
    } else {
        print(format_args!(
            "proven: entry {} of {} (a checkpoint over {} entries covers it)\n{}",
            proof.index,
            checkpoint.origin,
            checkpoint.size,
            String::from_utf8_lossy(&proof.entry)
        ))
    }
}
