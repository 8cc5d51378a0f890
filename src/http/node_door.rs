//! The state of an authority node's control routes.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::entity::InForce;
use crate::link::VaultLink;
use crate::node::Node;

/// The state of the node's control routes: each request gets a [`NodeDoor`] from it.
#[derive(Clone)]
pub struct NodeRoutes {
    /// The node in force.
    pub node: InForce<Node>,
    /// The link to the vault.
    pub vault: Arc<dyn VaultLink>,
}

/// What a request at the node's control listener is answered with.
pub struct NodeDoor {
    /// The node, under the register that was in force when the request began.
    pub node: Arc<Node>,
    /// The link to the vault.
    pub vault: Arc<dyn VaultLink>,
}

impl FromRef<NodeRoutes> for Arc<NodeDoor> {
    fn from_ref(routes: &NodeRoutes) -> Self {
        Arc::new(NodeDoor {
            node: routes.node.get(),
            vault: routes.vault.clone(),
        })
    }
}
