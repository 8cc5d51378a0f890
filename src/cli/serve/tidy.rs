//! What is destroyed beside the requests: the copies of orders that are over or revoked, and the traces of erased persons once
//! they are old enough.

use std::sync::Arc;
use std::time::Duration;

use crate::http::rights::scrub;
use crate::node::Node;
use crate::order::Refusal;
use crate::reidentify::copies::end;
use crate::rights::traces;
use crate::store::Store;
use crate::vault::Vault;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(5);

/// At the vault, until the task is ended.
pub(super) async fn vault(vault: Arc<Vault>) {
    // A process that ended between destroying copies and clearing the files of their bytes left that to this one.
    let store = vault.store().clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.clear_copies()).await {
        tracing::error!(%error, "copies that were destroyed may still stand in the store's files");
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let vault = vault.clone();
        let work = move || {
            said(end::destroy_over(&vault), "copies of orders that are over or revoked were destroyed");
            traced(traces::destroy_due(&vault), vault.store());
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

/// At an authority's node, until the task is ended.
pub(super) async fn node(node: Arc<Node>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let node = node.clone();
        let work = move || traced(traces::destroy_due_at_node(&node), node.store());
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

fn traced(done: Result<usize, Refusal>, store: &Arc<Store>) {
    if said(done, "tags of erased persons were old enough and were destroyed") {
        scrub(store.clone());
    }
}

/// Says what was done; whether anything was.
fn said(done: Result<usize, Refusal>, what: &str) -> bool {
    match done {
        Ok(0) => false,
        Ok(count) => {
            tracing::info!(count, "{what}");
            true
        }
        Err(refusal) => {
            tracing::warn!(code = %refusal.code(), "not yet: {what}");
            false
        }
    }
}
