//! The table of what must not come back with an older store: one act for each row after the backup
//! or the image, and what shows that it is still in force.

use std::fs;

use cloison::clock::day_of;
use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use cloison::order::act::{ActKind, ActPayload};
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use cloison::rights::request::ErasureRequest;
use cloison::statement;
use cloison::store::Store;
use serde_json::{Value, json};

use super::actors;
use super::common::{DEPLOYMENT, Door, QUORUM, Setup, Side, World, id, now, uuid4};
use super::witnesses::eventually;

/// A version of the sector secret that no epoch needs.
const SECRET: &str = "secrets/vault/sector/2.secret";

/// A world in which all of it can be done; nothing runs.
pub fn world() -> World {
    let world = World::with(Setup {
        log: "info",
        start: false,
        register: Box::new(|text| {
            text.replace(
                "operations = [\"tokenize\"]",
                "operations = [\"tokenize\", \"retire-epoch\"]",
            )
            .replace("epoch-overlap-days = 30", "epoch-overlap-days = 0")
        }),
        ..Setup::default()
    });
    actors::rights_officers(
        &world,
        &[("rights-1", &["health"]), ("rights-2", &["health"])],
    );
    world
}

/// What is there before the backup or the image.
pub struct Acts {
    /// A pseudonym of the epoch that is retired.
    old: Vec<String>,
    /// Of the epoch that is left.
    persons: Vec<String>,
    revoked: OrderPayload,
    /// It allows two.
    limited: String,
    secret: Vec<u8>,
    register: [String; 2],
    organisation: String,
}

impl Acts {
    /// Both sides run.
    pub fn prepare(world: &World) -> Self {
        let old = world.health_pseudonyms(&["AB1"]);
        for _ in 0..3 {
            world
                .post_json("operator", Door::Control, "/v1/secrets", &json!({}))
                .ok();
        }
        world.advance("health", false);
        let persons = world.health_pseudonyms(&["AB1", "AB2", "AB3", "AB4"]);
        let revoked = world.order("health", &persons);
        world
            .reidentify(&world.sign(&revoked, QUORUM), "health", &persons)
            .ok();
        let mut limited = world.order("health", &persons);
        limited.basis = LegalBasis::Statutory {
            article: "Law 47-06, art. 214".to_owned(),
        };
        limited.scope = PseudonymScope::AtMost(2);
        let register = world.register();
        let mut clients = register.clients.values();
        let client = clients.find(|client| client.id.as_str() == "cnss-health");
        Self {
            old,
            persons,
            revoked,
            limited: world.sign(&limited, QUORUM),
            secret: fs::read(world.path(SECRET)).unwrap(),
            register: ["register.toml", "register.jws"].map(|file| world.read(file)),
            organisation: client.unwrap().organisation.to_string(),
        }
    }

    /// One act for each row, after the backup or the image.
    pub fn act(&self, world: &World) {
        let revoke = ActPayload {
            aud: id(DEPLOYMENT),
            act: ActKind::Revoke,
            authority: self.revoked.authority.clone(),
            order: self.revoked.id,
            reason: id("test"),
            time: now(),
            lifts: vec![],
        };
        let revoke = sign(world, &revoke, &["judge-1"]);
        world
            .post_json(
                "operator",
                Door::Control,
                "/v1/acts",
                &json!({"act": revoke}),
            )
            .ok();
        world
            .reidentify(&self.limited, "health", &self.persons[1..3])
            .ok();
        self.erase(world);
        world.advance("health", false);
        let retire = world.statement(Destruction::Epoch {
            sector: "health".to_owned(),
            epoch: 1,
        });
        let retire = world.sign_statement(&retire, &OPERATORS[..1]);
        let body = json!({"unmigrated": true, "statement": retire});
        world
            .post_json(
                "cnss-health",
                Door::Data,
                "/v1/sectors/health/epochs/1/retire",
                &body,
            )
            .ok();
        let secret = world.statement(Destruction::Secret { version: 2 });
        let secret = world.sign_statement(&secret, &OPERATORS);
        let body = json!({"version": 2, "statement": secret});
        world
            .post_json("operator", Door::Control, "/v1/secrets/retire", &body)
            .ok();
        let certificate = world.certify("auditor-2", 2000, 4000);
        world.edit_register(|text| {
            text + &format!("\n[[auditor]]\nid = \"auditor-2\"\ncertificate = \"{certificate}\"\n")
        });
        for (who, door) in [("operator", Door::Control), ("officer", Door::Officers)] {
            world
                .post_json(who, door, "/v1/register/reload", &json!({}))
                .ok();
        }
        world.health_pseudonyms(&["AB5", "AB6", "AB7"]);
    }

    fn erase(&self, world: &World) {
        let request = ErasureRequest {
            aud: id(DEPLOYMENT),
            id: uuid4(),
            sector: "health".to_owned(),
            pseudonyms: self.persons[..1].to_vec(),
            reason: id("request"),
            time: now(),
        };
        let text = sign(world, &request, &["rights-1", "rights-2"]);
        for door in [Door::Control, Door::Officers] {
            let body = json!({"request": text});
            world
                .post_json("rights-1", door, "/v1/rights/erasures", &body)
                .ok();
        }
    }

    /// Both sides have stopped: what the day's quota has taken so far.
    pub fn used(&self, world: &World) -> u64 {
        let store = Store::open_for_audit(&world.path("data/vault")).unwrap();
        let used = store.quota_used(&self.organisation, day_of(now()));
        used.unwrap()
    }

    /// Whether a vault that has stopped has copies of the revoked order.
    pub fn has_copies(&self, world: &World) -> bool {
        let store = Store::open_for_audit(&world.path("data/vault")).unwrap();
        let copied = store.copied_orders().unwrap();
        copied.iter().any(|(order, _)| order.id == self.revoked.id)
    }

    /// The machine comes back with the destroyed secret and the old register, as an image has them.
    pub fn bring_old_files_back(&self, world: &World) -> [String; 2] {
        fs::write(world.path(SECRET), &self.secret).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(world.path(SECRET), fs::Permissions::from_mode(0o600)).unwrap();
        let files = ["register.toml", "register.jws"];
        let present = files.map(|file| world.read(file));
        for (file, old) in files.into_iter().zip(&self.register) {
            world.write(file, old);
        }
        present
    }

    /// Both sides run again under the present register: every row is still in force.
    pub fn are_in_force(&self, world: &World) {
        let revoked = world.sign(&self.revoked, QUORUM);
        eventually("vault and node watch one another", || {
            let reply = world.reidentify(&revoked, "health", &self.persons[1..2]);
            reply.status == 403 && reply.code() == "order-revoked"
        });
        let third = world.reidentify(&self.limited, "health", &self.persons[3..]);
        assert_eq!(third.ok()["items"][0]["code"], "limit-reached");
        let opened = |asked: &[String]| {
            let order = world.sign(&world.order("health", asked), QUORUM);
            world.reidentify(&order, "health", asked)
        };
        let erased = opened(&self.persons[..2]).ok();
        let item = |number: usize| erased["items"][number]["code"].clone();
        assert_eq!(
            (item(0), item(1)),
            (json!("no-mapping"), Value::Null),
            "the erased person"
        );
        let retired = opened(&self.old);
        let retired = retired.json();
        assert!(
            retired["code"] == "epoch-retired" || retired["items"][0]["code"].is_string(),
            "the retired epoch: {retired}"
        );
        let path = "/v1/sectors/health/epochs";
        let epochs = world.get("operator", Door::Control, path).ok();
        let epochs = epochs["epochs"].as_array().unwrap();
        let states: Vec<_> = epochs.iter().map(|epoch| &epoch["state"]).collect();
        assert_eq!(states, ["retired", "closed", "current"]);
        let secrets = world.get("operator", Door::Control, "/v1/secrets").ok();
        let versions = secrets["versions"].as_array().unwrap();
        let second = versions.iter().find(|version| version["version"] == 2);
        assert!(
            second.is_none_or(|version| version["state"] == "retired"),
            "{secrets}"
        );
        assert!(!world.path(SECRET).exists(), "the destroyed secret");
    }
}

fn sign<S: statement::Statement>(world: &World, says: &S, signers: &[&str]) -> String {
    let draft = says.draft().unwrap();
    signers.iter().fold(draft, |text, kid| {
        statement::sign::<S>(&text, kid, &world.key(kid)).unwrap()
    })
}

/// A register of before is refused.
pub fn refuses_the_old_register(world: &mut World, side: Side) {
    let failed = world.try_start(side, &[]).unwrap_err();
    assert!(failed.said.contains("is older than version"), "{failed}");
}
