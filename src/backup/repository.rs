//! The folder that backups lie in.
//!
//! ```text
//! repository.json     whose backups these are, the repository's own id, and whether it is sealed
//! files/<SHA-256>     each file once, however many backups have it; of sealed bytes, and `.age`, where
//!                     the repository is sealed
//! manifests/<id>.jws  written last, by rename: what has no manifest is no backup. Where the
//!                     repository is sealed, the clear part; the manifest is one of the files then
//! verified/<id>       when the backup was last found good
//! lock                held by whoever writes here
//! work/               a backup while it is looked at; removed afterwards
//! ```
//!
//! Folders have mode 0700 and files 0600. No link is followed below the repository's own path. A
//! file that is there already is used only with the right length; `verify` reads its bytes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::bytes::{
    BytesDone, ContentDigest, DigestPipe, PortionWriter, copy, each_part, hash, names, put,
    read_small,
};
use super::envelope::BackupRecipients;
use super::error::RepositoryError;
use super::listed::{SEALED_ENDING, StoredFile};
use super::manifest::{BackupFile, BackupId, LONGEST};
use super::sealed::SealedPart;
use crate::files::sync_folder;
use crate::id::{from_hex, hex};
use crate::json::JsonObject;
use crate::jws::MAX_TEXT;
use crate::system;

const FACTS: &str = "repository.json";
const FILES: &str = "files";
const MANIFESTS: &str = "manifests";
const VERIFIED: &str = "verified";
const WORK: &str = "work";
const LOCK: &str = "lock";
/// The name of a manifest behind its id.
const ENDING: &str = ".jws";
/// The version of this layout.
const LAYOUT: u32 = 1;
/// What `sealed` says in a sealed repository: the format of its files.
const AGE: &str = "age";
/// The ending of a file that is being copied.
const UNFINISHED: &str = ".part";

/// Which repository a store's backups go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositoryId(pub [u8; 16]);

/// A repository.
#[derive(Debug, Clone)]
pub struct BackupRepository {
    folder: PathBuf,
    owner: String,
    id: RepositoryId,
    is_sealed: bool,
}

/// The right to write in a repository. One holder at a time, in whatever process.
#[derive(Debug)]
pub struct RepositoryLock {
    _file: File,
}

/// A repository, and the right to write in it.
#[derive(Debug, Clone, Copy)]
pub struct WritableRepository<'r> {
    /// The repository.
    pub repository: &'r BackupRepository,
    /// The right to write there.
    pub lock: &'r RepositoryLock,
}

/// What lies among the manifests, by its names.
#[derive(Debug, Default)]
pub(super) struct ManifestNames {
    /// Those of manifests, in the order of the ids.
    pub(super) ids: Vec<BackupId>,
    /// Those that are no manifest's.
    pub(super) foreign: Vec<String>,
}

impl BackupRepository {
    /// Opens the repository in a folder.
    ///
    /// # Errors
    /// [`RepositoryError`]: none there, or not a repository.
    pub fn open(folder: &Path) -> Result<Self, RepositoryError> {
        let io = |error| RepositoryError::io(folder, error);
        match fs::metadata(folder) {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => return Err(RepositoryError::NotAFolder(folder.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RepositoryError::Absent(folder.to_owned()));
            }
            Err(error) => return Err(io(error)),
        }
        let path = folder.join(FACTS);
        let text = match read_small(&path, MAX_TEXT) {
            Err(RepositoryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if is_empty(folder).map_err(io)? {
                    RepositoryError::Empty(folder.to_owned())
                } else {
                    RepositoryError::Foreign(folder.to_owned())
                });
            }
            text => text?,
        };
        let repository =
            read_facts(&text, folder).ok_or_else(|| RepositoryError::Foreign(folder.to_owned()))?;
        for part in [FILES, MANIFESTS, VERIFIED] {
            let path = folder.join(part);
            let facts = fs::symlink_metadata(&path);
            if !facts
                .map_err(|error| RepositoryError::io(&path, error))?
                .is_dir()
            {
                return Err(RepositoryError::Link(path));
            }
        }
        Ok(repository)
    }

    /// Opens the repository in a folder, which must hold the backups of `owner`.
    ///
    /// # Errors
    /// Those of [`BackupRepository::open`]; [`RepositoryError::Owner`].
    pub fn open_for(folder: &Path, owner: &str) -> Result<Self, RepositoryError> {
        let repository = Self::open(folder)?;
        if repository.owner == owner {
            return Ok(repository);
        }
        Err(RepositoryError::Owner {
            path: folder.to_owned(),
            found: repository.owner,
            wanted: owner.to_owned(),
        })
    }

    /// Makes a repository for `owner` in an empty folder, which must be there: a disk that is not
    /// mounted must not be taken for a new one. It is sealed, or not, for good.
    ///
    /// # Errors
    /// [`RepositoryError`]: it is there already, or the folder is not empty or not writable.
    pub fn make(
        folder: &Path,
        owner: &str,
        id: RepositoryId,
        is_sealed: bool,
    ) -> Result<Self, RepositoryError> {
        match Self::open(folder) {
            Err(RepositoryError::Empty(_)) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(RepositoryError::Foreign(folder.to_owned())),
        }
        for part in [FILES, MANIFESTS, VERIFIED] {
            let path = folder.join(part);
            let made = DirBuilder::new().mode(0o700).create(&path);
            if let Err(error) = made
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(RepositoryError::io(&path, error));
            }
        }
        // Last: a kill before this leaves empty folders, and the next call goes on.
        let sealed = if is_sealed {
            format!(",\"sealed\":\"{AGE}\"")
        } else {
            String::new()
        };
        let facts = format!(
            "{{\"cloison-backups\":{LAYOUT},\"entity\":{},\"repository\":\"{}\"{sealed}}}\n",
            serde_json::Value::from(owner),
            hex(&id.0)
        );
        put(&folder.join(FACTS), facts.as_bytes())?;
        Self::open(folder)
    }

    /// The same with the right to write in it.
    pub fn with<'r>(&'r self, lock: &'r RepositoryLock) -> WritableRepository<'r> {
        WritableRepository {
            repository: self,
            lock,
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whose backups it holds: `<deployment>/vault`, `<deployment>/node/<authority>`.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Which repository it is.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// Whether its files are sealed.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Takes the right to write here.
    ///
    /// # Errors
    /// [`RepositoryError::Busy`], [`RepositoryError::Io`].
    pub fn lock(&self) -> Result<RepositoryLock, RepositoryError> {
        let path = self.folder.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(&path);
        let file = file.map_err(|error| RepositoryError::io(&path, error))?;
        match system::lock_record(&file) {
            Ok(()) => Ok(RepositoryLock { _file: file }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(RepositoryError::Busy(self.folder.clone()))
            }
            Err(error) => Err(RepositoryError::io(&path, error)),
        }
    }

    /// What lies among the manifests, by its names.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub(super) fn manifest_names(&self) -> Result<ManifestNames, RepositoryError> {
        let mut found = ManifestNames::default();
        for name in names(&self.folder.join(MANIFESTS))? {
            // What a kill left before its rename.
            if name.ends_with(".new") {
                continue;
            }
            match name.strip_suffix(ENDING).and_then(BackupId::parse) {
                Some(id) => found.ids.push(id),
                None => found.foreign.push(name),
            }
        }
        Ok(found)
    }

    /// The last of the ids of all that lie here, whoever signed them.
    pub(super) fn last_id(&self) -> Result<Option<BackupId>, RepositoryError> {
        Ok(self.manifest_names()?.ids.into_iter().max())
    }

    /// The text of a manifest.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`], [`RepositoryError::Link`], [`RepositoryError::Io`].
    pub(super) fn manifest_text(&self, id: &BackupId) -> Result<String, RepositoryError> {
        let path = self.manifest(id);
        match read_small(&path, LONGEST) {
            Err(RepositoryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Err(RepositoryError::Unknown(id.to_string()))
            }
            text => text,
        }
    }

    /// Writes a manifest, after everything that it names: from then on the backup is one.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn put_manifest(
        &self,
        _: &RepositoryLock,
        id: &BackupId,
        text: &str,
    ) -> Result<(), RepositoryError> {
        let files = self.folder.join(FILES);
        sync_folder(&files.join("x")).map_err(|error| RepositoryError::io(&files, error))?;
        put(&self.manifest(id), text.as_bytes())
    }

    /// Removes a manifest, durably: from then on the backup is none.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn remove_manifest(
        &self,
        _: &RepositoryLock,
        id: &BackupId,
    ) -> Result<(), RepositoryError> {
        let path = self.manifest(id);
        let removed = fs::remove_file(&path).and_then(|()| sync_folder(&path));
        removed.map_err(|error| RepositoryError::io(&path, error))?;
        let _ = fs::remove_file(self.folder.join(VERIFIED).join(id.as_str()));
        Ok(())
    }

    fn manifest(&self, id: &BackupId) -> PathBuf {
        self.folder.join(MANIFESTS).join(format!("{id}{ENDING}"))
    }

    /// Where a file of a backup lies.
    pub(super) fn path_of(&self, file: &StoredFile) -> PathBuf {
        self.folder.join(FILES).join(&file.name)
    }

    /// Whether a file is here with that length. Its bytes are not read.
    pub fn has(&self, file: &StoredFile) -> bool {
        let facts = fs::symlink_metadata(self.path_of(file));
        facts.is_ok_and(|facts| facts.is_file() && facts.len() == file.length)
    }

    /// Copies a file here, durable but for its name. What lies there with another length is
    /// replaced.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]; [`RepositoryError::Changed`] where the source is not that file.
    pub fn add(
        &self,
        _: &RepositoryLock,
        file: &BackupFile,
        source: &Path,
        done: BytesDone<'_>,
    ) -> Result<(), RepositoryError> {
        let stored = StoredFile::clear(file);
        let part = self.unfinished(&stored.name);
        let copied = copy(source, &part, done).and_then(|read| {
            check_source(source, file, read)?;
            self.publish(&part, &stored)
        });
        copied.inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// Copies a file here, sealed, durable but for its name. One is never sealed twice under one
    /// key, so the sealed bytes, and with them the name, are new.
    ///
    /// # Errors
    /// As [`BackupRepository::add`].
    pub fn add_sealed(
        &self,
        _: &RepositoryLock,
        file: &BackupFile,
        source: &Path,
        recipients: &BackupRecipients,
        done: BytesDone<'_>,
    ) -> Result<SealedPart, RepositoryError> {
        let at = |error| RepositoryError::io(&self.folder, error);
        self.put_sealed(recipients, |out| {
            let read = each_part(source, done, |part| out.write_all(part).map_err(at))?;
            check_source(source, file, read)
        })
    }

    /// The same with a text.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn add_sealed_text(
        &self,
        _: &RepositoryLock,
        text: &str,
        recipients: &BackupRecipients,
    ) -> Result<SealedPart, RepositoryError> {
        let at = |error| RepositoryError::io(&self.folder, error);
        self.put_sealed(recipients, |out| out.write_all(text.as_bytes()).map_err(at))
    }

    /// Seals what `fill` writes.
    fn put_sealed(
        &self,
        recipients: &BackupRecipients,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), RepositoryError>,
    ) -> Result<SealedPart, RepositoryError> {
        let part = self.unfinished(&hex(&crate::clock::random::<32>()));
        let at = |error| RepositoryError::io(&part, error);
        let put = || -> Result<SealedPart, RepositoryError> {
            let out = DigestPipe::new(PortionWriter::create(&part)?);
            let mut writer = recipients.begin(out).map_err(at)?;
            fill(&mut writer)?;
            let (out, ContentDigest { length, sha256 }) = writer.finish().map_err(at)?.finish();
            out.finish()?;
            let sealed = SealedPart { sha256, length };
            self.publish(&part, &StoredFile::sealed(&sealed))?;
            Ok(sealed)
        };
        put().inspect_err(|_| drop(fs::remove_file(&part)))
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(FILES).join(format!("{name}{UNFINISHED}"))
    }

    /// Gives a copy its name. Never over a link or a folder: `rename` replaces the name, not what
    /// it leads to.
    fn publish(&self, part: &Path, file: &StoredFile) -> Result<(), RepositoryError> {
        let place = self.path_of(file);
        fs::rename(part, &place).map_err(|error| RepositoryError::io(&place, error))
    }

    /// Reads a file of a backup as it lies here, and compares length and hash.
    ///
    /// # Errors
    /// [`RepositoryError::Missing`], [`RepositoryError::Link`], [`RepositoryError::Damaged`],
    /// [`RepositoryError::Io`].
    pub fn check(&self, file: &StoredFile, done: BytesDone<'_>) -> Result<(), RepositoryError> {
        self.compare(file, hash(&self.path_of(file), done))
    }

    /// Compares what was read of a file with what it should be.
    pub(super) fn compare(
        &self,
        file: &StoredFile,
        read: Result<ContentDigest, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        match read {
            Ok(found) if (found.length, found.sha256) == (file.length, file.sha256) => Ok(()),
            Ok(_) => Err(self.damaged(file)),
            Err(error) => Err(self.explain(file, error)),
        }
    }

    /// Says of a file that is not there which one it is.
    pub(super) fn explain(&self, file: &StoredFile, error: RepositoryError) -> RepositoryError {
        let place = self.path_of(file);
        match error {
            RepositoryError::Io { path, error }
                if path == place && error.kind() == io::ErrorKind::NotFound =>
            {
                RepositoryError::Missing {
                    name: file.called.clone(),
                    path,
                }
            }
            error => error,
        }
    }

    pub(super) fn damaged(&self, file: &StoredFile) -> RepositoryError {
        RepositoryError::Damaged {
            name: file.called.clone(),
            path: self.path_of(file),
        }
    }

    /// The names of all that lies among the files.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn stored(&self) -> Result<Vec<String>, RepositoryError> {
        names(&self.folder.join(FILES))
    }

    /// Removes one of [`BackupRepository::stored`]; returns its bytes. Only what this crate writes
    /// there: files and unfinished copies.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn remove_stored(&self, _: &RepositoryLock, name: &str) -> Result<u64, RepositoryError> {
        let path = self.folder.join(FILES).join(name);
        let at = |error| RepositoryError::io(&path, error);
        let length = fs::symlink_metadata(&path).map_err(at)?.len();
        fs::remove_file(&path).map_err(at)?;
        Ok(length)
    }

    /// Notes that a backup was found good.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn note_verified(
        &self,
        _: &RepositoryLock,
        id: &BackupId,
        time: Timestamp,
    ) -> Result<(), RepositoryError> {
        let path = self.folder.join(VERIFIED).join(id.as_str());
        put(&path, format!("{time:.0}\n").as_bytes())
    }

    /// When a backup was last found good.
    pub fn verified(&self, id: &BackupId) -> Option<Timestamp> {
        let text = read_small(&self.folder.join(VERIFIED).join(id.as_str()), MAX_TEXT).ok()?;
        text.trim_end().parse().ok()
    }

    /// An empty folder to look at a backup in; what a killed process left there is removed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn workplace(&self, _: &RepositoryLock) -> Result<PathBuf, RepositoryError> {
        let path = self.folder.join(WORK);
        let removed = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let made = removed.and_then(|()| DirBuilder::new().mode(0o700).create(&path));
        made.map_err(|error| RepositoryError::io(&path, error))?;
        Ok(path)
    }
}

/// The name that [`BackupRepository::stored`] has for a file with that hash, or for an unfinished
/// copy.
pub(super) fn is_ours(name: &str) -> bool {
    let endings = [UNFINISHED, SEALED_ENDING];
    let bare = endings.iter().find_map(|ending| name.strip_suffix(ending));
    from_hex::<32>(bare.unwrap_or(name)).is_some()
}

/// Checks that what was read is the file that was meant.
fn check_source(
    source: &Path,
    file: &BackupFile,
    read: ContentDigest,
) -> Result<(), RepositoryError> {
    if (read.length, read.sha256) == (file.length, file.sha256) {
        Ok(())
    } else {
        Err(RepositoryError::Changed(source.to_owned()))
    }
}

/// Whether a folder has nothing in it but what a new disk has, or a repository that a kill left
/// half made.
fn is_empty(folder: &Path) -> io::Result<bool> {
    const KNOWN: [&str; 5] = [
        "lost+found",
        FILES,
        MANIFESTS,
        VERIFIED,
        "repository.json.new",
    ];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_known = name.to_str().is_some_and(|name| KNOWN.contains(&name));
        let is_bare = name == "lost+found"
            || entry.file_type()?.is_file()
            || fs::read_dir(entry.path()).is_ok_and(|mut inner| inner.next().is_none());
        if !(is_known && is_bare) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads what a folder says of itself.
fn read_facts(text: &str, folder: &Path) -> Option<BackupRepository> {
    let mut facts = JsonObject::parse(text.trim_end().as_bytes()).ok()?;
    let layout = facts.small("cloison-backups").ok()?;
    let owner = facts.text("entity").ok()?;
    let id = facts.text("repository").ok()?;
    let sealed = facts.maybe_text("sealed").ok()?;
    facts.end().ok()?;
    if layout != LAYOUT || sealed.as_ref().is_some_and(|format| format != AGE) {
        return None;
    }
    Some(BackupRepository {
        folder: folder.to_owned(),
        owner,
        id: RepositoryId(from_hex(&id)?),
        is_sealed: sealed.is_some(),
    })
}
