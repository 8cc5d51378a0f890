//! Fair shares of a listener's scarce resources: bytes, connections, requests.
//!
//! A [`Budget`] bounds a whole, and each holder's part of it: a quarter for all certificates of one
//! holder (an organisation, an authority), an eighth for one certificate. A certificate that can
//! stop something has a little guaranteed, whatever others took. A [`Charge`] is an amount that was
//! taken; it is given back when the charge is dropped. When the charge is for memory,
//! [`Charge::hold`] ties it to the bytes themselves, so that neither outlives the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::body::Bytes;

use crate::access::{AccountHolder, CallerStanding};

/// One holder can have the whole divided by this.
pub(super) const HOLDER: usize = 4;
/// One certificate can have the whole divided by this.
const CERTIFICATE: usize = 8;

/// One value for each holder, kept while something refers to it.
pub(super) struct ByHolder<T>(Mutex<HashMap<AccountHolder, Weak<T>>>);

impl<T> Default for ByHolder<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByHolder<T> {
    /// The holder's value, made if there is none.
    pub(super) fn of(&self, holder: &AccountHolder, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = holders.get(holder).and_then(Weak::upgrade) {
            return found;
        }
        holders.retain(|_, held| held.strong_count() > 0);
        let made = make();
        holders.insert(holder.clone(), Arc::downgrade(&made));
        made
    }
}

/// How much is taken of a limit.
struct Meter {
    used: AtomicUsize,
    limit: usize,
}

impl Meter {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    /// Takes `amount` if the sum stays within `limit`.
    fn take_within(&self, limit: usize, amount: usize) -> bool {
        let within = |used: usize| used.checked_add(amount).filter(|sum| *sum <= limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    fn take(&self, amount: usize) -> bool {
        self.take_within(self.limit, amount)
    }

    fn count(&self, amount: usize) {
        self.used.fetch_add(amount, Ordering::Relaxed);
    }

    fn give_back(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }

    fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }
}

/// A resource that callers share.
pub(super) struct Budget {
    whole: Arc<Meter>,
    /// The smallest share, so that the largest request fits into one.
    least: usize,
    /// What each certificate that can stop something has, whatever others took.
    guaranteed: usize,
    holders: ByHolder<Meter>,
}

impl Budget {
    /// A budget of `whole`, in shares that are never smaller than `least`.
    pub(super) fn new(whole: usize, least: usize) -> Self {
        Self {
            whole: Meter::new(whole),
            least,
            guaranteed: 0,
            holders: ByHolder::default(),
        }
    }

    /// The same budget, with an amount guaranteed to each certificate that can stop something, even
    /// beyond the whole. There are few of these.
    pub(super) fn guaranteeing(self, guaranteed: usize) -> Self {
        Self { guaranteed, ..self }
    }

    /// The account of one certificate.
    pub(super) fn account(&self, standing: &CallerStanding) -> Account {
        let whole = self.whole.limit;
        let share = |parts: usize| (whole / parts).max(self.least).min(whole);
        let (holder, certificate) = match standing.holder {
            AccountHolder::Anybody => (whole, whole),
            // What an identity source is there for.
            AccountHolder::Vault => (share(2), share(2)),
            _ => (share(HOLDER), share(CERTIFICATE)),
        };
        Account(Arc::new(Meters {
            whole: Arc::clone(&self.whole),
            holder: self.holders.of(&standing.holder, || Meter::new(holder)),
            certificate: Meter::new(certificate),
            guaranteed: if standing.stops { self.guaranteed } else { 0 },
        }))
    }
}

/// One certificate's share of a budget.
#[derive(Clone)]
pub(super) struct Account(Arc<Meters>);

struct Meters {
    whole: Arc<Meter>,
    holder: Arc<Meter>,
    certificate: Arc<Meter>,
    guaranteed: usize,
}

impl Meters {
    fn take(&self, amount: usize) -> bool {
        if self.certificate.take_within(self.guaranteed, amount) {
            self.holder.count(amount);
            self.whole.count(amount);
            return true;
        }
        if !self.certificate.take(amount) {
            return false;
        }
        if !self.holder.take(amount) {
            self.certificate.give_back(amount);
            return false;
        }
        if !self.whole.take(amount) {
            self.certificate.give_back(amount);
            self.holder.give_back(amount);
            return false;
        }
        true
    }
}

impl Account {
    /// Takes `amount`, unless that exceeds the certificate's share, its holder's, or the whole.
    pub(super) fn charge(&self, amount: usize) -> Option<Charge> {
        let mut charge = Charge {
            account: self.clone(),
            amount: 0,
        };
        charge.cover(amount).then_some(charge)
    }

    /// Counts an amount that is already in use, whatever the limits say. Charges after it are
    /// refused.
    pub(super) fn overdraw(&self, amount: usize) -> Charge {
        let Meters {
            whole,
            holder,
            certificate,
            ..
        } = &*self.0;
        [certificate, holder, whole]
            .into_iter()
            .for_each(|meter| meter.count(amount));
        Charge {
            account: self.clone(),
            amount,
        }
    }

    /// Whether something of it is taken: each charge refers to its account.
    pub(super) fn is_drawn_on(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Whether nothing is left to take.
    pub(super) fn is_spent(&self) -> bool {
        let Meters {
            whole,
            holder,
            certificate,
            ..
        } = &*self.0;
        [certificate, holder, whole]
            .into_iter()
            .any(|meter| meter.is_spent())
    }
}

/// An amount that was taken of an account, until this is dropped.
pub(super) struct Charge {
    account: Account,
    amount: usize,
}

impl Charge {
    /// Takes what is missing to `total`. Returns whether there was as much.
    #[must_use]
    pub(super) fn cover(&mut self, total: usize) -> bool {
        let more = total.saturating_sub(self.amount);
        let covered = more == 0 || self.account.0.take(more);
        if covered {
            self.amount += more;
        }
        covered
    }

    /// Ties the charge to `bytes`, which give it back when the last reference to them is dropped.
    pub(super) fn hold(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(ChargedBytes {
            bytes,
            _charge: self,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Meters {
            whole,
            holder,
            certificate,
            ..
        } = &*self.account.0;
        for meter in [certificate, holder, whole] {
            meter.give_back(self.amount);
        }
    }
}

/// Memory, and the charge for it.
struct ChargedBytes<B> {
    bytes: B,
    _charge: Charge,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for ChargedBytes<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Id;

    fn standing(organisation: &str, stops: bool) -> CallerStanding {
        CallerStanding {
            holder: AccountHolder::Organisation(Id::parse(organisation).unwrap()),
            stops,
            until: None,
        }
    }

    #[test]
    fn nobody_has_more_than_a_quarter_and_no_certificate_more_than_an_eighth() {
        let budget = Budget::new(800, 1);
        let (first, second) = (
            budget.account(&standing("cnss", false)),
            budget.account(&standing("cnss", false)),
        );
        let third = budget.account(&standing("cnss", false));
        let _whole_share = first.charge(100).unwrap();
        assert!(
            first.charge(1).is_none(),
            "a certificate's share is used up"
        );
        let of_second = second.charge(100).unwrap();
        assert!(
            third.charge(1).is_none(),
            "the organisation's share is used up"
        );
        let other = budget.account(&standing("dgi", false));
        assert!(
            other.charge(100).is_some(),
            "another organisation has its own"
        );
        drop(of_second);
        assert!(
            third.charge(100).is_some(),
            "what was given back can be taken again"
        );
    }

    #[test]
    fn who_can_stop_something_has_a_little_whatever_others_took() {
        let budget = Budget::new(800, 1).guaranteeing(2);
        let accounts: Vec<_> = (0..8)
            .map(|n| budget.account(&standing(&format!("org-{n}"), n == 0)))
            .collect();
        let _taken: Vec<_> = accounts
            .iter()
            .map(|account| account.charge(100).unwrap())
            .collect();
        assert!(budget.account(&standing("last", false)).charge(1).is_none());
        // The guarantee holds even if its holder's share is used up.
        let _rest_of_the_holder = budget.account(&standing("org-0", true)).overdraw(100);
        let officer = budget.account(&standing("org-0", true));
        let first = officer.charge(2).unwrap();
        assert!(officer.charge(1).is_none());
        drop(first);
        assert!(officer.charge(1).is_some());
    }

    #[test]
    fn a_charge_lives_as_long_as_its_bytes() {
        let account = Budget::new(800, 1).account(&standing("cnss", false));
        let bytes = account.charge(100).unwrap().hold(vec![7; 100]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(account.is_spent());
        drop(part);
        assert!(!account.is_spent());
        // An answer that is already in memory is counted, and later charges fail.
        let answer = account.overdraw(250);
        assert!(account.charge(1).is_none() && account.is_spent());
        drop(answer);
        assert!(account.charge(100).is_some());
    }

    #[test]
    fn the_largest_request_fits_into_a_share() {
        let budget = Budget::new(170, 160);
        assert!(
            budget
                .account(&standing("court", true))
                .charge(160)
                .is_some()
        );
    }
}
