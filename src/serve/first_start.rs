//! What a server does about its first start: it makes a store only where that was prepared
//! ([`FirstStart`]).

use std::fmt::Display;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::config::LogConfig;
use crate::deployment::WITNESS_NOTE;
use crate::files::sync_folders_above;
use crate::journal::place::JournalPlace;
use crate::keys::file::write_public;
use crate::store::{FirstStart, Store};
use crate::terminal::CommandError;

/// Permits the start to make a store where there is none, if a first start was prepared. Refuses if
/// the second place holds a checkpoint: then there was a store.
///
/// # Errors
/// When there is no store and no first start was prepared, or a first start is asked for of a store
/// that is there.
pub(super) fn permit(
    store: &Path,
    log: &LogConfig,
    is_asked_for: bool,
) -> Result<FirstStart, CommandError> {
    let is_there = Store::is_there(store);
    if is_asked_for && is_there {
        return Err(had_its_first("store", store));
    }
    let first = FirstStart::permit(store, is_asked_for).map_err(absent)?;
    match &log.second {
        Some(second) if !is_there && JournalPlace::holds_checkpoint(second) => {
            Err(absent(format_args!(
                "there is no store at {}, and {} holds the last checkpoint of one that was there",
                store.display(),
                second.display()
            )))
        }
        _ => Ok(first),
    }
}

/// Takes the permission back once the store is durable, so that a later start that does not find
/// the store refuses. The store makes durable what is in its folder; the folder's name, and those
/// of the folders that it lies in, are made durable here: a first start may have made them.
///
/// # Errors
/// When a folder cannot be synced, or the note cannot be removed.
pub(super) fn end(first: FirstStart, store: &Path) -> Result<(), CommandError> {
    sync_folders_above(store).map_err(|error| CommandError::file(store, &error))?;
    first.end().map_err(|error| {
        let message =
            format_args!("the note of a first start, beside the store, cannot be removed: {error}");
        CommandError::new(
            message,
            "remove the file *.first-start by hand, and start again",
        )
    })
}

/// Checks the folder in which a witness remembers. Makes it at the first start only.
///
/// # Errors
/// When it is missing or empty and no first start is asked for, or is there and one is; when it
/// cannot be made.
pub(super) fn witness_folder(folder: &Path, is_asked_for: bool) -> Result<(), CommandError> {
    let holds_something = folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if holds_something {
        return if is_asked_for {
            Err(had_its_first("state", folder))
        } else {
            Ok(())
        };
    }
    if !is_asked_for {
        let what = "this remembers what the witness has cosigned (`[state]`), and has nothing";
        return Err(absent(format_args!(
            "{}: {what}. A disk that is not mounted looks like this",
            folder.display()
        )));
    }
    let made = DirBuilder::new().mode(0o700).recursive(true).create(folder);
    let (name, text) = WITNESS_NOTE;
    made.and_then(|()| sync_folders_above(folder))
        .map_err(|error: io::Error| CommandError::file(folder, &error))?;
    write_public(&folder.join(name), text.as_bytes())
        .map_err(|error| CommandError::new(error, "check the disk"))
}

fn absent(what: impl Display) -> CommandError {
    let hint = "nothing was made. Mount the disk, or restore a backup (docs/operations.md#backups); for a first start on purpose \
                add --first-start, once";
    CommandError::temporary(what, hint)
}

fn had_its_first(what: &str, path: &Path) -> CommandError {
    let message = format_args!("there is a {what} at {} already", path.display());
    CommandError::usage(
        message,
        "leave out --first-start: it is for one start, and not for a unit",
    )
}
