//! `cloison restore --in-place`: a store that is behind is brought to the present, without a
//! backup.

use std::time::Instant;

use super::next::{RestoreWay, SideFiles, numbered};
use super::secrets::RestoreSecrets;
use super::{RestoreSourceArgs, print, restore_fault};
use crate::backup::manifest::BackupLogHead;
use crate::cli::backup::BackupSide;
use crate::restore::clear::ClearingKeys;
use crate::restore::{RestoreError, RestoredLog, bring, head_of};
use crate::store::{Store, StoreExchange};
use crate::terminal::{CommandError, print as say, print_json, voice};

/// Runs it.
///
/// # Errors
/// When there is no store, no place has more of the log than it, or what the place holds does not
/// continue it. The store is as it was then.
pub(super) fn run(args: &RestoreSourceArgs) -> Result<(), CommandError> {
    let side = BackupSide::read(&args.config)?;
    let owner = side.role.owner(&side.register.deployment);
    let key = side.key()?;
    let store = &side.store;
    if !Store::is_there(store) {
        return Err(CommandError::new(
            format_args!("there is no store at {}", store.display()),
            "mount its disk, or restore it from a backup: `cloison restore REPOSITORY`",
        ));
    }
    let secrets = RestoreSecrets::read(&side.config)?;
    let journal = || Some(secrets.journal.clone());
    let places = args.open_places(&side, (&owner, &key), journal)?;
    if places.is_empty() {
        return Err(CommandError::usage(
            "no place is there that holds the log after what the store has",
            "name one with --from PLACE",
        ));
    }
    let began = Instant::now();
    let failed = |error: crate::store::StoreError| restore_fault(error.into());
    let exchange = StoreExchange::begin(store, &owner).map_err(failed)?;
    let brought = || -> Result<(BackupLogHead, RestoredLog), RestoreError> {
        let copy = exchange.copy(&owner)?;
        let head = head_of(&copy)?.ok_or(RestoreError::Salts)?;
        let keys = ClearingKeys {
            audit: &secrets.audit,
            chunks: side.cipher.as_ref(),
            register: &side.register,
        };
        let what = store.display().to_string();
        let base = (&*what, &head);
        let brought = bring(&copy, base, &places, &secrets.journal, &keys)?;
        Ok((head, brought))
    };
    let (head, brought) = match brought() {
        Ok(done) => done,
        Err(error) => {
            let given_up = exchange.give_up().map_err(RestoreError::Unfinished);
            given_up.map_err(restore_fault)?;
            return Err(restore_fault(error));
        }
    };
    if brought.replayed.entries == 0 {
        let given_up = exchange.give_up().map_err(RestoreError::Unfinished);
        given_up.map_err(restore_fault)?;
        return Err(CommandError::new(
            format_args!(
                "no place has more of the log than the store: {} entries of {}",
                head.size, head.origin
            ),
            "name a place that has, with --from PLACE; or start the server, if it was not refused",
        ));
    }
    let origin = print::origin_in_place(&brought);
    exchange.finish(&origin).map_err(|error| {
        CommandError::new(
            format_args!("the store cannot be replaced: {error}"),
            "the store's folder must not be a mount point itself: mount its disk a level above, or restore from a backup",
        )
    })?;
    if voice().json {
        return print_json(&print::in_place_json(
            store,
            &head,
            &brought,
            began.elapsed(),
        ));
    }
    let steps = SideFiles::of(&side, &args.config).steps(RestoreWay::FromPlaces);
    let named = (&**store, &side.role);
    say(print::in_place(named, &head, &brought, began.elapsed()))?;
    say(numbered(&steps))
}
