//! Takes a backup of a running store.
//!
//! The entry `backup` is committed first, so that the backup holds it. The snapshot is the state
//! between two commits, and makes no request wait. What a commit wrote that was not durable yet may
//! be in it, so the manifest is written only once every commit that had begun is durable. Files are
//! copied by this thread, which steps back behind all others, and rests in between (`pace`).

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::BackupProgress;
use super::bytes::hash;
use super::envelope::BackupRecipients;
use super::error::RepositoryError;
use super::listed::StoredFile;
use super::manifest::{
    BackupFile, BackupId, BackupManifest, LONGEST, ManifestError, TYP, is_file_name,
};
use super::pace::PacedProgress;
use super::repository::WritableRepository;
use super::sealed::SEALED_TYP;
use super::sealing::{BackupSealer, SealedByMark};
use super::state::StoreState;
use crate::audit::AuditEvent;
use crate::commit::Change;
use crate::entity::Entity;
use crate::refusal::{Refusal, not_logged};
use crate::store::{Store, StoreSnapshot};
use crate::system::process::{set_thread_niceness, set_thread_slice};

/// The niceness of the thread that copies.
const NICENESS: i32 = 19;
/// Its time slice: the longest, so that any other thread interrupts it.
const SLICE: Duration = Duration::from_millis(100);

/// A table of a store as the disk knows it. RocksDB writes a table once, and never changes it.
#[derive(PartialEq, Eq, Hash)]
struct TableIdentity {
    name: String,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

/// What this process knows of files that it has read before.
#[derive(Default)]
pub struct KnownFiles {
    hashes: KnownHashes,
    sealed: SealedByMark,
}

/// The hashes of tables.
#[derive(Default)]
struct KnownHashes(HashMap<TableIdentity, [u8; 32]>);

/// What a backup is taken for.
pub struct BackupOrder<'o> {
    /// Its id.
    pub id: BackupId,
    /// Who asked for it: an operator or custodian, or `timer`.
    pub actor: String,
    /// Where it goes.
    pub place: WritableRepository<'o>,
    /// To whom it is sealed, where the repository is.
    pub recipients: Option<&'o BackupRecipients>,
}

/// Takes a backup.
///
/// # Errors
/// A code of [`RepositoryError::code`], or that the entry could not be logged. There is no backup
/// then; what was copied serves the next one.
pub fn take(
    entity: &Entity,
    order: &BackupOrder<'_>,
    known: &mut KnownFiles,
    progress: &BackupProgress,
) -> Result<BackupManifest, Refusal> {
    // Where the system forbids both, the copy competes with requests: slower, not wrong.
    let _ = set_thread_slice(NICENESS, SLICE).or_else(|_| set_thread_niceness(NICENESS));
    let taken = Timestamp::from_second(entity.now().as_second()).unwrap_or_default();
    log_it(entity, order)?;
    let (published, key) = (entity.log().latest(), entity.log().key());
    let snapshot = entity.store().snapshot().map_err(RepositoryError::from)?;
    if !entity.committer().settled() {
        return Err(RepositoryError::Unsettled.into());
    }
    let sources = list(&snapshot)?;
    let state = StoreState::of(&snapshot.open().map_err(RepositoryError::from)?)?;
    let KnownFiles { hashes, sealed } = known;
    let WritableRepository { repository, lock } = order.place;
    let mut sealer = match order.recipients {
        Some(to) => {
            let journal = entity.journal().clone();
            Some(BackupSealer::begin(order.place, to, journal, &key, sealed)?)
        }
        None => None,
    };
    let files = copy(order, &sources, hashes, sealer.as_mut(), progress)?;
    drop(snapshot);
    let manifest = BackupManifest {
        id: order.id.clone(),
        owner: state.owner,
        taken,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        format: state.format,
        register: state.register,
        secrets: state.secrets,
        log: state.log,
        checkpoint: published.map(|published| published.note.clone()),
        files,
    };
    let sign = |payload: &[u8], typ| {
        let signed = entity.log().sign_within(payload, (typ, LONGEST));
        signed.map_err(|_| RepositoryError::Manifest {
            id: order.id.clone(),
            why: ManifestError::TooLong,
        })
    };
    let mut signed = sign(&manifest.payload(), TYP)?;
    if let Some(sealer) = sealer {
        let clear = sealer.finish(&manifest, &signed)?;
        signed = sign(&clear.payload(), SEALED_TYP)?;
    }
    repository.put_manifest(lock, &order.id, &signed)?;
    Ok(manifest)
}

/// Commits the entry, and notes in the store where its backups go.
fn log_it(entity: &Entity, order: &BackupOrder<'_>) -> Result<(), Refusal> {
    let event = AuditEvent::Backup {
        actor: order.actor.clone(),
        backup: order.id.to_string(),
    };
    let repository = order.place.repository.id().0;
    let change: Change = Box::new(move |store: &Store, batch| {
        store.put_backup_repository(batch, &repository);
    });
    entity.committer().admit()?;
    entity
        .committer()
        .record(entity.now(), event, vec![], vec![change])
        .map(drop)
        .map_err(not_logged("no backup is taken"))
}

/// The files of a snapshot.
fn list(snapshot: &StoreSnapshot) -> Result<Vec<(String, PathBuf)>, RepositoryError> {
    let at = |error| RepositoryError::io(snapshot.path(), error);
    let mut files = vec![];
    for entry in fs::read_dir(snapshot.path()).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name
            .filter(|name| is_file_name(name))
            .ok_or_else(|| RepositoryError::Link(path.clone()))?;
        files.push((name.to_owned(), path.clone()));
    }
    files.sort();
    Ok(files)
}

/// Copies the files that the repository lacks, sealed where it is.
fn copy(
    order: &BackupOrder<'_>,
    sources: &[(String, PathBuf)],
    known: &mut KnownHashes,
    mut sealer: Option<&mut BackupSealer<'_>>,
    progress: &BackupProgress,
) -> Result<Vec<BackupFile>, RepositoryError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |facts| facts.len());
    let WritableRepository { repository, lock } = order.place;
    progress.expect(sources.iter().map(|(_, path)| length(path)).sum());
    let (mut next, mut paced) = (KnownHashes::default(), PacedProgress::begin(progress));
    let mut files = vec![];
    for (name, path) in sources {
        let file = known.file(name, path, &mut next, &mut paced)?;
        let mut done = |bytes| paced.copied(bytes);
        if let Some(sealer) = &mut sealer {
            sealer.put(&file, path, &mut done)?;
        } else if !repository.has(&StoredFile::clear(&file)) {
            repository.add(lock, &file, path, &mut done)?;
        }
        files.push(file);
    }
    *known = next;
    Ok(files)
}

impl KnownHashes {
    /// Length and hash of a file; a table that was read before is not read again. `next` gets the
    /// tables that are there now.
    fn file(
        &mut self,
        name: &str,
        path: &Path,
        next: &mut Self,
        paced: &mut PacedProgress<'_>,
    ) -> Result<BackupFile, RepositoryError> {
        let facts = fs::symlink_metadata(path).map_err(|error| RepositoryError::io(path, error))?;
        let is_table = name.ends_with(".sst") || name.ends_with(".blob");
        let identity = TableIdentity {
            name: name.to_owned(),
            inode: facts.ino(),
            length: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
        };
        let (length, sha256) = match self.0.get(&identity) {
            Some(sha256) => {
                paced.passed_over(facts.len())?;
                (facts.len(), *sha256)
            }
            None => {
                let read = hash(path, &mut |bytes| paced.read(bytes))?;
                (read.length, read.sha256)
            }
        };
        if is_table {
            next.0.insert(identity, sha256);
        }
        Ok(BackupFile {
            name: name.to_owned(),
            length,
            sha256,
        })
    }
}
