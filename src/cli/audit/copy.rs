//! `cloison audit copy`: an auditor's own copy of a log.
//!
//! A copy only grows. Where the log does not contain what the copy has, the copy is what proves that the log was rolled back or
//! forked: it stays as it is, and what the log shows now is kept beside it.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use indicatif::HumanCount;
use serde_json::json;

use super::{LogArgs, head, unreadable};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::path::Resource;
use crate::audit::proof::{consistency, is_consistent};
use crate::audit::source::{Folder, Source, SourceError, SourceTiles, read_or_wider};
use crate::audit::tree::{LEVELS, TILE_WIDTH, TileId, leaf_hash, width};
use crate::cli::replace::replace;
use crate::cli::{Error, client, print, print_json};
use crate::keys::file::write_public;

/// Copy a log into a folder, to be verified and kept there
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison audit copy --client clients/auditor.toml --to ./copy\n\n\
    Files are named as C2SP tlog-tiles names them, in a folder for each year; any static web server can serve them. What is \
    there already is not fetched again, so that the same command brings a copy up to date. Exit code 4: the log does not \
    contain what the copy has; the copy is left as it is, and what the log shows is kept beside it.")]
pub struct Args {
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
/// When the log cannot be read or the folder cannot be written, or the log does not contain what was copied before.
pub fn run(args: &Args) -> Result<(), Error> {
    let source = args.log.open()?;
    let shards = source.shards().map_err(|error| unreadable(&error))?;
    // All of them before anything is written.
    contains_the_copy(&*source, &shards, &args.to)?;
    let mut copied = vec![];
    for shard in shards {
        let head = one(&*source, &shard, &args.to.join(&shard))?;
        copied.push((head.origin, head.size));
    }
    match args.json {
        true => {
            let logs: Vec<_> = copied.iter().map(|(origin, size)| json!({"origin": origin, "size": size})).collect();
            print_json(&json!({"folder": args.to, "logs": logs}))
        }
        false => {
            let lines = copied.iter().map(|(origin, size)| format!("{} entries of {origin}\n", HumanCount(*size)));
            print(format!("{}in {}", lines.collect::<String>(), args.to.display()))
        }
    }
}

/// Holds every shard of the copy against the log.
fn contains_the_copy(source: &dyn Source, shards: &[String], to: &Path) -> Result<(), Error> {
    let copy = Folder(to.to_owned());
    if !to.exists() {
        return Ok(());
    }
    for shard in copy.shards().map_err(|error| unreadable(&error))? {
        let copied = head(&copy, &shard)?;
        if !shards.contains(&shard) {
            return Err(contradiction(&copied, "the log has no such shard any more", &to.join(&shard)));
        }
        let note = source.read(&shard, Resource::Checkpoint).map_err(|error| unreadable(&error))?.unwrap_or_default();
        let shown = head(source, &shard)?;
        if let Some(why) = contradicts(source, &shard, &copied, &shown)? {
            let aside = keep_beside(&to.join(&shard), &note)?;
            return Err(contradiction(&copied, &why, &aside));
        }
    }
    Ok(())
}

/// Why a log that shows one checkpoint cannot be the one that a copy has another of.
fn contradicts(
    source: &dyn Source,
    shard: &str,
    copied: &Checkpoint,
    shown: &Checkpoint,
) -> Result<Option<String>, Error> {
    if shown.origin != copied.origin {
        return Ok(Some(format!("the log calls itself {}", shown.origin)));
    }
    if shown.size < copied.size {
        return Ok(Some(format!("the log shows a checkpoint over {} entries only", shown.size)));
    }
    let mut tiles = SourceTiles::new(source, shard, shown.size);
    let proof = consistency(&mut tiles, copied.size, shown.size).map_err(|error| unreadable(&error))?;
    let contains = is_consistent((copied.size, copied.root), (shown.size, shown.root), &proof);
    Ok((!contains).then(|| "the log has other entries there".to_owned()))
}

/// Keeps what the log shows beside the copy's own checkpoint; where it is.
fn keep_beside(shard: &Path, note: &[u8]) -> Result<PathBuf, Error> {
    let path = shard.join(format!("checkpoint.{}", &HEXLOWER.encode(&leaf_hash(note))[..16]));
    // There already: the very same one.
    if !path.exists() {
        write_public(&path, note).map_err(|error| Error::new(error, "keep what the log shows now by other means"))?;
    }
    Ok(path)
}

fn contradiction(copied: &Checkpoint, why: &str, kept: &Path) -> Error {
    Error::contradiction(
        format_args!(
            "the copy has {} entries of {}, and {why}: it was rolled back, shows an old checkpoint again, or there are \
             two of it. The copy is as it was; what proves it is in {}",
            copied.size,
            copied.origin,
            kept.display()
        ),
        "keep this folder as it is, compare with the witnesses and the other side, and copy into another folder",
    )
}

fn one(source: &dyn Source, shard: &str, to: &Path) -> Result<Checkpoint, Error> {
    let note = source.read(shard, Resource::Checkpoint).map_err(|error| unreadable(&error))?;
    // What is copied is what this very checkpoint covers, however far the log goes on meanwhile.
    let note = note.unwrap_or_default();
    let head = match Checkpoint::read(&note) {
        Ok((head, _)) => head,
        Err(_) => head(source, shard)?,
    };
    let bar = client::progress(Some(head.size));
    for index in 0..head.size.div_ceil(TILE_WIDTH as u64) {
        resource(source, shard, to, Resource::Entries(index, width(TileId { level: 0, index }, head.size)))?;
        bar.set_position((index * TILE_WIDTH as u64).min(head.size));
        bar.set_message(format!("{} entries of {}", HumanCount(bar.position()), head.origin));
        for level in 0..LEVELS {
            // A tile of a higher level comes with the last one below it.
            let tile = TileId { level, index: index >> (8 * u32::from(level)) };
            let span = 1u64 << (8 * u32::from(level));
            let is_last_below = (index + 1) % span == 0 || (index + 1) * TILE_WIDTH as u64 >= head.size;
            let width = width(tile, head.size);
            if is_last_below && width > 0 {
                resource(source, shard, to, Resource::Tile(tile, width))?;
            }
        }
    }
    bar.finish_and_clear();
    // The checkpoint comes last: a copy that was broken off is the earlier copy still.
    let path = to.join("checkpoint");
    fs::create_dir_all(to).map_err(|error| Error::file(to, &error))?;
    replace(&path, &note)?;
    Ok(head)
}

fn resource(source: &dyn Source, shard: &str, to: &Path, resource: Resource) -> Result<(), Error> {
    let path = to.join(resource.to_string());
    if path.exists() {
        return Ok(());
    }
    let bytes = read_or_wider(source, shard, resource).map_err(|error| unreadable(&error))?;
    let bytes = bytes.ok_or_else(|| unreadable(&SourceError::Tile(resource.to_string())))?;
    let folder = path.parent().unwrap_or(to);
    let half = path.with_extension("half");
    let written =
        fs::create_dir_all(folder).and_then(|()| fs::write(&half, bytes)).and_then(|()| fs::rename(&half, &path));
    written.map_err(|error| Error::file(&path, &error))
}
