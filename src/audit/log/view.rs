//! The log's shards as its readers are told of them.

use serde::{Deserialize, Serialize};

/// A shard of the log.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShardView {
    /// `2026`; its resources are below `/log/2026/`.
    pub shard: String,
    /// The origin of its checkpoints.
    pub origin: String,
    /// The verifier key (C2SP `signed-note`) of its checkpoints.
    pub key: String,
    /// Entries under its last checkpoint.
    pub size: u64,
}

/// The log's shards.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shards {
    /// Oldest first.
    pub shards: Vec<ShardView>,
}
