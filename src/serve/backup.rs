//! A server's backups: taken when they are due, and shown on `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::backup_gate::BackupGate;
use crate::backup::BackupPlan;
use crate::backup::keeper::{BackupKeeper, BackupTimes};
use crate::clock::{Clock as _, SystemClock};
use crate::entity::EntityInForce;
use crate::journal::versions::OLDEST_JOURNAL_SECRET;
use crate::metrics::Registry;

/// How often a task looks whether a backup is due.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two times that the manifests are read, where no work ended meanwhile.
const READ_EVERY: u64 = 60;

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

/// Takes backups when they are due, until the task is aborted: from when those were heard who may
/// know more of the log.
pub(super) async fn keep(keeper: Option<Arc<BackupKeeper>>, registry: Arc<Registry>) {
    let Some(keeper) = keeper else { return };
    let mut gate = BackupGate::closed();
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
    let journal = registry.gauge(
        OLDEST_JOURNAL_SECRET,
        "Oldest version of the journal secret that a side record here needs; 0 if there is none",
        None,
    );
    let (mut looks, mut seen, mut times) = (0_u64, None, BackupTimes::default());
    loop {
        let look = {
            let (keeper, may_act) = (keeper.clone(), gate.is_open(&keeper.entity()));
            move || {
                if may_act {
                    keeper.tick(SystemClock.now());
                }
                keeper.ended()
            }
        };
        let ended = tokio::task::spawn_blocking(look).await.unwrap_or(seen);
        if looks.is_multiple_of(READ_EVERY) || ended != seen {
            seen = ended;
            let keeper = keeper.clone();
            let read = move || (keeper.times(), keeper.oldest_journal_secret());
            if let Ok((read, oldest)) = tokio::task::spawn_blocking(read).await {
                times = read;
                journal.set(i64::from(oldest));
            }
        }
        let since = |time: Option<Timestamp>| {
            let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
            SystemClock.now().duration_since(time).as_secs()
        };
        age.set(since(times.last));
        verified.set(since(times.verified));
        looks += 1;
        tokio::time::sleep(EVERY).await;
    }
}
