//! `[secrets]`, `[token]` and `[seal]`: where secrets lie, what opens them, and when a node forgets
//! its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{Count, Place, SecretLocation, TokenLabel, is_bad_credential_name};
use super::{Openers, optional_section};
use crate::keys::custody::token::{TokenConfig, WrapMechanism};
use crate::keys::custody::{Custody, Deposit, PassphraseSource};
use crate::register::read::{Faults, TomlTable};
use crate::safe::SealTimes;

/// What `[secrets]` states for all secrets, and the kinds of custody that they use.
pub(super) struct SecretsSection {
    line: usize,
    folder: PathBuf,
    custody: Custody,
    passphrase: Option<PassphraseSource>,
    used: Vec<Custody>,
}

impl SecretsSection {
    /// Reads what `[secrets]` states for all secrets.
    pub(super) fn read(
        table: &mut TomlTable<'_, '_>,
        folder: &Path,
        faults: &mut Faults,
    ) -> Option<Self> {
        let custody = table.or("custody", Custody::File, faults);
        let passphrase: Option<PassphraseSource> =
            table.optional("passphrase", faults).map(|at| at.value);
        Some(Self {
            line: table.line,
            folder: folder.to_owned(),
            custody: custody?.value,
            passphrase: passphrase.map(|source| source.within(folder)),
            used: vec![],
        })
    }

    /// Reads a secret's place, which must be there.
    pub(super) fn required(
        &mut self,
        name: &'static str,
        table: &mut TomlTable<'_, '_>,
        faults: &mut Faults,
    ) -> Option<Deposit> {
        let lodged = table.required::<SecretLocation>(name, faults)?;
        let deposit = lodged.value.within(&self.folder, self.custody);
        self.note(name, &deposit, lodged.line, faults);
        Some(deposit)
    }

    /// Reads a secret's place, if it is there.
    pub(super) fn optional(
        &mut self,
        name: &'static str,
        table: &mut TomlTable<'_, '_>,
        faults: &mut Faults,
    ) -> Option<Deposit> {
        let lodged = table.optional::<SecretLocation>(name, faults)?;
        let deposit = lodged.value.within(&self.folder, self.custody);
        self.note(name, &deposit, lodged.line, faults);
        Some(deposit)
    }

    /// Notes the custody of the deposit that the field `name` states, and checks a credential's
    /// name.
    pub(super) fn note(&mut self, name: &str, deposit: &Deposit, line: usize, faults: &mut Faults) {
        if is_bad_credential_name(deposit) {
            let what = format!("`{name}` is not the name of a credential");
            faults.push(
                line,
                what,
                "letters, digits, `-`, `_` and `.`, as in LoadCredential=",
            );
        }
        self.used.push(deposit.custody);
    }
}

/// Reads `passphrase` and `[token]`. Each must be there if a secret needs it.
pub(super) fn openers(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    places: Option<&SecretsSection>,
    faults: &mut Faults,
) -> Option<Openers> {
    let token = optional_section(root, "token", faults, |table, faults| {
        token(table, folder, faults)
    });
    let places = places?;
    let needs = |custody| places.used.contains(&custody);
    if needs(Custody::Passphrase) && places.passphrase.is_none() {
        let what = "a secret is encrypted to a passphrase, and no field says where the passphrase comes from";
        faults.push(
            places.line,
            what,
            "passphrase = \"terminal\", \"fd:3\", \"file:PATH\" or \"credential:NAME\"",
        );
    }
    if needs(Custody::Token) && matches!(token, Some(None)) {
        let what = "a secret is wrapped by a token, and there is no section [token]";
        faults.push(places.line, what, "[token] with module, label, key and pin");
    }
    Some(Openers {
        passphrase: places.passphrase.clone(),
        token: token?,
    })
}

fn token(table: &mut TomlTable<'_, '_>, folder: &Path, faults: &mut Faults) -> Option<TokenConfig> {
    let module = table.required::<Place>("module", faults);
    let label = table.required::<TokenLabel>("label", faults);
    let key = table.required::<TokenLabel>("key", faults);
    let pin = table.optional::<PassphraseSource>("pin", faults);
    let mechanism = table.or("mechanism", WrapMechanism::default(), faults);
    Some(TokenConfig {
        module: module?.within(folder),
        label: label?.value.0,
        key: key?.value.0,
        pin: pin.map(|pin| pin.value.within(folder)),
        mechanism: mechanism?.value,
    })
}

/// `[seal]` of a node, optional.
pub(super) fn seal_times(root: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Option<SealTimes> {
    let usual = SealTimes::default();
    let times = optional_section(root, "seal", faults, |table, faults| {
        let idle = table.or("idle-seconds", Count(usual.idle.as_secs() as usize), faults);
        let forget = table.or(
            "forget-seconds",
            Count(usual.forget.as_secs() as usize),
            faults,
        );
        let seconds = |count: Count| Duration::from_secs(count.0 as u64);
        Some(SealTimes {
            idle: seconds(idle?.value),
            forget: seconds(forget?.value),
        })
    })?;
    Some(times.unwrap_or(usual))
}
