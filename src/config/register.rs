//! `[register]`: where the register lies, and the keys that verify it.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::section;
use super::value::{Count, Place};
use crate::register::read::{At, Faults, TomlTable};
use crate::register::{Id, PinnedKey, RegisterPins};

/// `[register]`: the register's files and the keys pinned for it.
#[derive(Debug, Clone)]
pub struct RegisterFiles {
    /// `register.toml`
    pub file: PathBuf,
    /// `register.jws`
    pub signatures: PathBuf,
    /// The deployment, and by whose signatures a register is known to be genuine.
    pub pins: RegisterPins,
}

pub(super) fn register_files(
    root: &mut TomlTable<'_, '_>,
    deployment: Option<&Id>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<RegisterFiles> {
    section(root, "register", faults, |table, faults| {
        let file = table.required::<Place>("file", faults);
        let signatures = table.required::<Place>("signatures", faults);
        let quorum = table.required::<Count>("quorum", faults);
        let commission = table.required::<Id>("commission", faults);
        let before = faults.count();
        let keys = register_keys(table, faults);
        // If a key could not be read, counting keys would report faults that are none.
        if let (Some(quorum), Some(commission), true) =
            (&quorum, &commission, faults.count() == before)
        {
            check_pins(quorum, commission, &keys, faults);
        }
        Some(RegisterFiles {
            file: file?.within(folder),
            signatures: signatures?.within(folder),
            pins: RegisterPins {
                deployment: deployment?.clone(),
                quorum: quorum?.value.0,
                commission: commission?.value,
                keys,
            },
        })
    })
}

fn register_keys(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Vec<PinnedKey> {
    let mut keys: Vec<PinnedKey> = Vec::new();
    for mut entry in table.tables("key", "id", faults) {
        let id = entry.required::<Id>("id", faults);
        let body = entry.required::<Id>("body", faults);
        let public = entry.required::<VerifyingKey>("public", faults);
        entry.finish(faults);
        let (Some(id), Some(body), Some(public)) = (id, body, public) else {
            continue;
        };
        if keys.iter().any(|key| key.id == id.value) {
            faults.push(
                id.line,
                format!("a second register key has the id `{}`", id.value),
                "an id of its own",
            );
        }
        if keys.iter().any(|key| key.key == public.value) {
            faults.push(
                public.line,
                "two register keys are one and the same",
                "the key of another holder",
            );
        }
        keys.push(PinnedKey {
            id: id.value,
            body: body.value,
            key: public.value,
        });
    }
    keys
}

/// Checks that no holder can sign a register alone, and that the commission has a key.
fn check_pins(quorum: &At<Count>, commission: &At<Id>, keys: &[PinnedKey], faults: &mut Faults) {
    if !(2..=keys.len()).contains(&quorum.0) {
        let most = keys.len().max(2);
        faults.push(
            quorum.line,
            "`quorum` is not from 2 to the number of register keys",
            format!("quorum = 2 (up to {most})"),
        );
    }
    if !keys.iter().any(|key| key.body == commission.value) {
        let what = format!("no register key is of the body `{}`", commission.value);
        faults.push(
            commission.line,
            what,
            "the `body` of one of the [[register.key]]",
        );
    }
    if !keys.is_empty() && keys.iter().all(|key| key.body == keys[0].body) {
        faults.push(
            commission.line,
            "all register keys are of one body",
            "a [[register.key]] of a second body",
        );
    }
}
