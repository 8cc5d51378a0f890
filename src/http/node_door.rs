//! What the routes of an authority node's control listener work on.

use std::sync::Arc;

use crate::entity::Entity;
use crate::link::VaultLink;
use crate::node::Node;

/// The node's listener's state.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The way to the vault.
    pub vault: Arc<dyn VaultLink>,
}

impl NodeDoor {
    /// The node, as an entity.
    pub(super) fn entity(&self) -> Arc<Entity> {
        self.node.entity().clone()
    }
}
