//! Gives each request the value in force: a handler that takes `State<Arc<Vault>>` or
//! `State<Arc<Entity>>` gets it once, and keeps it to the end of the request.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::entity::{Entity, EntityInForce, InForce};

impl<T> FromRef<InForce<T>> for Arc<T> {
    fn from_ref(value: &InForce<T>) -> Self {
        value.get()
    }
}

impl FromRef<EntityInForce> for Arc<Entity> {
    fn from_ref(entity: &EntityInForce) -> Self {
        entity.get()
    }
}
