//! What a store says of itself, for the manifest: read from a snapshot when a backup is taken, and
//! from the backup when it is verified.

use std::collections::BTreeSet;

use super::error::RepositoryError;
use super::manifest::{BackupLogHead, BackupManifest};
use crate::audit::origin::origin;
use crate::store::Store;

impl BackupManifest {
    /// Checks that a store is the one that this manifest describes.
    ///
    /// # Errors
    /// [`RepositoryError::Differs`], [`RepositoryError::Store`].
    pub fn check_store(&self, store: &Store) -> Result<(), RepositoryError> {
        StoreState::of(store)?.check(self)
    }
}

/// The facts of a store that its manifest states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreState {
    pub(super) owner: String,
    pub(super) format: u32,
    pub(super) register: (u64, [u8; 32]),
    pub(super) secrets: Vec<u32>,
    pub(super) log: BackupLogHead,
}

impl StoreState {
    /// Reads them.
    ///
    /// # Errors
    /// [`RepositoryError::Store`]; [`RepositoryError::Differs`] where it has no log or no register.
    pub(super) fn of(store: &Store) -> Result<Self, RepositoryError> {
        let owner = store.owner()?;
        let trees = store.trees()?;
        let tree = trees
            .last()
            .ok_or(RepositoryError::Differs("it has no log"))?;
        let register = store.register()?;
        let retired = store.retired_secrets()?;
        let epochs = store.all_epochs()?.into_iter();
        let secrets: BTreeSet<u32> = epochs.map(|epoch| epoch.secret_version).collect();
        Ok(Self {
            format: store.format()?,
            register: register.ok_or(RepositoryError::Differs("it has no register"))?,
            secrets: secrets
                .into_iter()
                .filter(|version| !retired.contains(version))
                .collect(),
            log: BackupLogHead {
                origin: origin(&owner, tree.shard),
                size: tree.size,
                root: tree.root,
            },
            owner,
        })
    }

    /// Compares them with a manifest.
    ///
    /// # Errors
    /// [`RepositoryError::Differs`]
    fn check(&self, manifest: &BackupManifest) -> Result<(), RepositoryError> {
        let same = [
            (self.owner == manifest.owner, "whose it is"),
            (self.format == manifest.format, "its format"),
            (self.register == manifest.register, "its register"),
            (
                self.secrets == manifest.secrets,
                "the secrets that it needs",
            ),
            (self.log == manifest.log, "the end of its log"),
        ];
        match same.into_iter().find(|(same, _)| !same) {
            Some((_, what)) => Err(RepositoryError::Differs(what)),
            None => Ok(()),
        }
    }
}
