//! The state of an authority node's control routes.

use std::sync::Arc;

use crate::entity::Entity;
use crate::link::VaultLink;
use crate::node::Node;

/// The state of the node's control routes.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The link to the vault.
    pub vault: Arc<dyn VaultLink>,
}

impl NodeDoor {
    /// The node, as an entity.
    pub(super) fn entity(&self) -> Arc<Entity> {
        self.node.entity().clone()
    }
}
