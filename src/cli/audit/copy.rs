//! `cloison audit copy`: an auditor's own copy of a log.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use serde_json::json;

use super::{LogArgs, head, unreadable};
use crate::audit::path::Resource;
use crate::audit::source::{Source, SourceError, read_or_wider};
use crate::audit::tree::{LEVELS, TILE_WIDTH, TileId, width};
use crate::cli::{Error, client, print, print_json};

/// Copy a log into a folder, to be verified and kept there
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison audit copy --client clients/auditor.toml --to ./copy\n\n\
    Files are named as C2SP tlog-tiles names them, in a folder for each year; any static web server can serve them. What is \
    there already is not fetched again, so that the same command brings a copy up to date.")]
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
/// When the log cannot be read or the folder cannot be written.
pub fn run(args: &Args) -> Result<(), Error> {
    let source = args.log.open()?;
    let mut copied = vec![];
    for shard in source.shards().map_err(|error| unreadable(&error))? {
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

fn one(source: &dyn Source, shard: &str, to: &Path) -> Result<crate::audit::checkpoint::Checkpoint, Error> {
    let note = source.read(shard, Resource::Checkpoint).map_err(|error| unreadable(&error))?;
    // What is copied is what this very checkpoint covers, however far the log goes on meanwhile.
    let note = note.unwrap_or_default();
    let head = match crate::audit::checkpoint::Checkpoint::read(&note) {
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
    fs::create_dir_all(to).and_then(|()| fs::write(&path, note)).map_err(|error| Error::file(&path, &error))?;
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
