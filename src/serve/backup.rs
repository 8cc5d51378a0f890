//! A server's backups: taken when they are due, and shown on `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use crate::backup::BackupPlan;
use crate::backup::keeper::BackupKeeper;
use crate::clock::{Clock as _, SystemClock};
use crate::entity::EntityInForce;
use crate::metrics::Registry;

/// How often a task looks whether a backup is due.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two times that the ages are shown: they read every manifest.
const SHOWN_EVERY: u64 = 10;

/// What keeps a server's backups, where its configuration has `[backup]`.
pub(super) fn keeper(
    entity: EntityInForce,
    plan: Option<&BackupPlan>,
) -> Option<Arc<BackupKeeper>> {
    let plan = plan?.clone();
    if plan.every.is_none() {
        tracing::info!("backups are taken only when an operator or a timer outside asks for one");
    }
    Some(Arc::new(BackupKeeper::new(entity, plan)))
}

/// Takes backups when they are due, until the task is aborted.
pub(super) async fn keep(keeper: Option<Arc<BackupKeeper>>, registry: Arc<Registry>) {
    let Some(keeper) = keeper else { return };
    let age = registry.gauge(
        "cloison_backup_age_seconds",
        "Seconds since the last backup; since 1970 if there is none",
        None,
    );
    let verified = registry.gauge(
        "cloison_backup_verified_age_seconds",
        "Seconds since the last backup that was found good was taken; since 1970 if there is none",
        None,
    );
    let mut looks = 0_u64;
    loop {
        let (keeper, is_shown) = (keeper.clone(), looks.is_multiple_of(SHOWN_EVERY));
        let look = move || {
            let now = SystemClock.now();
            keeper.tick(now);
            is_shown.then(|| keeper.ages(now))
        };
        if let Ok(Some(ages)) = tokio::task::spawn_blocking(look).await {
            age.set(ages.last);
            verified.set(ages.verified);
        }
        looks += 1;
        tokio::time::sleep(EVERY).await;
    }
}
