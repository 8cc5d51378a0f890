//! The folder that backups lie in.
//!
//! ```text
//! repository.json     whose backups these are, and the repository's own id
//! files/<SHA-256>     each file once, however many backups have it
//! manifests/<id>.jws  written last, by rename: what has no manifest is no backup
//! verified/<id>       when the backup was last found good
//! lock                held by whoever writes here
//! work/               a backup while it is looked at; removed afterwards
//! ```
//!
//! Folders have mode 0700 and files 0600. No link is followed below the repository's own path. A file
//! that is there already is used only with the right length; `verify` reads its bytes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::error::RepositoryError;
use super::manifest::{BackupFile, BackupId, BackupManifest, LONGEST};
use crate::files::{create_new, put_in_place, sync_folder};
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
/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 20;
/// Bytes after which what was copied is written to the disk, so that the disk never gets so much at
/// once that a commit waits for it.
const WRITE_EVERY: u64 = 2 << 20;

/// Which repository a store's backups go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositoryId(pub [u8; 16]);

/// A repository.
#[derive(Debug, Clone)]
pub struct BackupRepository {
    folder: PathBuf,
    owner: String,
    id: RepositoryId,
}

/// The right to write in a repository. One holder at a time, in whatever process.
#[derive(Debug)]
pub struct RepositoryLock {
    _file: File,
}

/// What lies among the manifests.
#[derive(Debug, Default)]
pub struct ManifestListing {
    /// The text of each manifest, or why it cannot be read: first what is no manifest, then in the
    /// order in which the backups were taken.
    pub manifests: Vec<(BackupId, Result<String, RepositoryError>)>,
    /// Names that are no manifest's.
    pub foreign: Vec<String>,
}

/// Told about bytes as they are read.
pub type BytesDone<'p> = &'p mut dyn FnMut(u64) -> Result<(), RepositoryError>;

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
        let (owner, id) =
            read_facts(&text).ok_or_else(|| RepositoryError::Foreign(folder.to_owned()))?;
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
        Ok(Self {
            folder: folder.to_owned(),
            owner,
            id,
        })
    }

    /// Makes a repository for `owner` in an empty folder, which must be there: a disk that is not
    /// mounted must not be taken for a new one.
    ///
    /// # Errors
    /// [`RepositoryError`]: it is there already, or the folder is not empty or not writable.
    pub fn make(folder: &Path, owner: &str, id: RepositoryId) -> Result<Self, RepositoryError> {
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
        let facts = format!(
            "{{\"cloison-backups\":{LAYOUT},\"entity\":{},\"repository\":\"{}\"}}\n",
            serde_json::Value::from(owner),
            hex(&id.0)
        );
        put(&folder.join(FACTS), facts.as_bytes())?;
        Self::open(folder)
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

    /// What lies among the manifests.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn manifests(&self) -> Result<ManifestListing, RepositoryError> {
        let mut listing = ManifestListing::default();
        for name in names(&self.folder.join(MANIFESTS))? {
            // What a kill left before its rename.
            if name.ends_with(".new") {
                continue;
            }
            match name.strip_suffix(ENDING).and_then(BackupId::parse) {
                Some(id) => {
                    let text = read_small(&self.folder.join(MANIFESTS).join(&name), LONGEST);
                    listing.manifests.push((id, text));
                }
                None => listing.foreign.push(name),
            }
        }
        // By their place in the log: a clock may have been set back between two backups.
        listing.manifests.sort_by_cached_key(|(id, text)| {
            let manifest = text
                .as_ref()
                .ok()
                .and_then(|text| BackupManifest::read_unverified(text).ok());
            (
                manifest.and_then(|manifest| manifest.log.position()),
                id.clone(),
            )
        });
        Ok(listing)
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
    pub fn place(&self, sha256: &[u8; 32]) -> PathBuf {
        self.folder.join(FILES).join(hex(sha256))
    }

    /// Whether a file is here with that length. Its bytes are not read.
    pub fn has(&self, file: &BackupFile) -> bool {
        let facts = fs::symlink_metadata(self.place(&file.sha256));
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
        let place = self.place(&file.sha256);
        let part = place.with_extension("part");
        let copied = copy(source, &part, done).and_then(|(length, sha256)| {
            if (length, sha256) != (file.length, file.sha256) {
                return Err(RepositoryError::Changed(source.to_owned()));
            }
            // Never over a link or a folder: `rename` replaces the name, not what it leads to.
            fs::rename(&part, &place).map_err(|error| RepositoryError::io(&place, error))
        });
        copied.inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// Reads a file of a backup and compares length and hash.
    ///
    /// # Errors
    /// [`RepositoryError::Missing`], [`RepositoryError::Link`], [`RepositoryError::Damaged`],
    /// [`RepositoryError::Io`].
    pub fn check(&self, file: &BackupFile, done: BytesDone<'_>) -> Result<(), RepositoryError> {
        self.compare(file, hash(&self.place(&file.sha256), done))
    }

    /// Copies a file of a backup elsewhere, durable but for its name, and compares length and hash.
    ///
    /// # Errors
    /// As [`BackupRepository::check`].
    pub fn fetch(
        &self,
        file: &BackupFile,
        to: &Path,
        done: BytesDone<'_>,
    ) -> Result<(), RepositoryError> {
        self.compare(file, copy(&self.place(&file.sha256), to, done))
    }

    /// Compares what was read of a file with what it should be.
    fn compare(
        &self,
        file: &BackupFile,
        read: Result<(u64, [u8; 32]), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let (name, place) = (file.name.clone(), self.place(&file.sha256));
        match read {
            Ok(found) if found == (file.length, file.sha256) => Ok(()),
            Ok(_) => Err(RepositoryError::Damaged { name, path: place }),
            Err(RepositoryError::Io { path, error })
                if path == place && error.kind() == io::ErrorKind::NotFound =>
            {
                Err(RepositoryError::Missing { name, path: place })
            }
            Err(error) => Err(error),
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
    let name = name.strip_suffix(".part").unwrap_or(name);
    from_hex::<32>(name).is_some()
}

/// Length and SHA-256 of a file, which must not be a link.
///
/// # Errors
/// [`RepositoryError::Link`], [`RepositoryError::Io`], and what `done` returns.
pub(super) fn hash(path: &Path, done: BytesDone<'_>) -> Result<(u64, [u8; 32]), RepositoryError> {
    each_part(path, done, |_| Ok(()))
}

/// Copies a file; returns what was copied.
fn copy(source: &Path, to: &Path, done: BytesDone<'_>) -> Result<(u64, [u8; 32]), RepositoryError> {
    let at = |error| RepositoryError::io(to, error);
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let mut file = create_new(to, 0o600).map_err(at)?;
    let (mut written, mut unwritten) = (0, 0);
    let copied = each_part(source, done, |part| {
        file.write_all(part).map_err(at)?;
        unwritten += part.len() as u64;
        if unwritten >= WRITE_EVERY {
            system::write_back(&file, written, unwritten)
                .or_else(|_| file.sync_data())
                .map_err(at)?;
            written += std::mem::take(&mut unwritten);
        }
        Ok(())
    })?;
    file.sync_all().map_err(at)?;
    Ok(copied)
}

/// Hands a file's bytes on; returns their number and SHA-256.
fn each_part(
    path: &Path,
    done: BytesDone<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), RepositoryError>,
) -> Result<(u64, [u8; 32]), RepositoryError> {
    let mut file = open_regular(path)?;
    let (mut length, mut sha256) = (0, Sha256::new());
    let mut buffer = vec![0; AT_ONCE];
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| RepositoryError::io(path, error))?,
        };
        if read == 0 {
            return Ok((length, sha256.finalize().into()));
        }
        sha256.update(&buffer[..read]);
        take(&buffer[..read])?;
        length += read as u64;
        done(read as u64)?;
    }
}

/// Opens a file that is no link, no folder and no device.
fn open_regular(path: &Path) -> Result<File, RepositoryError> {
    let at = |error| RepositoryError::io(path, error);
    // Looked at before: opening a pipe would wait for a writer.
    if !fs::symlink_metadata(path).map_err(at)?.is_file() {
        return Err(RepositoryError::Link(path.to_owned()));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    file.map_err(at)
}

/// Reads a text, and a byte more than `longest` of one that is longer: its reader refuses it.
fn read_small(path: &Path, longest: usize) -> Result<String, RepositoryError> {
    let mut text = String::new();
    let file = open_regular(path)?;
    let read = file.take(longest as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| RepositoryError::io(path, error))?;
    Ok(text)
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    put_in_place(Path::new(&beside), path, bytes, 0o600)
        .map_err(|error| RepositoryError::io(path, error))
}

fn names(folder: &Path) -> Result<Vec<String>, RepositoryError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = vec![];
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    };
    list().map_err(|error| RepositoryError::io(folder, error))
}

/// Whether a folder has nothing in it but what a new disk has, or a repository that a kill left half
/// made.
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

fn read_facts(text: &str) -> Option<(String, RepositoryId)> {
    let mut facts = JsonObject::parse(text.trim_end().as_bytes()).ok()?;
    let layout = facts.small("cloison-backups").ok()?;
    let owner = facts.text("entity").ok()?;
    let id = facts.text("repository").ok()?;
    facts.end().ok()?;
    (layout == LAYOUT).then_some((owner, RepositoryId(from_hex(&id)?)))
}
