//! Opens a restored store as a server would, and serves nobody: what `backup verify --drill` times.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{identity_parts, node_parts, open_register, read_vault_secrets, start_error};
use crate::clock::SystemClock;
use crate::config::{IdentityConfig, NodeConfig, VaultConfig};
use crate::identity::IdentitySource;
use crate::node::Node;
use crate::store::StoreError;
use crate::terminal::CommandError;
use crate::vault::{Vault, VaultHome};

/// What a drill found.
#[derive(Debug, Clone, Copy)]
pub struct DrillStart {
    /// How long the start took, from reading the secrets on.
    pub took: Duration,
    /// Mappings that the index knows then; none at a node.
    pub mappings: u64,
}

/// Opens a vault on a copy of its store. Nothing leaves the process: it has no listener and no
/// second place, and asks nobody but the identity sources, if there are any, for their check value.
///
/// # Errors
/// When it does not start.
pub fn drill_vault(config: VaultConfig, store: &Path) -> Result<DrillStart, CommandError> {
    let began = Instant::now();
    let register = open_register(&config.register)?;
    let mut secrets = read_vault_secrets(&config, &register)?.secrets;
    secrets.log.second = None;
    let home = VaultHome {
        store: store.to_owned(),
        index_memory: config.index_memory,
    };
    let (clock, progress) = (Arc::new(SystemClock), |_: String| {});
    let opened = Vault::open(
        &home,
        register,
        secrets,
        &[],
        clock,
        &progress,
        Box::new(failed),
    );
    let vault = opened.map_err(start_error)?;
    Ok(DrillStart {
        took: began.elapsed(),
        mappings: vault.index().len(),
    })
}

/// The same for a node.
///
/// # Errors
/// When it does not start.
pub fn drill_node(config: &NodeConfig, store: &Path) -> Result<DrillStart, CommandError> {
    let began = Instant::now();
    let register = open_register(&config.register)?;
    let (mut parts, _) = node_parts(config, register)?;
    parts.log.second = None;
    Node::open(store, parts, Arc::new(SystemClock), Box::new(failed)).map_err(start_error)?;
    Ok(DrillStart {
        took: began.elapsed(),
        mappings: 0,
    })
}

/// The same for an identity source.
///
/// # Errors
/// When it does not start.
pub fn drill_identity(config: &IdentityConfig, store: &Path) -> Result<DrillStart, CommandError> {
    let began = Instant::now();
    let register = open_register(&config.register)?;
    let (mut parts, _) = identity_parts(config, register)?;
    parts.log.second = None;
    IdentitySource::open(store, parts, Arc::new(SystemClock), Box::new(failed))
        .map_err(start_error)?;
    Ok(DrillStart {
        took: began.elapsed(),
        mappings: 0,
    })
}

fn failed(error: &StoreError) {
    tracing::error!(%error, "a write to the copy failed");
}
