//! What people see of backups and of the work on them.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::branch::LogBranch;
use super::envelope::BackupIdentities;
use super::error::RepositoryError;
use super::listed::ListedBackup;
use super::manifest::BackupManifest;
use super::opened::OpenedBackup;
use super::repository::BackupRepository;

/// A backup in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupView {
    /// Its id.
    pub backup: String,
    /// When it was taken, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// Version of the program that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The store's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<u32>,
    /// Version of the register that was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_version: Option<u64>,
    /// Versions of the sector secret that a restore of it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<u32>,
    /// Entries of the last shard of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Bytes of all its files; other backups may have some of them, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// To whom it is sealed (`age1…`). Where no identity opened it, what its manifest alone says is
    /// absent, and its bytes are the sealed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// When it was last found good, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Whether it is of another branch than the log that counts: a machine that went astray took
    /// it, or the log went on without it. It is never taken as the last one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_branch: bool,
    /// Why it is no good backup, as far as a look at names and lengths tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Work on backups, under way or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupJobView {
    /// Its number, counted since the server began.
    pub job: u64,
    /// `create` or `verify`.
    pub kind: String,
    /// The backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that are to be read.
    pub all: u64,
    /// Bytes that the repository lacked.
    pub copied: u64,
    /// Milliseconds so far, or that it took.
    pub milliseconds: u64,
    /// Why it failed: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it failed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Entries of the log that were verified; absent where the backup is sealed, because a server
    /// has no identity that opens it and compares the sealed bytes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

/// The backups of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupList {
    /// The repository, as the server's configuration names it.
    pub repository: String,
    /// Oldest first.
    pub backups: Vec<BackupView>,
    /// Names among the manifests that are no manifest's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<String>,
    /// Why the repository cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The work under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<BackupJobView>,
    /// The work that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<BackupJobView>,
}

/// Lists the backups in a repository, with what a look at names and lengths tells; with identities,
/// also what sealed manifests say.
///
/// # Errors
/// [`RepositoryError::Io`]
pub fn list(
    repository: &BackupRepository,
    key: &VerifyingKey,
    identities: Option<&BackupIdentities>,
    branch: &LogBranch<'_>,
) -> Result<BackupList, RepositoryError> {
    let listing = repository.backups(key)?;
    let mut backups = vec![];
    for (id, backup) in listing.backups {
        backups.push(match backup {
            Ok(backup) => {
                let open = |by| repository.open_backup(backup.clone(), Some(by), key);
                let mut view = view(repository, &backup, identities.map(open));
                match branch.contains(backup.log()) {
                    Ok(is_in) => view.other_branch = !is_in,
                    Err(error) => view.fault = view.fault.or(Some(error.to_string())),
                }
                view
            }
            Err(fault) => BackupView {
                backup: id.to_string(),
                fault: Some(fault.to_string()),
                ..BackupView::default()
            },
        });
    }
    Ok(BackupList {
        repository: repository.folder().display().to_string(),
        backups,
        foreign: listing.foreign,
        fault: None,
        running: None,
        ended: None,
    })
}

fn view(
    repository: &BackupRepository,
    backup: &ListedBackup,
    opened: Option<Result<OpenedBackup<'_>, RepositoryError>>,
) -> BackupView {
    let missing = backup
        .stored()
        .iter()
        .filter(|f| !repository.has(f))
        .count();
    let missing = (missing > 0)
        .then(|| format!("{missing} of its files are missing, cut or not plain files"));
    let mut view = BackupView {
        backup: backup.id().to_string(),
        taken: Some(backup.taken().to_string()),
        entries: Some(backup.log().size),
        bytes: Some(backup.length()),
        recipients: backup.recipients().to_vec(),
        verified: repository
            .verified(backup.id())
            .map(|time| time.to_string()),
        fault: missing,
        ..BackupView::default()
    };
    match (&opened, backup) {
        (Some(Ok(opened)), _) => describe(&mut view, opened.manifest()),
        // It may be sealed to recipients of before: that is no fault of it.
        (Some(Err(RepositoryError::WrongIdentity { .. })), _) => {}
        (Some(Err(fault)), _) => view.fault = Some(fault.to_string()),
        (None, ListedBackup::Clear(manifest)) => describe(&mut view, manifest),
        (None, ListedBackup::Sealed(_)) => {}
    }
    view
}

/// Adds what a manifest alone says.
fn describe(view: &mut BackupView, manifest: &BackupManifest) {
    view.program = Some(manifest.program.clone());
    view.format = Some(manifest.format);
    view.register_version = Some(manifest.register.0);
    view.secrets = manifest.secrets.clone();
    view.bytes = Some(manifest.length());
}
