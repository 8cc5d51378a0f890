//! The end of an order's copies: they are destroyed when the order is over or revoked.
//!
//! An order is over when its time has passed by both sides' clocks (`Entity::proven_time`), so
//! that a clock that runs ahead destroys nothing.

use crate::audit::AuditEvent;
use crate::commit::{Change, Job, Pending};
use crate::execution::FAILED;
use crate::order::book::{Book, was_revoked};
use crate::refusal::{Refusal, fault, not_logged};
use crate::store::OrderKey;
use crate::vault::Vault;

/// Destroys the copies of all orders that are over or revoked, durably and logged, and returns the
/// number of these orders. To be called every few seconds. Their bytes leave the files later
/// ([`Store::clear_copies`](crate::store::Store::clear_copies)), because that waits for the disk
/// and all requests under orders would wait with it.
///
/// # Errors
/// [`Code::AuditUnavailable`](crate::code::Code::AuditUnavailable), `Overloaded`, `Internal`. The
/// next call destroys what this one did not.
pub fn destroy_over(vault: &Vault) -> Result<usize, Refusal> {
    if ended_orders(vault)?.is_empty() {
        return Ok(0);
    }
    // A release that is under way may be adding copies.
    let _orders = Book::from(vault).lock_orders();
    let ended = ended_orders(vault)?;
    let jobs: Vec<Job> = ended.into_iter().map(|end| end.job(vault)).collect();
    let unavailable = not_logged("no copy is destroyed");
    let submitted: Vec<_> = jobs
        .into_iter()
        .map(|job| vault.committer().submit(job))
        .collect();
    let count = submitted.len();
    for pending in submitted {
        pending.and_then(Pending::wait).map_err(unavailable)?;
    }
    Ok(count)
}

struct EndedOrder {
    order: OrderKey,
    why: &'static str,
}

/// The orders with copies that are over or revoked.
fn ended_orders(vault: &Vault) -> Result<Vec<EndedOrder>, Refusal> {
    let now = vault.proven_time().as_second();
    let mut ended = vec![];
    for (order, row) in vault.store().copied_orders().map_err(fault(FAILED))? {
        let why = if row.until <= now {
            Some("over")
        } else {
            was_revoked(vault.store(), &order)?.then_some("revoked")
        };
        ended.extend(why.map(|why| EndedOrder { order, why }));
    }
    Ok(ended)
}

impl EndedOrder {
    fn job(self, vault: &Vault) -> Job {
        let Self { order, why } = self;
        let event = AuditEvent::OrderEnd {
            authority: order.authority.clone(),
            order: order.id.to_string(),
            why,
        };
        let change: Change = Box::new(move |store, batch| store.delete_order_copies(batch, &order));
        Job::entry(vault.now(), event, vec![], vec![change])
    }
}
