//! What the commands that make or open custodians' shares have in common.

use std::path::{Path, PathBuf};

use super::passphrases::{self, Turn};
use crate::deployment::layout::NewFolder;
use crate::deployment::shares::seal_share;
use crate::keys::custody::PassphraseSource;
use crate::keys::custody::passphrase::{self, AgeLock, AgeOpener, LEAST_WORK, MOST_WORK};
use crate::keys::file::{FileError, FileFault, read_private, read_public};
use crate::keys::shares::{Share, ShareFile, ShareSet};
use crate::register::Id;
use crate::system::echo::EchoOff;
use crate::terminal::CommandError;

/// The most bytes of a share file.
const MAX_FILE: usize = 256 * 1024;

/// Who gets shares, and the folder for them.
#[derive(clap::Args)]
pub struct CustodianArgs {
    /// How many shares recover what is split
    #[arg(long, value_name = "COUNT")]
    threshold: usize,
    /// How many shares there are; without --custodian their holders are custodian-1, custodian-2, …
    #[arg(long, value_name = "COUNT")]
    shares: Option<usize>,
    /// A custodian by id, whose share a passphrase opens, or by id and age recipient (repeatable,
    /// in the order of the shares)
    #[arg(long, value_name = "ID[=age1…]", value_parser = custodian)]
    custodian: Vec<(Id, Option<String>)>,
    /// Where the passphrases of the shares come from, one after the other: terminal or fd:N
    #[arg(long, value_name = "SOURCE", default_value = "terminal", value_parser = source)]
    passphrase: PassphraseSource,
    /// How much work guards a passphrase: scrypt's N = 2^WORK (15 to 22); without it, about a
    /// second on this machine
    #[arg(long, value_name = "WORK", value_parser = clap::value_parser!(u8).range(LEAST_WORK as i64..=MOST_WORK as i64))]
    work: Option<u8>,
    /// The new folder for the set and one share file a custodian
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What opens share files.
#[derive(clap::Args)]
pub struct ShareOpeningArgs {
    /// An age identity file that opens the share (repeatable); without one a passphrase does
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Where passphrases of shares come from, one after the other: terminal, fd:N, file:PATH or
    /// credential:NAME
    #[arg(long, value_name = "SOURCE", default_value = "terminal", value_parser = source)]
    passphrase: PassphraseSource,
}

fn custodian(text: &str) -> Result<(Id, Option<String>), String> {
    let (id, recipient) = text
        .split_once('=')
        .map_or((text, None), |(id, recipient)| (id, Some(recipient)));
    let id = Id::parse(id).ok_or("a custodian's id is 1 to 64 of a-z, 0-9 and '-'")?;
    match recipient {
        Some(recipient) if AgeLock::recipient(recipient).is_none() => {
            Err("write an age recipient after `=`: age1…".into())
        }
        recipient => Ok((id, recipient.map(str::to_owned))),
    }
}

/// Reads a source of passphrases from the command line.
pub fn source(text: &str) -> Result<PassphraseSource, String> {
    PassphraseSource::parse(text).ok_or_else(|| {
        "terminal, fd:NUMBER, file:PATH or credential:NAME; never the passphrase itself".to_owned()
    })
}

impl CustodianArgs {
    /// The custodians in the order of their shares.
    ///
    /// # Errors
    /// When no custodian is named, or --shares differs from the number of --custodian.
    fn all(&self) -> Result<Vec<(Id, Option<String>)>, CommandError> {
        let hint = "name each with --custodian, or say how many with --shares";
        match (self.shares, self.custodian.len()) {
            (None, 0) => Err(CommandError::usage("no custodian is named", hint)),
            (Some(count), 0) => {
                let id = |number| Id::parse(&format!("custodian-{number}")).map(|id| (id, None));
                Ok((1..=count.min(1000)).filter_map(id).collect())
            }
            (Some(count), named) if count != named => Err(CommandError::usage(
                format_args!("--shares is {count}, and {named} custodians are named"),
                hint,
            )),
            _ => Ok(self.custodian.clone()),
        }
    }

    /// Splits, asks for passphrases, writes the set to `<name>.set` and each share to
    /// `<custodian>.share`, and returns the set and the files' paths. A failure leaves nothing
    /// behind.
    pub fn split(
        &self,
        name: &str,
        split: impl FnOnce(&[Id], usize) -> Result<(ShareSet, Vec<Share>), CommandError>,
    ) -> Result<(ShareSet, Vec<PathBuf>), CommandError> {
        let all = self.all()?;
        let ids: Vec<Id> = all.iter().map(|(id, _)| id.clone()).collect();
        let (set, shares) = split(&ids, self.threshold)?;
        let alike = all
            .iter()
            .filter(|(_, recipient)| recipient.is_none())
            .count()
            > 1;
        if alike
            && matches!(
                self.passphrase,
                PassphraseSource::File(_) | PassphraseSource::Credential(_)
            )
        {
            return Err(CommandError::usage(
                "a file or credential holds one passphrase, and each custodian needs their own",
                "use --passphrase terminal, or fd:N with a line for each",
            ));
        }
        // All passphrases come before the first file, so that giving up half-way leaves nothing.
        let of = all
            .iter()
            .filter(|(_, recipient)| recipient.is_none())
            .count();
        let _echo = match of {
            0 => None,
            _ => passphrases::begin(&self.passphrase)?,
        };
        let (mut locks, mut number) = (vec![], 0);
        for (id, recipient) in &all {
            locks.push(match recipient.as_deref().and_then(AgeLock::recipient) {
                Some(lock) => lock,
                None => {
                    number += 1;
                    let turn = Turn { number, of };
                    AgeLock::Passphrase {
                        passphrase: passphrases::for_new_share(&self.passphrase, id, turn)?,
                        work: self.work,
                    }
                }
            });
        }
        let folder = NewFolder::create(&self.out)?;
        let mut files = vec![self.out.join(format!("{name}.set"))];
        folder.public(&format!("{name}.set"), &(set.to_json() + "\n"))?;
        for (share, lock) in shares.into_iter().zip(locks) {
            let file = format!("{}.share", share.custodian());
            let age = seal_share(set.clone(), share, lock)?;
            folder.secret(&file, &age)?;
            files.push(self.out.join(file));
        }
        folder.finish()?;
        Ok((set, files))
    }
}

impl ShareOpeningArgs {
    /// Decrypts share files and checks each share against its own set.
    ///
    /// # Errors
    /// When a file cannot be read or opened, or its share is not valid; the file is named.
    pub fn open(&self, files: &[PathBuf]) -> Result<Vec<ShareFile>, CommandError> {
        let mut echo = None;
        let of = files.len();
        let mut open = |(at, file): (usize, &PathBuf)| {
            let turn = Turn { number: at + 1, of };
            self.open_one(file, turn, &mut echo)
        };
        files.iter().enumerate().map(&mut open).collect()
    }

    /// Opens the share in a file. What keeps a terminal from showing what is typed is put into
    /// `echo` before the first question.
    fn open_one(
        &self,
        path: &Path,
        turn: Turn,
        echo: &mut Option<EchoOff>,
    ) -> Result<ShareFile, CommandError> {
        let hint = "a share opens with its custodian's passphrase, or with --identity FILE";
        let at = |fault: FileFault| {
            CommandError::new(
                FileError {
                    path: path.to_owned(),
                    fault,
                },
                hint,
            )
        };
        // The file is encrypted and may come on a medium without modes, so its mode does not
        // matter.
        let age = read_public(path, MAX_FILE)
            .map_err(|error| CommandError::new(error, "check the path"))?;
        let plain = if passphrase::wants_passphrase(&age).map_err(at)? {
            if echo.is_none() {
                *echo = passphrases::begin(&self.passphrase)?;
            }
            let what = path.display().to_string();
            passphrases::to_open(&self.passphrase, &what, turn, |typed| {
                passphrase::decrypt(&age, &AgeOpener::Passphrase(typed)).map_err(at)
            })?
        } else {
            passphrase::decrypt(&age, &self.identities()?).map_err(at)?
        };
        ShareFile::from_json(&plain).map_err(|error| {
            CommandError::new(
                format_args!("{}: {error}", path.display()),
                "get the share from its custodian's own copy",
            )
        })
    }

    fn identities(&self) -> Result<AgeOpener, CommandError> {
        let mut all = Vec::new();
        for path in &self.identity {
            let text = read_private(path)
                .map_err(|error| CommandError::new(error, "an identity file has mode 0600"))?;
            let Some(AgeOpener::Identities(read)) = AgeOpener::identities(&text) else {
                let what = format!("{}: is not an age identity file", path.display());
                return Err(CommandError::new(
                    what,
                    "it has a line AGE-SECRET-KEY-1…, as age-keygen writes it",
                ));
            };
            all.extend(read);
        }
        if all.is_empty() {
            Err(CommandError::usage(
                "the share is encrypted to an age recipient",
                "name the identity with --identity FILE",
            ))
        } else {
            Ok(AgeOpener::Identities(all))
        }
    }
}
