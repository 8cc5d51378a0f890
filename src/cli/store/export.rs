//! `cloison store export`: a vault's mappings in a file that other programs read.

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::{StoreArgs, unopened};
use crate::clock::SystemClock;
use crate::export::{ExportCounts, ExportError, ExportSummary, FORMAT, export};
use crate::files::GrowingFile;
use crate::terminal::{CommandError, print_either, progress};

/// Export a stopped vault's mappings, sealed as they are, to a file that other programs read
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison store export --config vault.toml --out demo.jsonl\n  \
    cloison store export --store /mnt/copy/vault --out demo.jsonl --json\n\n\
    The file is JSON lines: a header, sectors, epochs, tombstones, segments and chunks, and a last line with counts and a hash. \
    docs/export.md describes it and has a reader in Python. It needs no secret and unseals nothing: a mapping opens only with the \
    vault's storage secret and the authority's key together. The file is written whole or not at all, for its owner only (0600), and \
    takes about a third more than the chunks do on the disk. Nothing in the store changes.")]
pub struct StoreExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The file to write, which must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the store cannot be read or the file cannot be written; it is not there then.
pub fn run(args: &StoreExportArgs) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let failed = |error: std::io::Error| CommandError::file(&args.out, &error);
    let mut file = GrowingFile::begin(&args.out).map_err(failed)?;
    let bar = progress(Some(store.estimated_chunks()));
    bar.set_message("chunks");
    let written = export(&store, &SystemClock, file.by_ref(), || bar.inc(1));
    bar.finish_and_clear();
    let summary = written.map_err(|error| unfinished(error, &args.out))?;
    file.finish().map_err(failed)?;
    print_either(text(&summary, &args.out), || {
        let mut object = json!(summary);
        object["format"] = FORMAT.into();
        object["file"] = args.out.display().to_string().into();
        object
    })
}

/// An export that came to no end.
fn unfinished(error: ExportError, out: &Path) -> CommandError {
    match error {
        ExportError::Store(error) => unopened(&error),
        ExportError::NoVault(_) => CommandError::new(
            error,
            "name a vault's store: an authority node keeps no mappings",
        ),
        ExportError::Output(error) => CommandError::file(out, &error),
    }
}

fn text(summary: &ExportSummary, out: &Path) -> String {
    let ExportCounts {
        sectors,
        epochs,
        retired,
        tombstones,
        segments,
        chunks,
    } = summary.counts;
    let [segments, chunks, tombstones] = [segments, chunks, tombstones].map(HumanCount);
    format!(
        "{} exported to {} ({}): {chunks} chunks, {segments} segments, {sectors} sectors, {epochs} epochs ({retired} retired), {tombstones} tombstones.\n\
        SHA-256 {}",
        summary.owner,
        out.display(),
        HumanBytes(summary.bytes),
        summary.sha256,
    )
}
