//! `cloison audit copy`: an auditor's own copy of a log.
//!
//! A copy only grows. When the log does not contain the copy, the copy proves that the log was
//! rolled back or forked: it stays unchanged, and the log's present checkpoint is kept beside it.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use indicatif::HumanCount;
use serde_json::json;

use super::{LogArgs, head, head_and_note, unreadable};
use crate::audit::source::LogFolder;
use crate::keys::file::write_public;
use crate::terminal::files::replace_file;
use crate::terminal::{CommandError, print, print_json, progress};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::path::LogResource;
use crate::tlog::proof::{consistency, is_consistent};
use crate::tlog::source::{LogSource, LogSourceError, SourceTiles, read_or_wider};
use crate::tlog::tree::{LEVELS, TILE_WIDTH, TileId, leaf_hash, width};

/// Copy a log into a folder, to be verified and kept there
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison audit copy --client clients/auditor.toml --to ./copy\n\n\
    Files are named as C2SP tlog-tiles names them, in a folder for each year; any static web server can serve them. What is \
    there already is not fetched again, so that the same command brings a copy up to date. Exit code 4: the log does not \
    contain what the copy has; the copy is left as it is, and what the log shows is kept beside it."
)]
pub struct AuditCopyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The folder to copy into
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read or the folder cannot be written, or the log does not contain what
/// was copied before.
pub fn run(args: &AuditCopyArgs) -> Result<(), CommandError> {
    let source = args.log.open()?;
    let shown = copy(&*source, &args.to)?;
    let copied: Vec<_> = shown
        .iter()
        .map(|shard| (&shard.head.origin, shard.head.size))
        .collect();
    if args.json {
        let logs: Vec<_> = copied
            .iter()
            .map(|(origin, size)| json!({"origin": origin, "size": size}))
            .collect();
        print_json(&json!({"folder": args.to, "logs": logs}))
    } else {
        let lines = copied
            .iter()
            .map(|(origin, size)| format!("{} entries of {origin}\n", HumanCount(*size)));
        print(format!(
            "{}in {}",
            lines.collect::<String>(),
            args.to.display()
        ))
    }
}

/// Brings a copy up to date, and returns what was copied.
fn copy(source: &dyn LogSource, to: &Path) -> Result<Vec<ShownShard>, CommandError> {
    let names = source.shards().map_err(|error| unreadable(&error))?;
    let shown = names
        .into_iter()
        .map(|name| ShownShard::read(source, name))
        .collect::<Result<Vec<_>, _>>()?;
    // All shards are compared before anything is written.
    contains_the_copy(source, &shown, to)?;
    for shard in &shown {
        copy_shard(source, shard, &to.join(&shard.name))?;
    }
    Ok(shown)
}

/// A shard's checkpoint, read once: the same checkpoint is compared with the copy and then copied,
/// whatever the log shows later.
struct ShownShard {
    name: String,
    head: Checkpoint,
    note: Vec<u8>,
}

impl ShownShard {
    fn read(source: &dyn LogSource, name: String) -> Result<Self, CommandError> {
        let (head, note) = head_and_note(source, &name)?;
        Ok(Self { name, head, note })
    }
}

/// Compares every shard of the copy with the log.
fn contains_the_copy(
    source: &dyn LogSource,
    shown: &[ShownShard],
    to: &Path,
) -> Result<(), CommandError> {
    let copy = LogFolder(to.to_owned());
    if !to.exists() {
        return Ok(());
    }
    for shard in copy.shards().map_err(|error| unreadable(&error))? {
        let copied = head(&copy, &shard)?;
        let Some(shown) = shown.iter().find(|shown| shown.name == shard) else {
            return Err(contradiction(
                &copied,
                "the log has no such shard any more",
                &to.join(&shard),
            ));
        };
        if let Some(why) = contradicts(source, &shard, &copied, &shown.head)? {
            let aside = keep_beside(&to.join(&shard), &shown.note)?;
            return Err(contradiction(&copied, &why, &aside));
        }
    }
    Ok(())
}

/// Why the log that shows `shown` does not contain the copy under `copied`.
fn contradicts(
    source: &dyn LogSource,
    shard: &str,
    copied: &Checkpoint,
    shown: &Checkpoint,
) -> Result<Option<String>, CommandError> {
    if shown.origin != copied.origin {
        return Ok(Some(format!("the log calls itself {}", shown.origin)));
    }
    if shown.size < copied.size {
        return Ok(Some(format!(
            "the log shows a checkpoint over {} entries only",
            shown.size
        )));
    }
    let mut tiles = SourceTiles::new(source, shard, shown.size);
    let proof =
        consistency(&mut tiles, copied.size, shown.size).map_err(|error| unreadable(&error))?;
    let contains = is_consistent((copied.size, copied.root), (shown.size, shown.root), &proof);
    Ok((!contains).then(|| "the log has other entries there".to_owned()))
}

/// Keeps what the log shows beside the copy's own checkpoint, and returns the file's path.
fn keep_beside(shard: &Path, note: &[u8]) -> Result<PathBuf, CommandError> {
    let path = shard.join(format!(
        "checkpoint.{}",
        &HEXLOWER.encode(&leaf_hash(note))[..16]
    ));
    // A file of this name has the same content.
    if !path.exists() {
        write_public(&path, note).map_err(|error| {
            CommandError::new(error, "save the log's present checkpoint by other means")
        })?;
    }
    Ok(path)
}

fn contradiction(copied: &Checkpoint, why: &str, kept: &Path) -> CommandError {
    CommandError::contradiction(
        format_args!(
            "the copy has {} entries of {}, and {why}: the log was rolled back or forked, or shows an old checkpoint \
             again. The copy is unchanged; the proof is in {}",
            copied.size,
            copied.origin,
            kept.display()
        ),
        "keep this folder unchanged, compare it with the witnesses and the other side, and copy into another folder",
    )
}

/// Copies what the checkpoint covers, also while the log grows.
fn copy_shard(source: &dyn LogSource, shown: &ShownShard, to: &Path) -> Result<(), CommandError> {
    let ShownShard {
        name: shard,
        head,
        note,
    } = shown;
    let bar = progress(Some(head.size));
    for index in 0..head.size.div_ceil(TILE_WIDTH as u64) {
        resource(
            source,
            shard,
            to,
            LogResource::Entries(index, width(TileId { level: 0, index }, head.size)),
        )?;
        bar.set_position((index * TILE_WIDTH as u64).min(head.size));
        bar.set_message(format!(
            "{} entries of {}",
            HumanCount(bar.position()),
            head.origin
        ));
        for level in 0..LEVELS {
            // A tile of a higher level comes with the last one below it.
            let tile = TileId {
                level,
                index: index >> (8 * u32::from(level)),
            };
            let span = 1u64 << (8 * u32::from(level));
            let is_last_below =
                (index + 1) % span == 0 || (index + 1) * TILE_WIDTH as u64 >= head.size;
            let width = width(tile, head.size);
            if is_last_below && width > 0 {
                resource(source, shard, to, LogResource::Tile(tile, width))?;
            }
        }
    }
    bar.finish_and_clear();
    // The checkpoint comes last, so that a copy that was stopped is still the earlier copy.
    let path = to.join("checkpoint");
    fs::create_dir_all(to).map_err(|error| CommandError::file(to, &error))?;
    replace_file(&path, note)
}

fn resource(
    source: &dyn LogSource,
    shard: &str,
    to: &Path,
    resource: LogResource,
) -> Result<(), CommandError> {
    let path = to.join(resource.to_string());
    if path.exists() {
        return Ok(());
    }
    let bytes = read_or_wider(source, shard, resource).map_err(|error| unreadable(&error))?;
    let bytes = bytes.ok_or_else(|| unreadable(&LogSourceError::Tile(resource.to_string())))?;
    let folder = path.parent().unwrap_or(to);
    let half = path.with_extension("half");
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&half, bytes))
        .and_then(|()| fs::rename(&half, &path));
    written.map_err(|error| CommandError::file(&path, &error))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::tlog::tree::{Hash, MerkleTree, tile_bytes};

    /// A log of few entries that shows a checkpoint of its own choice each time.
    #[derive(Default)]
    struct ChangingLog(RefCell<VecDeque<u64>>);

    impl ChangingLog {
        fn show(&self, sizes: &[u64]) {
            *self.0.borrow_mut() = sizes.iter().copied().collect();
        }

        fn hashes(size: u64) -> Vec<Hash> {
            (0..size).map(|n| leaf_hash(&[n as u8])).collect()
        }

        fn note(size: u64) -> Vec<u8> {
            let mut tree = MerkleTree::default();
            Self::hashes(size)
                .into_iter()
                .for_each(|hash| tree.push(hash, |_, _| ()));
            let head = Checkpoint {
                origin: "test/vault/2026".to_owned(),
                size,
                root: tree.root(),
            };
            head.sign(&SigningKey::from_bytes(&[7; 32])).into_bytes()
        }
    }

    impl LogSource for ChangingLog {
        fn shards(&self) -> Result<Vec<String>, LogSourceError> {
            Ok(vec!["2026".to_owned()])
        }

        fn read(&self, _: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError> {
            Ok(Some(match resource {
                LogResource::Checkpoint => Self::note(self.0.borrow_mut().pop_front().unwrap()),
                LogResource::Tile(_, width) => tile_bytes(&Self::hashes(width.into())),
                LogResource::Entries(_, width) => {
                    (0..width).flat_map(|n| [0, 1, n as u8]).collect()
                }
            }))
        }
    }

    #[test]
    fn the_checkpoint_that_was_held_against_the_copy_is_the_one_that_is_copied() {
        let place = tempfile::tempdir().unwrap();
        let kept = || fs::read(place.path().join("2026/checkpoint")).unwrap();
        let log = ChangingLog::default();
        log.show(&[6, 2, 2, 2]);
        copy(&log, place.path()).unwrap();
        assert_eq!(kept(), ChangingLog::note(6));
        // The first that it shows contains the copy, whatever it shows from then on.
        for first in [6, 9] {
            log.show(&[first, first, 2, 2, 2]);
            copy(&log, place.path()).unwrap();
            assert_eq!(kept(), ChangingLog::note(first));
        }
        log.show(&[2, 9, 9, 9]);
        assert!(copy(&log, place.path()).is_err());
        assert_eq!(kept(), ChangingLog::note(9));
    }
}
