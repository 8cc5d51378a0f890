//! Orders and officers' requests that must not open anything, at the node's door and, past it, at
//! the vault's.

mod forms;
mod requests;
mod rules;

use cloison::keys::{AuthoritySecret, Key};
use cloison::order::{LegalBasis, OrderPayload, SecuritySide};
use cloison::register::{Id, Suite};
use cloison::seal::segment::AuthorityPrivateKey;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::{Door, QUORUM, Side, World};
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

/// A pseudonym of the sector tax in form; whether it is anybody's does not matter.
fn tax_pseudonym(court: &mut Court) -> Vec<String> {
    let random = cloison::pseudonym::Pseudonym::from_bytes(cloison::clock::random());
    let writer =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, "impot", 1);
    vec![court.watch.secret(writer.text(&random))]
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
