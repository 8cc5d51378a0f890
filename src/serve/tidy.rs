//! Background tasks that destroy: the copies of orders that are over or revoked, and the traces of
//! erased persons once they are old enough.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::entity::InForce;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::reidentify::copies::end;
use crate::rights::erase::scrub;
use crate::rights::traces;
use crate::store::Store;
use crate::vault::Vault;

/// How often a task looks for something to destroy.
const EVERY: Duration = Duration::from_secs(5);

/// Shortest rest between two clearings of destroyed copies' bytes: orders that end together cost
/// one clearing.
const CLEAR_EVERY: Duration = Duration::from_secs(60);
/// Longest rest between two clearings.
const LONGEST_REST: Duration = Duration::from_secs(3_600);
/// The rest after a clearing, in multiples of the time that it took: a slow disk gets longer rests.
const REST: u32 = 9;

/// The vault's tasks, until they are aborted.
pub(super) async fn vault(vault: InForce<Vault>) {
    let store = vault.get().store().clone();
    tokio::join!(clear_copies(store), destroy(vault));
}

/// Clears the bytes of destroyed copies out of the files. Begins at once, because the previous
/// process may have ended before it cleared them.
async fn clear_copies(store: Arc<Store>) {
    loop {
        let (store, begun) = (store.clone(), Instant::now());
        match tokio::task::spawn_blocking(move || store.clear_copies()).await {
            Ok(Ok(true)) => {
                tracing::info!("destroyed copies of orders are gone from the store's files");
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "destroyed copies of orders may still be in the store's files; trying again later");
            }
            Ok(Ok(false)) | Err(_) => {}
        }
        tokio::time::sleep((begun.elapsed() * REST).clamp(CLEAR_EVERY, LONGEST_REST)).await;
    }
}

async fn destroy(vault: InForce<Vault>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let vault = vault.get();
        let work = move || {
            log_outcome(
                end::destroy_over(&vault),
                "copies of orders that are over or revoked were destroyed",
            );
            scrub_after(traces::destroy_due(&vault), vault.store());
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

/// The node's task, until it is aborted.
pub(super) async fn node(node: InForce<Node>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let node = node.get();
        let work = move || scrub_after(traces::destroy_due(&node), node.store());
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

fn scrub_after(done: Result<usize, Refusal>, store: &Arc<Store>) {
    if log_outcome(
        done,
        "tags of erased persons were old enough and were destroyed",
    ) {
        let store = store.clone();
        tokio::task::spawn_blocking(move || scrub(&store));
    }
}

/// Logs what was done. Returns whether anything was.
fn log_outcome(done: Result<usize, Refusal>, what: &str) -> bool {
    match done {
        Ok(0) => false,
        Ok(count) => {
            tracing::info!(count, "{what}");
            true
        }
        Err(refusal) => {
            tracing::warn!(code = %refusal.code(), "not yet, trying again later: {what}");
            false
        }
    }
}
