//! What people see of backups and of the work on them.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::manifest::BackupManifest;
use super::repository::BackupRepository;

/// A backup in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// When it was last found good, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
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
    /// Entries of the log that were verified.
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

/// Lists the backups in a repository, with what a look at names and lengths tells.
///
/// # Errors
/// [`RepositoryError::Io`]
pub fn list(
    repository: &BackupRepository,
    key: &VerifyingKey,
) -> Result<BackupList, RepositoryError> {
    let listing = repository.manifests()?;
    let mut backups = vec![];
    for (id, text) in listing.manifests {
        let read = text.and_then(|text| repository.read_manifest(&id, &text, key));
        backups.push(match read {
            Ok(manifest) => view(repository, &manifest),
            Err(fault) => BackupView {
                backup: id.to_string(),
                taken: None,
                program: None,
                format: None,
                register_version: None,
                secrets: vec![],
                entries: None,
                bytes: None,
                verified: None,
                fault: Some(fault.to_string()),
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

fn view(repository: &BackupRepository, manifest: &BackupManifest) -> BackupView {
    let lacks = |file| !repository.has(file);
    let missing = manifest.files.iter().filter(|file| lacks(file)).count();
    let verified = repository.verified(&manifest.id);
    BackupView {
        backup: manifest.id.to_string(),
        taken: Some(manifest.taken.to_string()),
        program: Some(manifest.program.clone()),
        format: Some(manifest.format),
        register_version: Some(manifest.register.0),
        secrets: manifest.secrets.clone(),
        entries: Some(manifest.log.size),
        bytes: Some(manifest.length()),
        verified: verified.map(|time| time.to_string()),
        fault: (missing > 0)
            .then(|| format!("{missing} of its files are missing, cut or not plain files")),
    }
}
