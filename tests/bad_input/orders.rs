//! Orders and officers' requests that must not open anything, at the node's door and, past it, at
//! the vault's.

use cloison::jws;
use cloison::keys::{AuthoritySecret, Key};
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope, SecuritySide};
use cloison::register::{Id, Suite};
use cloison::seal::segment::AuthorityPrivateKey;
use cloison::statement::Statement as _;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::{DEPLOYMENT, Door, QUORUM, Side, World, id, now, sign_with, swap};
use crate::pseudonyms::at_most;
use crate::watch::{Left, Watch};

const NODE: (Side, &str, &str) = (Side::Node, "officer", "reidentify");
const VAULT: (Side, &str, &str) = (Side::Vault, "court", "release");

/// People of whom the demo knows nothing.
struct Others {
    /// An approver of the tribunal, and another one of another body.
    clerk: SigningKey,
    minister: SigningKey,
    /// The court's second officer, who comes with the certificate that was the hospital's.
    second: SigningKey,
}

/// A world with a second authority, `tribunal`, for tax and alone for social, and a second officer
/// at the court.
fn world() -> (World, Others) {
    let [clerk, minister, second] =
        [(); 3].map(|()| SigningKey::from_bytes(&cloison::clock::random()));
    let public = |key: &SigningKey| HEXLOWER.encode(key.verifying_key().as_bytes());
    let sealing =
        AuthorityPrivateKey::derive(&AuthoritySecret(Key::random()), "tribunal-1", Suite::X25519);
    let tribunal = format!(
        r#"
[[authority.officer]]
id = "officer-2"
name = "Second officer of the court"
key = "{second}"
certificate = "CERTIFICATE"

[[authority]]
id = "tribunal"
name = "Administrative tribunal, Rabat"
node = "{node}"
quorum = 2
max-hours = 24

[[authority.key]]
id = "tribunal-1"
suite = 1
public = "{sealing}"

[[authority.approver]]
id = "clerk"
name = "Clerk"
body = "tribunal-of-rabat"
key = "{clerk}"

[[authority.approver]]
id = "minister"
name = "Minister"
body = "ministry"
key = "{minister}"

[[authority.officer]]
id = "usher"
name = "Usher"
key = "{usher}"
certificate = "{certificate}"
"#,
        second = public(&second),
        node = HEXLOWER.encode(&cloison::clock::random::<32>()),
        sealing = HEXLOWER.encode(sealing.public()),
        clerk = public(&clerk),
        minister = public(&minister),
        usher = public(&SigningKey::from_bytes(&cloison::clock::random())),
        certificate = HEXLOWER.encode(&cloison::clock::random::<32>()),
    );
    let world = World::on(move |text| {
        let at = text.find("\n[[client]]\nid = \"chu-study\"").unwrap();
        let end = at + text[at..].find("\n[[operator]]").unwrap();
        let from = at + text[at..].find("certificate = \"").unwrap() + "certificate = \"".len();
        let tribunal = tribunal.replace("CERTIFICATE", &text[from..from + 64]);
        let text = text[..at].to_owned() + &text[end..] + &tribunal;
        let text = competent(&text, "tax", r#"["court", "tribunal"]"#);
        competent(&text, "social", r#"["tribunal"]"#)
    });
    (
        world,
        Others {
            clerk,
            minister,
            second,
        },
    )
}

fn competent(text: &str, sector: &str, authorities: &str) -> String {
    let at = text.find(&format!("name = \"{sector}\"\n")).unwrap();
    let (head, tail) = text.split_at(at);
    head.to_owned()
        + &tail.replacen(
            r#"authorities = ["court"]"#,
            &format!("authorities = {authorities}"),
            1,
        )
}

/// What each attempt needs.
struct Court {
    watch: Watch,
    others: Others,
    pseudonyms: Vec<String>,
    unused: Vec<uuid::Uuid>,
}

impl Court {
    fn new(cards: &[&str]) -> Self {
        let (world, others) = world();
        let mut watch = Watch::new(world);
        watch.secrets(cards);
        let pseudonyms = watch.health_pseudonyms(cards);
        watch.secrets(&pseudonyms);
        Self {
            watch,
            others,
            pseudonyms,
            unused: Vec::new(),
        }
    }

    /// An order that would be right, bent a little.
    fn order(&mut self, bend: impl FnOnce(&mut OrderPayload)) -> OrderPayload {
        let mut payload = self.watch.order("health", &self.pseudonyms);
        bend(&mut payload);
        self.unused.push(payload.id);
        payload
    }

    /// Refused by the node, and by the vault when somebody with the node's certificate asks it
    /// directly.
    #[track_caller]
    fn refuse(&mut self, order: &str, status: u16, code: &str) {
        let request = self.watch.request(order, "health", &self.pseudonyms);
        self.refuse_with(order, &request, status, code);
    }

    #[track_caller]
    fn refuse_with(&mut self, order: &str, request: &str, status: u16, code: &str) {
        let reply = self
            .watch
            .reidentify_with(order, request, "health", &self.pseudonyms);
        self.watch.refused(NODE, &reply, status, code);
        let reply = self
            .watch
            .release_with(order, request, "health", &self.pseudonyms);
        self.watch.refused(VAULT, &reply, status, code);
    }

    #[track_caller]
    fn finish(self, orders: &[(uuid::Uuid, usize)]) {
        let items = self.pseudonyms.len();
        let left = Left {
            mappings: items,
            quota: &[("cnss", items as u64)],
            orders,
            unused: &self.unused,
        };
        self.watch.finish(left);
    }
}

/// A signature over a payload with any protected header.
fn signature(key: &SigningKey, protected: &str, payload: &str) -> Value {
    let protected = BASE64URL_NOPAD.encode(protected.as_bytes());
    let signature = key.sign(format!("{protected}.{payload}").as_bytes());
    json!({"protected": protected, "signature": BASE64URL_NOPAD.encode(&signature.to_bytes())})
}

#[test]
fn signatures_that_do_not_count() {
    let mut court = Court::new(&["QR770001", "QR770002"]);
    let payload = court.order(|_| {});
    let right = court.watch.sign(&payload, QUORUM);

    // Missing.
    for signers in [&[][..], &["judge-1"], &["prosecutor-1"]] {
        let order = court.watch.sign(&payload, signers);
        court.refuse(&order, 403, "order-quorum");
    }
    // Two judges are two persons of one body.
    let order = court.watch.sign(&payload, &["judge-1", "judge-2"]);
    court.refuse(&order, 403, "order-quorum");

    // Forged: under an approver's name with another key, by strangers, by people of another office,
    // by another authority.
    let judge = ("judge-1", court.watch.key("judge-1"));
    let stranger = SigningKey::from_bytes(&cloison::clock::random());
    for (kid, key) in [
        ("prosecutor-1", stranger.clone()),
        ("prosecutor-1", court.watch.key("judge-2")),
        ("stranger", stranger),
        ("officer", court.watch.key("officer")),
        ("commission", court.watch.register_key("commission")),
        ("clerk", court.others.clerk.clone()),
    ] {
        let order = sign_with(&payload, &[judge.clone(), (kid, key)]);
        court.refuse(&order, 403, "order-signature");
    }
    // One forged beside enough good ones spoils all.
    let spoiled = SigningKey::from_bytes(&cloison::clock::random());
    let order = jws::add_signature(&right, OrderPayload::TYP, "judge-2", &spoiled).unwrap();
    court.refuse(&order, 403, "order-signature");
    // A bit of a signature changed.
    let mut value: Value = serde_json::from_str(&right).unwrap();
    let mut bytes = BASE64URL_NOPAD
        .decode(
            value["signatures"][1]["signature"]
                .as_str()
                .unwrap()
                .as_bytes(),
        )
        .unwrap();
    bytes[40] ^= 4;
    value["signatures"][1]["signature"] = BASE64URL_NOPAD.encode(&bytes).into();
    court.refuse(&value.to_string(), 403, "order-signature");
    // Two signatures changed for one another.
    let mut value: Value = serde_json::from_str(&right).unwrap();
    let [first, second] = [0, 1].map(|n| value["signatures"][n]["signature"].clone());
    (
        value["signatures"][0]["signature"],
        value["signatures"][1]["signature"],
    ) = (second, first);
    court.refuse(&value.to_string(), 403, "order-signature");

    // A payload changed after it was signed: one more pseudonym, one more day.
    for change in [
        |payload: &mut OrderPayload| payload.case.push('1'),
        |payload: &mut OrderPayload| payload.not_after += SignedDuration::from_hours(24),
        |payload: &mut OrderPayload| payload.scope = PseudonymScope::AtMost(100),
    ] {
        let mut changed = payload.clone();
        change(&mut changed);
        let mut value: Value = serde_json::from_str(&right).unwrap();
        value["payload"] = BASE64URL_NOPAD.encode(&changed.write().unwrap()).into();
        court.refuse(&value.to_string(), 403, "order-signature");
    }
    court.finish(&[]);
}

#[test]
fn what_is_no_order() {
    let mut court = Court::new(&["QR660001"]);
    let payload = court.order(|_| {});
    let right: Value = serde_json::from_str(&court.watch.sign(&payload, QUORUM)).unwrap();
    let request = court
        .watch
        .request(&right.to_string(), "health", &court.pseudonyms);
    let body = right["payload"].as_str().unwrap().to_owned();
    let [judge, prosecutor] = ["judge-1", "prosecutor-1"].map(|person| court.watch.key(person));
    let with = |member: &str, value: Value| {
        let mut order = right.clone();
        order[member] = value;
        order.to_string()
    };
    let signed = |payload: &[u8]| {
        let payload = BASE64URL_NOPAD.encode(payload);
        let header = |kid: &str| {
            format!(
                r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{}"}}"#,
                OrderPayload::TYP
            )
        };
        let signatures = [
            signature(&judge, &header("judge-1"), &payload),
            signature(&prosecutor, &header("prosecutor-1"), &payload),
        ];
        json!({"payload": payload, "signatures": signatures}).to_string()
    };
    let header = |protected: &str| {
        let second = signature(&prosecutor, protected, &body);
        with("signatures", json!([right["signatures"][0], second]))
    };
    let text = String::from_utf8(payload.write().unwrap()).unwrap();
    let name = court.pseudonyms[0].clone();
    let wrong = [
        String::new(),
        "{}".to_owned(),
        name.clone(),
        "null".to_owned(),
        format!(
            "{}.{}.x",
            right["signatures"][0]["protected"].as_str().unwrap(),
            body
        ),
        // Members that are not there, not known, or there twice: a signature by the same judge
        // twice among them.
        json!({"payload": body}).to_string(),
        with("header", json!({})),
        with("extra", json!(name)),
        with("payload", json!(body.clone() + "=")),
        with(
            "signatures",
            json!([right["signatures"][0], right["signatures"][0]]),
        ),
        with(
            "signatures",
            json!([
                right["signatures"][0],
                signature(
                    &judge,
                    r#"{"kid":"judge-1","alg":"EdDSA","typ":"cloison-order+json"}"#,
                    &body
                )
            ]),
        ),
        with("signatures", json!({})),
        right
            .to_string()
            .replacen('{', &format!("{{\"payload\":\"{body}\","), 1),
        // Headers that mean something else.
        header(r#"{"alg":"none","kid":"prosecutor-1","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"HS256","kid":"prosecutor-1","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-request+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1"}"#),
        header(r#"{"alg":"EdDSA","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-order+json","crit":["exp"]}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-order+json","b64":true}"#),
        header(
            r#"{"alg":"EdDSA","kid":"prosecutor-1","kid":"judge-2","typ":"cloison-order+json"}"#,
        ),
        // Payloads, well signed, that are none.
        signed(b""),
        signed(b"[]"),
        signed(name.as_bytes()),
        signed(text.replacen('{', r#"{"note":"QR660001","#, 1).as_bytes()),
        signed(text.replacen('{', r#"{"aud":"test","#, 1).as_bytes()),
        signed(text.replace("RABAT/2026/1", "RABAT 2026").as_bytes()),
        signed(text.replace("RABAT/2026/1", "").as_bytes()),
        signed(text.replace(r#""judicial""#, r#""gut-feeling""#).as_bytes()),
        signed(text.replace(r#"["officer"]"#, "[]").as_bytes()),
        signed(
            text.replace(r#"["health"]"#, r#"["health","health"]"#)
                .as_bytes(),
        ),
        signed(
            text.replace(r#"["health"]"#, r#"["health","tax"]"#)
                .as_bytes(),
        ),
        signed(text.replace(&format!("[\"{name}\"]"), "[]").as_bytes()),
        signed(
            text.replace(
                &format!("[\"{name}\"]"),
                &format!("[\"{name}\",\"{name}\"]"),
            )
            .as_bytes(),
        ),
        signed(text.replace("Z\"", ".5Z\"").as_bytes()),
        signed(text.replace("Z\"", "+00:00\"").as_bytes()),
    ];
    for order in &wrong {
        court.refuse_with(order, &request, 400, "order-malformed");
    }
    // The whole of the same, untouched, opens: it is the changes that were refused.
    let answer = court
        .watch
        .reidentify_with(&right.to_string(), &request, "health", &court.pseudonyms)
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR660001");
    court.unused.clear();
    court.finish(&[(payload.id, 1)]);
}

#[test]
fn orders_against_the_rules() {
    let mut court = Court::new(&["QR550001", "QR550002"]);
    let (hour, clerk, minister) = (
        SignedDuration::from_hours(1),
        court.others.clerk.clone(),
        court.others.minister.clone(),
    );
    type Bend = Box<dyn FnOnce(&mut OrderPayload)>;
    let bent: Vec<(Bend, u16, &str)> = vec![
        (
            Box::new(|order| order.aud = id("elsewhere")),
            403,
            "order-audience",
        ),
        (
            Box::new(|order| order.authority = id("nobody")),
            403,
            "order-authority",
        ),
        (
            Box::new(move |order| order.not_before = now() + hour),
            403,
            "order-not-yet-valid",
        ),
        (
            Box::new(move |order| {
                (order.not_before, order.not_after) = (now() - hour * 2, now() - hour);
            }),
            403,
            "order-expired",
        ),
        (
            Box::new(|order| order.not_after = now()),
            403,
            "order-expired",
        ),
        (
            Box::new(move |order| order.not_after = order.not_before + hour * 721),
            403,
            "order-rule",
        ),
        (
            Box::new(move |order| {
                order.basis = LegalBasis::ForceMajeure {
                    security: SecuritySide::Internal,
                };
                order.not_after = order.not_before + hour * 73;
            }),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.scope = PseudonymScope::AtMost(1)),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| {
                order.basis = LegalBasis::Statutory {
                    article: "Law 1, article 2".into(),
                };
                order.scope = PseudonymScope::AtMost(101);
            }),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.officers = vec![id("officer"), id("usher")]),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.officers = vec![id("judge-1")]),
            403,
            "order-rule",
        ),
    ];
    for (bend, status, code) in bent {
        let payload = court.order(bend);
        let order = court.watch.sign(&payload, QUORUM);
        court.refuse(&order, status, code);
    }
    let without_list = |court: &mut Court, sector: &str| {
        let sector = sector.to_owned();
        court.order(move |order| {
            order.basis = LegalBasis::Statutory {
                article: "Law 1, article 2".into(),
            };
            order.scope = PseudonymScope::AtMost(5);
            order.sectors = vec!["health".into(), sector];
        })
    };
    // A sector that nobody knows, and one for which the court is not competent.
    for (sector, status, code) in [
        ("nowhere", 404, "unknown-sector"),
        ("social", 403, "order-authority"),
    ] {
        let payload = without_list(&mut court, sector);
        let order = court.watch.sign(&payload, QUORUM);
        court.refuse(&order, status, code);
    }
    // A right order of another authority, at the court's node and with the court's certificate.
    let payload = court.order(|order| {
        order.authority = id("tribunal");
        order.officers = vec![id("usher")];
        order.not_after = order.not_before + SignedDuration::from_hours(24);
        order.sectors = vec!["tax".into()];
        order.scope = PseudonymScope::Listed([("tax".to_owned(), vec![])].into());
    });
    let payload = OrderPayload {
        scope: PseudonymScope::Listed([("tax".to_owned(), tax_pseudonym(&mut court))].into()),
        ..payload
    };
    let order = sign_with(&payload, &[("clerk", clerk), ("minister", minister)]);
    court.refuse(&order, 403, "order-authority");

    // Nothing asked for, and too much.
    let payload = court.order(|_| {});
    let order = court.watch.sign(&payload, QUORUM);
    for (list, status, code) in [
        (vec![], 422, "empty-batch"),
        (vec![String::new(); 10_001], 413, "too-large"),
    ] {
        let request = court.watch.request(&order, "health", &list);
        let reply = court
            .watch
            .reidentify_with(&order, &request, "health", &list);
        court.watch.refused(NODE, &reply, status, code);
        let reply = court.watch.release_with(&order, &request, "health", &list);
        court.watch.refused(VAULT, &reply, status, code);
    }
    court.finish(&[]);
}

/// A pseudonym of the sector tax in form; whether it is anybody's does not matter.
fn tax_pseudonym(court: &mut Court) -> Vec<String> {
    let random = cloison::pseudonym::Pseudonym::from_bytes(cloison::clock::random());
    let writer =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, "impot", 1);
    vec![court.watch.secret(writer.text(&random))]
}

#[test]
fn requests_that_are_not_the_officers() {
    let mut court = Court::new(&["QR440001", "QR440002"]);
    let both = court.order(|order| order.officers = vec![id("officer"), id("officer-2")]);
    let one = court.order(|_| {});
    let [both_signed, order] = [&both, &one].map(|payload| court.watch.sign(payload, QUORUM));
    let list = court.pseudonyms.clone();
    let (officer, second) = (court.watch.key("officer"), court.others.second.clone());
    let by = |court: &Court, kid: &str, key: &SigningKey, seconds: i64| {
        let time = Timestamp::now() + SignedDuration::from_secs(seconds);
        court
            .watch
            .request_by(kid, key, &order, "health", &list, time)
    };
    let right = by(&court, "officer", &officer, 0);
    let other_order = court.watch.request(&both_signed, "health", &list);
    let other_list = court.watch.request(&order, "health", &list[..1]);
    let turned: Vec<String> = list.iter().rev().cloned().collect();
    let other_turn = court.watch.request(&order, "health", &turned);
    let other_sector = court.watch.request(&order, "tax", &list);
    let payload = jws::parse(&right, "cloison-request+json")
        .unwrap()
        .payload()
        .to_vec();
    let elsewhere = String::from_utf8(payload.clone())
        .unwrap()
        .replace(DEPLOYMENT, "elsewhere");
    let sign = |payload: &[u8], typ: &str| {
        jws::add_signature(&jws::draft(payload), typ, "officer", &officer).unwrap()
    };
    let wrong = [
        // Stale, or from the future.
        by(&court, "officer", &officer, -125),
        by(&court, "officer", &officer, 125),
        // Another person's: a stranger under the officer's name, an officer whom the order does not
        // name, an approver.
        by(
            &court,
            "officer",
            &SigningKey::from_bytes(&cloison::clock::random()),
            0,
        ),
        by(&court, "officer", &second, 0),
        by(&court, "officer-2", &second, 0),
        by(&court, "judge-1", &court.watch.key("judge-1"), 0),
        // For something else.
        other_order,
        other_list,
        other_turn,
        other_sector,
        sign(elsewhere.as_bytes(), "cloison-request+json"),
        // Nobody's, two persons', or none at all.
        jws::draft(&payload),
        jws::add_signature(&right, "cloison-request+json", "officer-2", &second).unwrap(),
        sign(&payload, OrderPayload::TYP),
        sign(b"{}", "cloison-request+json"),
        order.clone(),
        String::new(),
        list[0].clone(),
    ];
    for request in &wrong {
        court.refuse_with(&order, request, 403, "request-invalid");
    }

    // The second officer brings the first one's request: the node knows who stands at its door.
    let request = court.watch.request(&both_signed, "health", &list);
    let body =
        json!({"order": both_signed, "request": request, "sector": "health", "pseudonyms": list});
    let reply = court
        .watch
        .post_json("chu-study", Door::Officers, "/v1/reidentifications", &body);
    court.watch.refused(
        (Side::Node, "officer-2", "reidentify"),
        &reply,
        403,
        "request-invalid",
    );

    // What is no such request at all.
    let right = json!({"order": order, "request": right, "sector": "health", "pseudonyms": list});
    let with = |member: &str, value: Value| {
        let mut body = right.clone();
        body[member] = value;
        body.to_string()
    };
    let malformed = [
        String::new(),
        "[]".to_owned(),
        json!([order, right["request"], "health", list]).to_string(),
        with("extra", json!(list[0])),
        with("pseudonyms", json!(list[0])),
        with("pseudonyms", json!([7])),
        with("sector", json!(null)),
        right.to_string().replacen('{', r#"{"sector":"tax","#, 1),
        format!("{right}{right}"),
    ];
    for body in malformed {
        let reply = court.watch.post(
            "officer",
            Door::Officers,
            "/v1/reidentifications",
            "application/json",
            body.as_bytes(),
        );
        court.watch.refused(NODE, &reply, 400, "malformed-body");
    }
    let digest = HEXLOWER.encode(&court.watch.register().digest);
    for body in [
        json!([digest, right]),
        json!({"asked": right}),
        json!({"register": digest, "asked": [order, "", "health", list]}),
    ] {
        let reply = court
            .watch
            .post_json("node", Door::Control, "/v1/releases", &body);
        court.watch.refused(VAULT, &reply, 400, "malformed-body");
    }
    for (name, door, path, book) in [
        ("officer", Door::Officers, "/v1/reidentifications", NODE),
        ("node", Door::Control, "/v1/releases", VAULT),
    ] {
        let reply = court
            .watch
            .post(name, door, path, "text/plain", right.to_string().as_bytes());
        court
            .watch
            .refused(book, &reply, 415, "unsupported-media-type");
        let reply = court.watch.post(
            name,
            door,
            path,
            "application/json",
            &b" ".repeat((4 << 20) + 1),
        );
        court.watch.refused(book, &reply, 413, "too-large");
    }
    court.finish(&[]);
}

#[test]
fn another_payload_under_a_used_id() {
    let mut court = Court::new(&["QR330001", "QR330002"]);
    let first = court.watch.order("health", &court.pseudonyms[..1]);
    let order = court.watch.sign(&first, QUORUM);
    let answer = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms[..1])
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR330001");

    let other = OrderPayload {
        id: first.id,
        ..court.watch.order("health", &court.pseudonyms)
    };
    let forked = court.watch.sign(&other, QUORUM);
    court.refuse(&forked, 409, "order-conflict");
    // Also after a restart: the store remembers, on both sides.
    court.watch.restart();
    court.refuse(&forked, 409, "order-conflict");
    // More signatures on the same payload are the same order.
    let more = jws::add_signature(
        &order,
        OrderPayload::TYP,
        "judge-2",
        &court.watch.key("judge-2"),
    )
    .unwrap();
    let answer = court
        .watch
        .reidentify(&more, "health", &court.pseudonyms[..1])
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR330001");
    court.finish(&[(first.id, 1)]);
}

#[test]
fn vault_and_node_with_different_registers() {
    let mut court = Court::new(&["QR220001"]);
    // The node gets a newer register, well signed, and the vault does not.
    let kept = ["register.toml", "register.jws"].map(|file| (file, court.watch.read(file)));
    court.watch.end(Side::Node);
    court
        .watch
        .edit_register(|text| text + "\n# A remark that changes nothing but the digest.\n");
    for (file, text) in &kept {
        court
            .watch
            .write(&format!("node-{file}"), &court.watch.read(file));
        court.watch.write(file, text);
    }
    let config = swap(
        &court.watch.read("node.toml"),
        "\"register.toml\"",
        "\"node-register.toml\"",
    );
    court.watch.write(
        "node.toml",
        &swap(&config, "\"register.jws\"", "\"node-register.jws\""),
    );
    court.watch.start(Side::Node, &[]);

    let payload = court.order(|_| {});
    let order = court.watch.sign(&payload, QUORUM);
    let reply = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone());
    court.watch.refused(NODE, &reply, 409, "register-mismatch");
    court
        .watch
        .entry(VAULT.0, VAULT.1, VAULT.2, "register-mismatch");

    // The vault follows, and all is well.
    court.watch.end(Side::Vault);
    for (file, _) in &kept {
        court
            .watch
            .write(file, &court.watch.read(&format!("node-{file}")));
    }
    // While it is away, the node says so and opens nothing.
    let reply = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone());
    court.watch.refused(NODE, &reply, 502, "peer-unavailable");
    court.watch.start(Side::Vault, &[]);
    let answer = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone())
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR220001");
    court.unused.clear();
    court.finish(&[(payload.id, 1)]);
}

#[test]
fn orders_that_are_right() {
    // So that the refusals above are known to be for their reasons, and not for all.
    let (world, others) = world();
    let health = world.tokenize("cnss-health", "health", "cnie", None, &["QR110001"]);
    let mut majeure = world.order("health", &health);
    majeure.basis = LegalBasis::ForceMajeure {
        security: SecuritySide::External,
    };
    majeure.not_after = majeure.not_before + SignedDuration::from_hours(72);
    let mut long = world.order("health", &health);
    long.not_after = long.not_before + SignedDuration::from_hours(720);
    let mut both = world.order("health", &health);
    both.officers.push(Id::parse("officer-2").unwrap());
    for payload in [
        &majeure,
        &long,
        &at_most(&world, 100, &["health", "tax"]),
        &both,
    ] {
        let order = world.sign(payload, QUORUM);
        assert_eq!(
            world.reidentify(&order, "health", &health).ok()["items"][0]["value"],
            "QR110001"
        );
    }
    let order = world.sign(&both, &["judge-2", "prosecutor-1", "judge-1"]);
    let request = world.request_by(
        "officer-2",
        &others.second,
        &order,
        "health",
        &health,
        Timestamp::now(),
    );
    let body =
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": health});
    let reply = world.post_json("chu-study", Door::Officers, "/v1/reidentifications", &body);
    assert_eq!(reply.ok()["items"][0]["value"], "QR110001");
}
