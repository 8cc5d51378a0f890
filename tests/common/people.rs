//! What approvers and officers do: orders, signatures, requests.

use std::collections::BTreeMap;

use cloison::epoch::statement::{Destruction, DestructionPayload};
use cloison::jws;
use cloison::order::{self, LegalBasis, OrderPayload, PseudonymScope, RequestPayload};
use cloison::statement::{self, Statement as _};
use cloison::suspension::{SuspensionAct, SuspensionPayload};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{DEPLOYMENT, Door, Reply, World, id};

/// The digest of no acts at all: what a node holds upon whose authority's orders nobody acted.
pub const NO_ACTS: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A random UUID (version 4).
pub fn uuid4() -> Uuid {
    cloison::clock::random_uuid()
}

/// Now, in whole seconds, which is what orders are written in.
pub fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

/// Seconds of an hour.
pub const HOUR: i64 = 3_600;
/// Seconds of a day.
pub const DAY: i64 = 24 * HOUR;

/// Lets the present hour or day (UTC) end first where less than `last` seconds of it are left, so
/// that it does not end under a test that counts by it.
pub fn not_in_the_last(last: i64, period: i64) {
    let left = period - now().as_second() % period;
    if left < last {
        std::thread::sleep(std::time::Duration::from_secs(left.unsigned_abs() + 1));
    }
}

impl World {
    /// A judicial order for just these pseudonyms of one sector, valid since a minute ago and for a
    /// day.
    pub fn order(&self, sector: &str, pseudonyms: &[String]) -> OrderPayload {
        OrderPayload {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            authority: id("court"),
            basis: LegalBasis::Judicial,
            case: "RABAT/2026/1".to_owned(),
            purpose: id("investigation"),
            sectors: vec![sector.to_owned()],
            scope: PseudonymScope::Listed(BTreeMap::from([(
                sector.to_owned(),
                pseudonyms.to_vec(),
            )])),
            not_before: now() - SignedDuration::from_mins(1),
            not_after: now() + SignedDuration::from_hours(24),
            officers: vec![id("officer")],
            inform_after: None,
            issued: Some(now()),
        }
    }

    /// The order, signed by those approvers with their own keys.
    pub fn sign(&self, order: &OrderPayload, approvers: &[&str]) -> String {
        let keys: Vec<_> = approvers
            .iter()
            .map(|approver| (*approver, self.key(approver)))
            .collect();
        sign_with(order, &keys)
    }

    /// A statement that allows just this, written now.
    pub fn statement(&self, destruction: Destruction) -> DestructionPayload {
        DestructionPayload {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            destruction,
            time: now(),
        }
    }

    /// The statement, signed by those operators with their own keys.
    pub fn sign_statement(&self, statement: &DestructionPayload, operators: &[&str]) -> String {
        let draft = statement.draft().unwrap();
        operators.iter().fold(draft, |text, id| {
            statement::sign::<DestructionPayload>(&text, id, &self.key(id)).unwrap()
        })
    }

    /// A statement upon an entry of the register, signed now with those register keys, as it is
    /// brought.
    pub fn suspension(&self, entry: &str, act: SuspensionAct, keys: &[&str]) -> Value {
        let payload = SuspensionPayload {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            act,
            entry: id(entry),
            reason: "key-stolen".to_owned(),
            time: now(),
        };
        let draft = payload.draft().unwrap();
        let text = keys.iter().fold(draft, |text, kid| {
            statement::sign::<SuspensionPayload>(&text, kid, &self.register_key(kid)).unwrap()
        });
        json!({"statement": text})
    }

    /// A request for these pseudonyms by the officer, now.
    pub fn request(&self, order: &str, sector: &str, pseudonyms: &[String]) -> String {
        self.request_by(
            "officer",
            &self.key("officer"),
            order,
            sector,
            pseudonyms,
            Timestamp::now(),
        )
    }

    /// A request with everything chosen.
    pub fn request_by(
        &self,
        officer: &str,
        key: &SigningKey,
        order: &str,
        sector: &str,
        pseudonyms: &[String],
        time: Timestamp,
    ) -> String {
        let request = RequestPayload {
            aud: id(DEPLOYMENT),
            order: order::digest_of(order).unwrap(),
            request: uuid4(),
            sector: sector.to_owned(),
            list: order::list_digest(pseudonyms).unwrap(),
            time,
        };
        order::sign_request(request, &id(officer), key).unwrap()
    }

    /// What the officer sends to the node, with a request of his own over it.
    pub fn reidentify(&self, order: &str, sector: &str, pseudonyms: &[String]) -> Reply {
        self.reidentify_with(
            order,
            &self.request(order, sector, pseudonyms),
            sector,
            pseudonyms,
        )
    }

    /// The same with another request.
    pub fn reidentify_with(
        &self,
        order: &str,
        request: &str,
        sector: &str,
        pseudonyms: &[String],
    ) -> Reply {
        let body =
            json!({"order": order, "request": request, "sector": sector, "pseudonyms": pseudonyms});
        self.post_json("officer", Door::Officers, "/v1/reidentifications", &body)
    }

    /// What a node (or whoever has its certificate) asks of the vault, past the node's own checks.
    pub fn release_with(
        &self,
        order: &str,
        request: &str,
        sector: &str,
        pseudonyms: &[String],
    ) -> Reply {
        let digest = data_encoding::HEXLOWER.encode(&self.register().digest);
        let asked =
            json!({"order": order, "request": request, "sector": sector, "pseudonyms": pseudonyms});
        let asked = json!({"register": digest, "acts": NO_ACTS, "asked": asked});
        self.post_json("node", Door::Control, "/v1/releases", &asked)
    }
}

/// The order, signed by whoever, with whatever keys.
pub fn sign_with(order: &OrderPayload, signers: &[(&str, SigningKey)]) -> String {
    let draft = order.draft().unwrap();
    signers.iter().fold(draft, |text, (kid, key)| {
        jws::add_signature(&text, OrderPayload::TYP, kid, key).unwrap()
    })
}
