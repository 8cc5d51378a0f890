//! Requests that are in order, of every role: batches, signed orders with officers' requests, acts,
//! decisions, statements, shares.

use cloison::epoch::statement::Destruction;
use cloison::inspection::decision::{InspectionClosing, InspectionDecision};
use cloison::keys::custody::passphrase::{AgeOpener, decrypt};
use cloison::order::act::{ActKind, ActPayload};
use cloison::order::{Continuity, LegalBasis, OrderPayload, PseudonymScope};
use cloison::rights::request::ErasureRequest;
use cloison::statement::Statement;
use cloison::suspension::SuspensionAct;
use cloison::{jws, statement};
use ed25519_dalek::SigningKey;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::common::{DEPLOYMENT, Door, NO_ACTS, QUORUM, World, id, now, uuid4};

/// A request that is in order.
pub struct RealRequest {
    /// Who sends it, and to which listener: `officer-officers`.
    pub role: &'static str,
    /// Method and path, as the description has them.
    pub operation: &'static str,
    /// What stands in the path's places.
    pub parameters: Value,
    pub query: Value,
    pub body: Value,
    /// Status and code of its answer.
    pub answer: &'static str,
}

/// Prepares them. Each is used once, so what it needs is made here: orders that nobody used,
/// inspections that are open, a migration that awaits a page.
pub fn requests(world: &World) -> RealRequests<'_> {
    let mut real = RealRequests {
        world,
        all: vec![],
        left: world.health_pseudonyms(&["AB1"]),
        pseudonyms: vec![],
    };
    // The vault hands out to nobody before its log was watched.
    let order = real.signed_order();
    world.reidentify(&order, "health", &real.left).ok();
    world.advance("health", false);
    real.pseudonyms = world.health_pseudonyms(&["AB1", "AB2", "AB3"]);
    real.of_clients();
    real.of_auditors();
    real.of_rights_officers();
    real.of_custodians();
    real.of_operators();
    real
}

/// A statement, signed.
fn sign<S: Statement>(says: &S, signers: &[(&str, SigningKey)]) -> String {
    let draft = says.draft().unwrap();
    signers.iter().fold(draft, |text, (kid, key)| {
        statement::sign::<S>(&text, kid, key).unwrap()
    })
}

/// Those that were not taken yet.
pub struct RealRequests<'w> {
    world: &'w World,
    all: Vec<RealRequest>,
    /// Of the epoch that the sector `health` has left.
    left: Vec<String>,
    /// Of its current one.
    pseudonyms: Vec<String>,
}

impl RealRequests<'_> {
    /// Those of a role. Officers' requests are good for minutes, so they are signed here.
    pub fn take(&mut self, role: &str) -> Vec<RealRequest> {
        match role {
            "node-control" => self.of_nodes(),
            "officer-officers" => self.of_officers(),
            _ => {}
        }
        let is_own = |real: &mut RealRequest| real.role == role;
        self.all.extract_if(.., is_own).collect()
    }

    fn add(&mut self, role: &'static str, operation: &'static str, body: Value) {
        self.add_at(role, operation, json!({}), body);
    }

    fn add_at(
        &mut self,
        role: &'static str,
        operation: &'static str,
        parameters: Value,
        body: Value,
    ) {
        self.all.push(RealRequest {
            role,
            operation,
            parameters,
            query: json!({}),
            body,
            answer: "200 -",
        });
    }

    /// The answer to what was added last, where it is a refusal.
    fn refused(&mut self, answer: &'static str) {
        self.all.last_mut().unwrap().answer = answer;
    }

    // --- what requests are made of

    fn order(&self) -> OrderPayload {
        let all = [&self.left[..], &self.pseudonyms].concat();
        self.world.order("health", &all)
    }

    fn signed_order(&self) -> String {
        self.world.sign(&self.order(), QUORUM)
    }

    fn asked(&self, order: &str, pseudonyms: &[String]) -> Value {
        let request = self.world.request(order, "health", pseudonyms);
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": pseudonyms})
    }

    fn continuity(&self) -> OrderPayload {
        let mut order = self.order();
        order.basis = LegalBasis::Continuity(Continuity { from: 1, to: 2 });
        order.scope = PseudonymScope::AtMost(5);
        order
    }

    /// A page of a migration under a new order: the order, and the request.
    fn page(&self) -> (OrderPayload, Value) {
        let order = self.continuity();
        let signed = self.world.sign(&order, QUORUM);
        let request = self.world.request(&signed, "health", &[]);
        (
            order,
            json!({"order": signed, "request": request, "sector": "health"}),
        )
    }

    fn digest(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.world.register().digest)
    }

    /// An act that revokes an order, which was lodged.
    fn revocation(&self) -> Value {
        let order = self.order();
        let signed = json!({"order": self.world.sign(&order, QUORUM)});
        let lodged = |name, door| self.world.post_json(name, door, "/v1/orders", &signed).ok();
        lodged("officer", Door::Officers);
        lodged("operator", Door::Control);
        let act = ActPayload {
            aud: order.aud,
            act: ActKind::Revoke,
            authority: order.authority,
            order: order.id,
            reason: id("test"),
            time: now(),
            lifts: vec![],
        };
        json!({"act": sign(&act, &[("judge-1", self.world.key("judge-1"))])})
    }

    fn destruction(&self, destruction: Destruction) -> String {
        let statement = self.world.statement(destruction);
        let operators = cloison::deployment::register_text::OPERATORS;
        self.world.sign_statement(&statement, &operators)
    }

    fn decision(&self) -> (InspectionDecision, Value) {
        let says = InspectionDecision {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            reference: "D-1/2026".to_owned(),
            controller: "A controller".to_owned(),
            address: "Rabat".to_owned(),
            agents: vec!["An agent".to_owned()],
            object: "The description".to_owned(),
            auditors: vec![id("auditor")],
            sectors: vec!["health".to_owned()],
            actors: vec![],
            from: None,
            to: None,
            not_before: now() - SignedDuration::from_mins(1),
            not_after: now() + SignedDuration::from_hours(1),
        };
        let signed = self.by_commission(&says);
        (says, signed)
    }

    fn by_commission<S: Statement>(&self, says: &S) -> Value {
        let key = self.world.register_key("commission");
        json!({"statement": sign(says, &[("commission", key)])})
    }

    fn erasure(&self, pseudonym: &str) -> Value {
        let says = ErasureRequest {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            sector: "health".to_owned(),
            pseudonyms: vec![pseudonym.to_owned()],
            reason: id("request"),
            time: now(),
        };
        let signers = ["dpo", "dpo-2"].map(|kid| (kid, self.world.key(kid)));
        json!({"request": sign(&says, &signers)})
    }

    /// A custodian's share as it is sent.
    fn share(&self, custodian: usize) -> Value {
        share(self.world, custodian)
    }

    // --- the roles

    fn of_clients(&mut self) {
        let (client, tax) = ("cnss-health-data", "dgi-tax-data");
        let sector = json!({"sector": "health"});
        let batch = |identifiers: Value| json!({"scheme": "cnie", "purpose": "billing", "identifiers": identifiers});
        for identifiers in [
            json!(["AB1", "no number"]),
            json!([null, "", "AB1", "AB1", 7]),
        ] {
            let operation = "POST /v1/sectors/{sector}/pseudonyms";
            self.add_at(client, operation, sector.clone(), batch(identifiers));
        }
        // Pairs that a migration left.
        for (operation, body) in [
            ("GET /v1/sectors/{sector}/migrations/{order}", Value::Null),
            (
                "POST /v1/sectors/{sector}/migrations/{order}",
                json!({"page": 1}),
            ),
        ] {
            let (order, page) = self.page();
            let path = "/v1/migrations";
            self.world
                .post_json("officer", Door::Officers, path, &page)
                .ok();
            let own = json!({"sector": "health", "order": order.id});
            self.add_at(client, operation, own, body);
        }
        self.add_at(
            client,
            "GET /v1/sectors/{sector}/migrations",
            sector,
            Value::Null,
        );
        // An epoch of another sector is retired for good.
        self.world.advance("tax", false);
        let statement = self.destruction(Destruction::Epoch {
            sector: "tax".to_owned(),
            epoch: 1,
        });
        for (sector, role, body) in [
            ("health", client, json!({"dry_run": true})),
            (
                "tax",
                tax,
                json!({"unmigrated": true, "statement": statement}),
            ),
        ] {
            let operation = "POST /v1/sectors/{sector}/epochs/{epoch}/retire";
            self.add_at(
                role,
                operation,
                json!({"sector": sector, "epoch": "1"}),
                body,
            );
        }
    }

    fn of_nodes(&mut self) {
        let (node, register) = ("node-control", self.digest());
        for _ in 0..2 {
            let asked = self.asked(&self.signed_order(), &self.pseudonyms);
            let body = json!({"register": register, "acts": NO_ACTS, "asked": asked});
            self.add(node, "POST /v1/releases", body);
        }
        let body = json!({"register": register, "digest": NO_ACTS, "known": [], "acts": []});
        self.add(node, "POST /v1/acts/exchange", body);
        let order = json!({"order": self.signed_order()});
        self.add(node, "POST /v1/orders", order);
        for task in ["rewrap", "prove"] {
            let body = json!({"register": register, "task": task});
            self.add(node, "POST /v1/segments", body);
        }
        let body = json!({"register": register, "added": [], "proved": [], "broken": []});
        self.add(node, "POST /v1/segments/recipients", body);
        let body = |page: &Value| json!({"register": register, "acts": NO_ACTS, "asked": page});
        let (_, page) = self.page();
        self.add(node, "POST /v1/migrations/pages", body(&page));
        // A page that was handed out, and what the node opened.
        let (order, page) = self.page();
        self.world
            .post_json("node", Door::Control, "/v1/migrations/pages", &body(&page))
            .ok();
        let request = jws::parse(
            page["request"].as_str().unwrap(),
            <cloison::order::RequestPayload as Statement>::TYP,
        )
        .unwrap();
        let request: Value = serde_json::from_slice(request.payload()).unwrap();
        let body = json!({
            "register": register, "order": order.id, "request": request["request"], "page": 1,
            "identifiers": [{"scheme": "cnie", "value": "AB1"}],
        });
        self.add(node, "POST /v1/migrations/identifiers", body);
    }

    fn of_officers(&mut self) {
        let officer = "officer-officers";
        for _ in 0..2 {
            let asked = self.asked(&self.signed_order(), &self.pseudonyms);
            self.add(officer, "POST /v1/reidentifications", asked);
        }
        let mut sealed = self.asked(&self.signed_order(), &self.left);
        sealed["to"] = "officer-key".into();
        self.add(officer, "POST /v1/reidentifications", sealed);
        let (_, page) = self.page();
        self.add(officer, "POST /v1/migrations", page);
        let order = json!({"order": self.signed_order()});
        self.add(officer, "POST /v1/orders", order);
        self.add(officer, "POST /v1/segments/drop", json!({}));
        for task in ["rewrap", "prove"] {
            self.add(officer, "POST /v1/renewal", json!({"task": task}));
        }
        self.add(officer, "POST /v1/resumes", json!({"entry": "00"}));
        self.refused("404 unknown-resume");
        self.add(officer, "POST /v1/register/reload", json!({}));
    }

    fn of_auditors(&mut self) {
        for (role, door) in [
            ("auditor-control", Door::Control),
            ("auditor-officers", Door::Officers),
        ] {
            let (_, decision) = self.decision();
            self.add(role, "POST /v1/inspections", decision);
            let enter = |real: &Self| {
                let (says, decision) = real.decision();
                let path = "/v1/inspections";
                real.world.post_json("auditor", door, path, &decision).ok();
                says.id
            };
            let closing = InspectionClosing {
                aud: id(DEPLOYMENT),
                inspection: enter(self),
                reason: id("done"),
                time: now(),
            };
            let closing = self.by_commission(&closing);
            self.add(role, "POST /v1/inspections/closings", closing);
            let open = enter(self);
            let operation = "GET /v1/inspections/{id}/report";
            self.add_at(role, operation, json!({"id": open}), Value::Null);
            self.add(role, "GET /v1/audit/entries", Value::Null);
            self.all.last_mut().unwrap().query = json!({"inspection": open});
            let place = json!({"path": "0/000.p/1"});
            self.add_at(role, "GET /tile/{path}", place, Value::Null);
        }
    }

    fn of_rights_officers(&mut self) {
        let third = self.world.health_pseudonyms(&["AB4", "AB5"]);
        let body = json!({"sector": "health", "pseudonyms": third});
        self.add("dpo-control", "POST /v1/rights/resolutions", body);
        let places = [("dpo-control", &third[0]), ("dpo-officers", &third[1])];
        for (role, pseudonym) in places {
            let body = self.erasure(pseudonym);
            self.add(role, "POST /v1/rights/erasures", body);
        }
    }

    fn of_custodians(&mut self) {
        let custodian = "custodian-3-officers";
        let share = self.share(3);
        self.add(custodian, "POST /v1/drills", share.clone());
        self.add(custodian, "POST /v1/shares", share);
        self.add(custodian, "POST /v1/segments/drop", json!({}));
        self.backups(custodian);
    }

    fn of_operators(&mut self) {
        let operator = "operator-control";
        self.add(
            operator,
            "POST /v1/orders",
            json!({"order": self.signed_order()}),
        );
        let (here, there) = (self.revocation(), self.revocation());
        self.add(operator, "POST /v1/acts", here);
        self.add("officer-officers", "POST /v1/acts", there);
        let epochs = json!({"from": 1, "own_secret": false});
        let operation = "POST /v1/sectors/{sector}/epochs";
        self.add_at(operator, operation, json!({"sector": "social"}), epochs);
        // Versions of the sector secret that were made below are not confirmed.
        self.refused("409 secret-unconfirmed");
        // Version 2 of the sector secret is needed by no epoch once there is a third.
        for _ in 0..2 {
            let path = "/v1/secrets";
            self.world
                .post_json("operator", Door::Control, path, &json!({}))
                .ok();
        }
        self.add(operator, "POST /v1/secrets", json!({}));
        let statement = self.destruction(Destruction::Secret { version: 2 });
        let body = json!({"version": 2, "statement": statement});
        self.add(operator, "POST /v1/secrets/retire", body);
        self.add(operator, "POST /v1/segments/drop", json!({}));
        self.add(operator, "POST /v1/register/reload", json!({}));
        self.backups(operator);
        for (role, entity) in [(operator, "vault"), ("operator-officers", "node/court")] {
            let suspend =
                self.world
                    .suspension("rsu-social", SuspensionAct::Suspend, &["commission"]);
            self.add(role, "POST /v1/suspensions", suspend);
            let lift = self.world.suspension(
                "rsu-social",
                SuspensionAct::Lift,
                &["operations", "commission"],
            );
            self.add(role, "POST /v1/suspensions", lift);
            let statement = self.destruction(Destruction::ClockMark {
                entity: entity.to_owned(),
                mark: now(),
            });
            self.add(role, "POST /v1/clock-mark", json!({"statement": statement}));
            // The clock is not behind its mark.
            self.refused("403 statement-invalid");
        }
    }

    fn backups(&mut self, role: &'static str) {
        self.add(role, "POST /v1/backups", json!({"new_repository": true}));
        self.add(role, "POST /v1/backups", json!({}));
        self.add(role, "POST /v1/backups/verify", json!({}));
        self.add(role, "POST /v1/backups/prune", json!({"dry_run": true}));
        self.add(role, "POST /v1/backups/prune", json!({}));
    }
}

/// A custodian's share as it is sent.
pub fn share(world: &World, custodian: usize) -> Value {
    let read = |kind: &str| world.read(&format!("secrets/custodians/custodian-{custodian}.{kind}"));
    let opener = AgeOpener::identities(read("key").as_bytes()).unwrap();
    let plain = decrypt(read("share").as_bytes(), &opener).unwrap();
    serde_json::from_slice::<Value>(&plain).unwrap()["share"].clone()
}
