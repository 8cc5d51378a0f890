//! What the routes of an authority node's control listener work on.

use std::sync::Arc;

use crate::entity::Entity;
use crate::migrate::MigrationLink;
use crate::node::Node;
use crate::reidentify::resumed::ResumeLink;
use crate::renewal::SegmentsLink;

/// The node's listener's state.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The way to the vault.
    pub vault: Arc<dyn MigrationLink>,
    /// The way to the vault's segments.
    pub segments: Arc<dyn SegmentsLink>,
    /// The way to the vault's log.
    pub log: Arc<dyn ResumeLink>,
}

impl NodeDoor {
    /// The node, as an entity.
    pub(super) fn entity(&self) -> Arc<Entity> {
        self.node.entity().clone()
    }
}
