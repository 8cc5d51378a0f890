//! The state of an identity source's routes.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::entity::InForce;
use crate::identity::IdentitySource;
use crate::link::VaultLink;

/// The state of an identity source's routes: each request gets an [`IdentityDoor`] from it.
#[derive(Clone)]
pub struct IdentityRoutes {
    /// The source in force.
    pub source: InForce<IdentitySource>,
    /// The link to the vault, whose log is watched.
    pub vault: Arc<dyn VaultLink>,
}

/// What a request is answered with.
pub struct IdentityDoor {
    /// The source, under the register that was in force when the request began.
    pub source: Arc<IdentitySource>,
    /// The link to the vault.
    pub vault: Arc<dyn VaultLink>,
}

impl FromRef<IdentityRoutes> for Arc<IdentityDoor> {
    fn from_ref(routes: &IdentityRoutes) -> Self {
        Arc::new(IdentityDoor {
            source: routes.source.get(),
            vault: routes.vault.clone(),
        })
    }
}
