//! Orders that are used up or revoked: what was answered about them holds after any end.

use std::sync::Mutex;

use cloison::client::{Client, ClientError};
use cloison::order::act::ActKind;
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use serde_json::{Value, json};

use super::load::patiently;
use super::people;
use crate::common::{QUORUM, World};

/// What was done upon orders and answered.
#[derive(Default)]
pub struct Deeds {
    /// Orders for one pseudonym, with the one that was opened, and another.
    pub used: Vec<(OrderPayload, String, [String; 2])>,
    pub revoked: Vec<(OrderPayload, String, String)>,
}

/// Who does them.
pub struct Doers {
    pub officer: Client,
    /// Brings acts: an operator to the vault, or the officer to the node.
    pub bringer: Client,
}

impl Deeds {
    /// Uses up an order for the first pseudonym of a pair; with `is_revoked`, revokes it then.
    pub fn one(
        world: &World,
        doers: &Doers,
        pair: &[String],
        is_revoked: bool,
    ) -> Result<Self, ClientError> {
        let [first, second] = [pair[0].clone(), pair[1].clone()];
        let mut order = world.order("health", pair);
        order.scope = PseudonymScope::AtMost(1);
        order.basis = LegalBasis::Statutory {
            article: "Loi 43-05, art. 19".to_owned(),
        };
        let signed = world.sign(&order, QUORUM);
        let asked = std::slice::from_ref(&first);
        let body = json!({
            "order": signed, "request": world.request(&signed, "health", asked), "sector": "health", "pseudonyms": asked,
        });
        let answer: Value = doers.officer.post_json("/v1/reidentifications", &body)?;
        assert!(answer["items"][0]["value"].is_string(), "{answer}");
        let mut deeds = Self::default();
        if is_revoked {
            let act = people::act(world, &order, ActKind::Revoke, &["judge-1"]);
            let body = json!({"act": act});
            doers.bringer.post_json::<Value>("/v1/acts", &body)?;
            deeds.revoked.push((order, signed, first));
        } else {
            deeds.used.push((order, signed, [first, second]));
        }
        Ok(deeds)
    }

    /// Orders are used up and revoked at the vault until the vault or the node is gone.
    pub fn go_on(world: &World, pseudonyms: &[String], deeds: &Mutex<Self>) {
        let doers = Doers {
            officer: world.client("officer"),
            bringer: world.client("operator"),
        };
        for (n, pair) in pseudonyms.chunks_exact(2).cycle().enumerate() {
            let Ok(done) = Self::one(world, &doers, pair, n % 2 == 1) else {
                return;
            };
            deeds.lock().unwrap().absorb(done);
        }
    }

    /// Adds what was done later.
    pub fn absorb(&mut self, later: Self) {
        self.used.extend(later.used);
        self.revoked.extend(later.revoked);
    }

    /// A limit that was used up is used up; what was revoked is revoked.
    pub fn check(&self, world: &World) {
        let ask = |order: &str, asked: &[String]| {
            let ask = || world.reidentify(order, "health", asked);
            patiently(ask, |reply| reply.status == 503)
        };
        for (order, signed, [first, second]) in &self.used {
            let both = [first.clone(), second.clone()];
            let answer = ask(signed, &both).ok();
            let codes = people::codes(&answer);
            let wanted = [None, Some("limit-reached".to_owned())];
            assert_eq!(codes, wanted, "order {}: {answer}", order.id);
        }
        for (order, signed, first) in &self.revoked {
            let refused = ask(signed, std::slice::from_ref(first));
            assert_eq!(refused.code(), "order-revoked", "order {}", order.id);
        }
    }
}
