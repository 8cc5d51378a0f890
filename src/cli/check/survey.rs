//! Opens every file that a configuration names, as `serve` would, and lists what is wrong with
//! them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use jiff::Timestamp;

use crate::certificates::TlsInspection;
use crate::config::NamedFile;
use crate::keys::custody::{Custody, Deposit, Keyring};
use crate::keys::file::{FileError, FileFault, check_private, read_private};
use crate::register::Register;
use crate::serve::read_set;

/// What was found of the files that a configuration names.
#[derive(Default)]
pub(in crate::cli) struct Survey {
    /// How many secrets are as they should be, by custody.
    pub(in crate::cli) custody: BTreeMap<&'static str, usize>,
    /// What is wrong, a line each.
    pub(in crate::cli) faults: Vec<String>,
    /// The TLS files among them; their faults are among [`Survey::faults`].
    pub(in crate::cli) tls: TlsInspection,
}

impl Survey {
    /// Checks all of them at the time `now`. Secrets under a passphrase or in a token are not
    /// opened, credentials of systemd are not looked for, and of another user's secrets, which root
    /// may read, only the mode is checked. `register` is this side's, if it could be opened.
    pub(in crate::cli) fn of(
        files: &[NamedFile<'_>],
        register: Option<&Register>,
        now: Timestamp,
    ) -> Self {
        let tls = TlsInspection::of(files, register, now);
        let mut survey = Self::default();
        files.iter().for_each(|file| survey.look(file));
        tls.faults.iter().for_each(|fault| survey.fault(fault));
        survey.tls = tls;
        survey
    }

    fn look(&mut self, file: &NamedFile<'_>) {
        let keyring = Keyring::default();
        match file {
            // Inspected with the pairs.
            NamedFile::Pin(_) | NamedFile::Authorities(_) => {}
            NamedFile::Identity { key, .. } => self.private_key(key),
            NamedFile::Secret(deposit, kind) => {
                self.secret(deposit, || keyring.read(deposit, *kind).map(drop));
            }
            NamedFile::SigningKey(deposit, kind) => {
                self.secret(deposit, || {
                    keyring.read_signing_key(deposit, *kind).map(drop)
                });
            }
            NamedFile::Versions(deposit, _) if deposit.custody == Custody::Credential => {
                self.good(deposit);
            }
            NamedFile::Versions(deposit, kind) => match keyring.versions(deposit) {
                Err(fault) => self.fault(fault),
                Ok(versions) if versions.is_empty() => {
                    self.fault(format_args!(
                        "{}: has no version of the secret, `1.secret`",
                        deposit.at.display()
                    ));
                }
                Ok(versions) => {
                    for deposit in versions.into_iter().map(|version| deposit.version(version)) {
                        self.secret(&deposit, || keyring.read(&deposit, *kind).map(drop));
                    }
                }
            },
            NamedFile::ShareSet(path) => self.note(read_set(path)),
            NamedFile::Private(path) => self.note(check_private(path)),
            NamedFile::Module(path) if !path.is_file() => {
                self.fault(format_args!("{}: there is no such library", path.display()));
            }
            NamedFile::Module(_) => {}
            NamedFile::Written { at, store } => self.written(at, store),
            NamedFile::Register(files) => self.note(super::open(files)),
        }
    }

    /// Checks a private key's owner and mode as any secret's. The pair itself is inspected with all
    /// others ([`TlsInspection`]), as far as this user may read the key.
    fn private_key(&mut self, key: &Path) {
        let deposit = Deposit::file(key);
        self.secret(&deposit, || read_private(key).map(drop));
    }

    /// Opens a secret in a file, and checks owner and mode of every other.
    fn secret(&mut self, deposit: &Deposit, open: impl FnOnce() -> Result<(), FileError>) {
        let looked = match deposit.custody {
            Custody::Credential => Ok(()),
            Custody::Passphrase | Custody::Token => check_private(&deposit.at),
            Custody::File => check_private(&deposit.at).and_then(|()| match open() {
                Err(FileError {
                    fault: FileFault::Owner { .. },
                    ..
                }) => Ok(()),
                opened => opened,
            }),
        };
        match looked {
            Ok(()) => self.good(deposit),
            Err(fault) => self.fault(fault),
        }
    }

    /// Checks the folder of a file that the process writes; the process makes only the folders of
    /// the store.
    fn written(&mut self, at: &Path, store: &Path) {
        let folder = at
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !folder.is_dir() && !store.starts_with(folder) {
            self.fault(format_args!(
                "{}: there is no folder {}",
                at.display(),
                folder.display()
            ));
        }
        if at.is_file()
            && std::fs::File::open(at)
                .is_err_and(|error| error.kind() != std::io::ErrorKind::PermissionDenied)
        {
            self.fault(format_args!("{}: cannot be read", at.display()));
        }
    }

    fn good(&mut self, deposit: &Deposit) {
        *self.custody.entry(deposit.custody.as_str()).or_default() += 1;
    }

    fn note<T>(&mut self, opened: Result<T, impl Display>) {
        if let Err(fault) = opened {
            self.fault(fault);
        }
    }

    /// Adds a fault once, also when two sections name the same file.
    fn fault(&mut self, fault: impl Display) {
        let fault = fault.to_string();
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}
