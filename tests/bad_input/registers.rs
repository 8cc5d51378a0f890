//! Registers on which nothing may start. A clear line on the command line, exit code 1, and the
//! store as it was.

use cloison::jws;
use cloison::register::sign::TYP;
use ed25519_dalek::SigningKey;

use crate::common::{Side, World, swap};

/// What the vault's store says of the register and the epochs: what a refused start must not touch.
#[derive(Debug, PartialEq)]
struct State {
    register: Option<(u64, [u8; 32])>,
    epochs: Vec<(String, usize)>,
    entries: usize,
    frozen: usize,
}

fn state(world: &World) -> State {
    let register = world.register();
    let store = world.store(Side::Vault);
    let epochs = register
        .sectors
        .values()
        .map(|s| (s.name.clone(), store.epochs(s.uuid).unwrap().len()))
        .collect();
    State {
        register: store.register().unwrap(),
        epochs,
        entries: store.audit_from(0, usize::MAX).unwrap().len(),
        frozen: store.all_frozen().unwrap().len(),
    }
}

/// A world that served once, so that there is something to go back behind.
fn used() -> World {
    let mut world = World::new();
    world.health_pseudonyms(&["QG770001"]);
    world.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["QG770001"]);
    world.tokenize("rsu-social", "social", "cnie", Some("aid"), &["QG770001"]);
    world.stop();
    world
}

/// Neither side starts, and says why in words that contain `why`.
#[track_caller]
fn refused(world: &mut World, sides: &[Side], why: &str) {
    for side in sides {
        let failed = world.try_start(*side, &[]).expect_err("it must not start");
        assert_eq!(failed.code, Some(1), "{failed}");
        assert!(failed.said.contains(why), "{why:?} is not in: {failed}");
        assert!(failed.said.contains("hint: "), "{failed}");
        assert!(
            !failed.said.contains("panicked") && !failed.said.contains("QG77"),
            "{failed}"
        );
    }
}

const BOTH: &[Side] = &[Side::Vault, Side::Node];

#[test]
fn unsigned_foreign_or_forged() {
    let mut world = used();
    let before = state(&world);
    let (text, signatures) = (world.read("register.toml"), world.read("register.jws"));
    let [operations, commission] = ["operations", "commission"].map(|key| world.register_key(key));

    std::fs::remove_file(world.path("register.jws")).unwrap();
    refused(&mut world, BOTH, "the register is not signed");
    let payload = jws::parse(&signatures, TYP).unwrap().payload().to_vec();
    let sign = |payload: &[u8], signers: &[(&str, &SigningKey)]| {
        let add = |text: String, (kid, key): &(&str, &SigningKey)| {
            jws::add_signature(&text, TYP, kid, key).unwrap()
        };
        signers.iter().fold(jws::draft(payload), add)
    };
    let good = [("operations", &operations), ("commission", &commission)];
    let stranger = SigningKey::from_bytes(&cloison::clock::random());
    let bent =
        |from: &str, to: &str| swap(std::str::from_utf8(&payload).unwrap(), from, to).into_bytes();
    let attempts = [
        (jws::draft(&payload), "the register is not signed"),
        (
            sign(&payload, &good[..1]),
            "1 register keys of the 2 that must sign",
        ),
        (
            sign(&payload, &good[1..]),
            "1 register keys of the 2 that must sign",
        ),
        (
            sign(
                &payload,
                &[("operations", &operations), ("commission", &operations)],
            ),
            "forged or damaged",
        ),
        (
            sign(
                &payload,
                &[("operations", &stranger), ("commission", &commission)],
            ),
            "forged or damaged",
        ),
        (
            sign(&payload, &[("stranger", &stranger), ("other", &operations)]),
            "0 register keys of the 2",
        ),
        (
            sign(&bent("\"test\"", "\"prod\""), &good),
            "the register is foreign",
        ),
        (
            sign(&bent("\"version\":1", "\"version\":2"), &good),
            "are not those in the register file",
        ),
        (sign(b"{}", &good), "not a register's"),
        (String::new(), "not a register's signatures"),
        ("QG770001".to_owned(), "not a register's signatures"),
    ];
    for (signatures, why) in &attempts {
        world.write("register.jws", signatures);
        refused(&mut world, BOTH, why);
    }

    // Changed after it was signed, by one character in a comment.
    world.write("register.jws", &signatures);
    world.write("register.toml", &(text.clone() + "#"));
    refused(&mut world, BOTH, "is not the one that was signed");
    // Of another deployment as a whole, text and signatures, with our keys.
    world.write_register(
        &swap(&text, "deployment = \"test\"", "deployment = \"prod\""),
        &["operations", "commission"],
    );
    refused(&mut world, BOTH, "the register is foreign");
    // Of another deployment with the same name, and so with other keys.
    let twin = World::asleep();
    world.write("register.toml", &twin.read("register.toml"));
    world.write("register.jws", &twin.read("register.jws"));
    refused(&mut world, BOTH, "forged or damaged");

    // Two keys of operations are two keys, and without the commission nothing is valid.
    let third = SigningKey::from_bytes(&cloison::clock::random());
    let pin = format!(
        "\n[[register.key]]\nid = \"operations-2\"\nbody = \"operations\"\npublic = \"{}\"\n",
        data_encoding::HEXLOWER.encode(third.verifying_key().as_bytes())
    );
    for config in ["vault.toml", "node.toml"] {
        world.write(config, &(world.read(config) + &pin));
    }
    world.write("register.toml", &text);
    world.write(
        "register.jws",
        &sign(&payload, &[good[0], ("operations-2", &third)]),
    );
    refused(
        &mut world,
        BOTH,
        "without the commission no register is valid",
    );

    world.write("register.jws", &signatures);
    assert_eq!(state(&world), before, "a refused start leaves nothing");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
}

#[test]
fn older_or_changed_under_the_same_version() {
    let mut world = used();
    let (text, signatures) = (world.read("register.toml"), world.read("register.jws"));
    world.write_register(
        &(text.clone() + "\n# Another remark.\n"),
        &["operations", "commission"],
    );
    let before = state(&world);
    refused(
        &mut world,
        BOTH,
        "another register of version 1 was in force",
    );
    world.write("register.toml", &text);
    assert_eq!(state(&world), before);

    // The next version is taken, and then there is no way back, with or without good signatures.
    world.edit_register(|text| text);
    let newer = ["register.toml", "register.jws"].map(|file| (file, world.read(file)));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world.stop();
    let before = state(&world);
    world.write("register.toml", &text);
    world.write("register.jws", &signatures);
    refused(
        &mut world,
        BOTH,
        "register version 1 is older than version 2, which was in force",
    );
    for (file, text) in &newer {
        world.write(file, text);
    }
    assert_eq!(state(&world), before);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
}

/// `edit` done to a register of the same version and signed by hand, because `sign` refuses one
/// with faults.
fn force(world: &World, text: &str) {
    let register = world.register();
    let payload = format!(
        r#"{{"aud":"test","version":{},"sha256":"{}"}}"#,
        register.version,
        data_encoding::HEXLOWER.encode(&cloison::register::sign::digest_of(text.as_bytes()))
    );
    let signed = ["operations", "commission"]
        .iter()
        .fold(jws::draft(payload.as_bytes()), |signed, kid| {
            jws::add_signature(&signed, TYP, kid, &world.register_key(kid)).unwrap()
        });
    world.write("register.toml", text);
    world.write("register.jws", &signed);
}

/// The text of a sector's section, from its name on, with one line replaced.
fn in_sector(text: &str, name: &str, from: &str, to: &str) -> String {
    let at = text.find(&format!("name = \"{name}\"\n")).unwrap();
    let (head, tail) = text.split_at(at);
    assert!(tail.contains(from), "{from:?}");
    head.to_owned() + &tail.replacen(from, to, 1)
}

#[test]
fn with_faults_within() {
    let mut world = World::asleep();
    let text = world.read("register.toml");
    let register = world.register();
    let uuid = |name: &str| register.sector(name).unwrap().uuid.to_string();
    for (faulty, why) in [
        // A cycle, by itself and by way of a child.
        (
            in_sector(
                &text,
                "health",
                "tag = \"sante\"\n",
                "tag = \"sante\"\nparent = \"health\"\n",
            ),
            "cycle",
        ),
        (
            in_sector(
                &text,
                "health",
                "tag = \"sante\"\n",
                "tag = \"sante\"\nparent = \"health.chu-rabat\"\n",
            ),
            "cycle",
        ),
        (
            in_sector(
                &text,
                "health.chu-rabat",
                "parent = \"health\"",
                "parent = \"health.chu-rabat.study-42\"",
            ),
            "cycle",
        ),
        (
            in_sector(
                &text,
                "health.chu-rabat",
                "parent = \"health\"",
                "parent = \"nowhere\"",
            ),
            "parent",
        ),
        (swap(&text, &uuid("tax"), &uuid("health")), "uuid"),
        (swap(&text, "tag = \"impot\"", "tag = \"sante\""), "tag"),
        (
            in_sector(&text, "tax", "name = \"tax\"", "name = \"health\""),
            "name",
        ),
        (text.clone() + "\nnonsense = 1\n", "nonsense"),
        (text.clone() + "\n[[nonsense]]\nid = \"x\"\n", "nonsense"),
        (swap(&text, "version = 1", "version = -1"), "version"),
    ] {
        force(&world, &faulty);
        for side in BOTH {
            let failed = world.try_start(*side, &[]).expect_err("it must not start");
            assert_eq!(failed.code, Some(1), "{failed}");
            let place = failed
                .said
                .lines()
                .find(|line| line.contains("register.toml:") && line.contains(why));
            let line = place.unwrap_or_else(|| panic!("no line about {why}: {failed}"));
            let number = line
                .split("register.toml:")
                .nth(1)
                .unwrap()
                .split(':')
                .next()
                .unwrap();
            assert!(number.parse::<usize>().is_ok_and(|n| n > 0), "{line}");
            assert!(failed.said.contains("write instead: "), "{failed}");
        }
        world.write("register.toml", &text);
        // Nothing was even opened.
        assert!(
            !world.path("data/vault/CURRENT").exists() && !world.path("data/node/CURRENT").exists()
        );
    }
    // All faults at once, each with its line.
    let faulty = swap(
        &swap(&text, &uuid("tax"), &uuid("health")),
        "tag = \"impot\"",
        "tag = \"sante\"",
    );
    force(
        &world,
        &in_sector(
            &faulty,
            "social",
            "text-form = \"uuid\"",
            "text-form = \"guid\"",
        ),
    );
    let failed = world
        .try_start(Side::Vault, &[])
        .expect_err("it must not start");
    for why in ["uuid", "tag", "text-form"] {
        assert!(
            failed
                .said
                .lines()
                .any(|line| line.contains("register.toml:") && line.contains(why)),
            "{failed}"
        );
    }
}

#[test]
fn that_change_what_is_frozen() {
    let mut world = used();
    let files = ["register.toml", "register.jws"].map(|file| (file, world.read(file)));
    let before = state(&world);
    let register = world.register();
    let fresh = crate::common::uuid4().to_string();
    let uuid = |name: &str| register.sector(name).unwrap().uuid.to_string();
    let text = files[0].1.clone();
    let health = &text[text
        .find(&format!("\n[[sector]]\nuuid = \"{}\"", uuid("health")))
        .unwrap()..];
    let health = &health[..1 + health[1..].find("\n[[sector]]").unwrap()];
    type Edit<'a> = Box<dyn FnOnce(String) -> String + 'a>;
    let edits: Vec<(&str, Edit<'_>, bool)> = vec![
        (
            "a sector's uuid",
            Box::new(|text| swap(&text, &uuid("health"), &fresh)),
            true,
        ),
        (
            "a sector's tag",
            Box::new(|text| swap(&text, "tag = \"sante\"", "tag = \"soins\"")),
            true,
        ),
        (
            "a used tag for another sector",
            Box::new(|text| {
                swap(
                    &swap(&text, "tag = \"impot\"", "tag = \"taxe\""),
                    "tag = \"sante\"",
                    "tag = \"impot\"",
                )
            }),
            true,
        ),
        // The tax office becomes a part of health: another path, and so other pseudonyms.
        (
            "a sector's parent",
            Box::new(|text| {
                let text = in_sector(
                    &text,
                    "tax",
                    "tag = \"impot\"\n",
                    "tag = \"impot\"\nparent = \"health\"\n",
                );
                swap(&text, "\"tax\"", "\"health.tax\"")
            }),
            true,
        ),
        (
            "a scheme's pattern",
            Box::new(|text| swap(&text, "\"[0-9]{10}\"", "\"[0-9]{11}\"")),
            false,
        ),
        (
            "a used scheme's separators",
            Box::new(|text| {
                let at = text.find("id = \"cnie\"").unwrap();
                text[..at].to_owned()
                    + &text[at..].replacen("separators = \" -\"", "separators = \" -.\"", 1)
            }),
            true,
        ),
        (
            "an organisation's id",
            Box::new(|text| swap(&text, "\"dgi\"", "\"impots\"")),
            true,
        ),
        (
            "a purpose's code",
            Box::new(|text| swap(&text, "\"aid\"", "\"help\"")),
            true,
        ),
        // Without its children it could go, were it not in use.
        (
            "a sector that is in use",
            Box::new(|text| {
                let text = swap(&text, health, "\n");
                let at = text.find("\n[[client]]\nid = \"cnss-health\"").unwrap();
                let end = at + 1 + text[at + 1..].find("\n[[client]]").unwrap();
                let text = text[..at].to_owned() + &text[end..];
                text.replace("parent = \"health\"\n", "")
                    .replace("\"health.chu-rabat", "\"chu-rabat")
            }),
            true,
        ),
    ];
    for (what, edit, frozen) in edits {
        world.edit_register(edit);
        if frozen {
            refused(
                &mut world,
                &[Side::Vault],
                "the register changes what is frozen since its first use",
            );
            for (file, text) in &files {
                world.write(file, text);
            }
            assert_eq!(state(&world), before, "{what}");
        } else {
            // Nobody used it yet: that may still change. It is checked and not started, as there is
            // no way back.
            assert!(world.register().version == 2, "{what}");
            for (file, text) in &files {
                world.write(file, text);
            }
        }
    }
    // A name is no fact: a sector may be called otherwise, and its pseudonyms stay.
    world.start(Side::Vault, &[]);
    let old = world.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["QG770001"]);
    world.end(Side::Vault);
    world.edit_register(|text| {
        swap(
            &swap(&text, "\"[0-9]{10}\"", "\"[0-9]{11}\""),
            "\"tax\"",
            "\"revenue\"",
        )
    });
    world.start(Side::Vault, &[]);
    assert_eq!(
        world.tokenize(
            "dgi-tax",
            "revenue",
            "cnie",
            Some("assessment"),
            &["QG770001"]
        ),
        old
    );
    assert_eq!(
        world
            .batch("dgi-tax", "tax", "cnie", Some("assessment"), &["QG770001"])
            .code(),
        "unknown-sector"
    );
}

#[test]
fn that_change_terms_need_a_new_epoch() {
    let mut world = used();
    world.start(Side::Vault, &[]);
    let old = world.health_pseudonyms(&["QG770001"]);
    world.end(Side::Vault);
    let files = ["register.toml", "register.jws"].map(|file| (file, world.read(file)));
    let before = state(&world);
    for (from, to) in [
        ("granularity = {}", "granularity = { purpose = true }"),
        ("granularity = {}", "granularity = { period = \"year\" }"),
        ("text-form = \"bech32m\"", "text-form = \"hex\""),
    ] {
        world.edit_register(|text| in_sector(&text, "health", from, to));
        refused(
            &mut world,
            &[Side::Vault],
            "start once with --advance health",
        );
        // To advance another sector does not help.
        let failed = world
            .try_start(Side::Vault, &["--advance", "tax"])
            .expect_err("it must not start");
        assert!(failed.said.contains("--advance health"), "{failed}");
        for (file, text) in &files {
            world.write(file, text);
        }
        assert_eq!(state(&world), before);
    }
    // No mapping any more: also a new epoch.
    world.edit_register(|text| {
        let text = in_sector(&text, "health", "reversible = true", "reversible = false");
        in_sector(
            &text,
            "health",
            "authorities = [\"court\"]",
            "authorities = []",
        )
    });
    refused(
        &mut world,
        &[Side::Vault],
        "start once with --advance health",
    );
    for (file, text) in &files {
        world.write(file, text);
    }

    // With it, the sector has a second epoch on the new terms, and only that sector.
    world.edit_register(|text| {
        in_sector(
            &text,
            "health",
            "text-form = \"bech32m\"",
            "text-form = \"uuid\"",
        )
    });
    // But not without a word about the form that the first epoch keeps: the node has only the
    // register to know it by.
    let failed = world
        .try_start(Side::Vault, &["--advance", "health"])
        .expect_err("it must not start");
    assert!(
        failed
            .said
            .contains("add former-text-forms = [\"bech32m\"]"),
        "{failed}"
    );
    assert_eq!(state(&world), before);
    world.edit_register(|text| {
        in_sector(
            &text,
            "health",
            "text-form = \"uuid\"",
            "text-form = \"uuid\"\nformer-text-forms = [\"bech32m\"]",
        )
    });
    world.start(Side::Vault, &["--advance", "health"]);
    world.start(Side::Node, &[]);
    let new = world.health_pseudonyms(&["QG770001"]);
    assert_eq!(
        new[0].as_bytes()[14],
        b'8',
        "a UUID of version 8: {}",
        new[0]
    );
    let answer = world
        .batch(
            "cnss-health",
            "health",
            "cnie",
            Some("billing"),
            &["QG770001"],
        )
        .ok();
    assert_eq!(answer["domain"]["epoch"], 2);
    let answer = world
        .batch("dgi-tax", "tax", "cnie", Some("assessment"), &["QG770001"])
        .ok();
    assert_eq!(answer["domain"]["epoch"], 1);
    // The old epoch keeps its own terms while it overlaps.
    let path = crate::common::batch_path("health") + "?previous=true";
    let body =
        serde_json::json!({"scheme": "cnie", "identifiers": ["QG770001"], "purpose": "billing"});
    let answer = world
        .post_json("cnss-health", crate::common::Door::Data, &path, &body)
        .ok();
    assert_eq!(answer["previous"]["pseudonyms"][0], old[0]);
    assert_eq!(answer["pseudonyms"][0], new[0]);
    // Under one order, pseudonyms of both epochs open, each in the form of its own.
    let both = [old[0].clone(), new[0].clone()];
    let order = world.sign(&world.order("health", &both), crate::common::QUORUM);
    let opened = world.reidentify(&order, "health", &both).ok();
    assert_eq!(
        (&opened["items"][0]["value"], &opened["items"][1]["value"]),
        (&"QG770001".into(), &"QG770001".into())
    );
    // The new pseudonym in the old form is none: that epoch has no such pseudonym; and a third form
    // is no form of the sector.
    let hex = new[0].replace('-', "");
    let lookalike =
        cloison::pseudonym::parse(cloison::register::TextForm::Uuid, "sante", &new[0]).unwrap();
    let lookalike =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, "sante", 1)
            .text(&lookalike.pseudonym);
    let mut open = world.order("health", &[]);
    open.basis = cloison::order::LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    open.scope = cloison::order::PseudonymScope::AtMost(9);
    let open = world.sign(&open, crate::common::QUORUM);
    let answer = world.reidentify(&open, "health", &[lookalike, hex]).ok();
    assert_eq!(answer["items"][0]["code"], "no-mapping");
    assert_eq!(answer["items"][1]["code"], "pseudonym-malformed");
    world.stop();
    // It opened one epoch and not one at each start.
    world.start(Side::Vault, &["--advance", "health"]);
    world.stop();
    let store = world.store(Side::Vault);
    assert_eq!(
        store
            .epochs(world.register().sector("health").unwrap().uuid)
            .unwrap()
            .len(),
        2
    );
    drop(store);
    // A further one would end the overlap of the first: only where that is said.
    let files = ["register.toml", "register.jws"].map(|file| (file, world.read(file)));
    world.edit_register(|text| {
        in_sector(
            &text,
            "health",
            "granularity = {}",
            "granularity = { purpose = true }",
        )
    });
    for advance in ["health", "health:2"] {
        let failed = world
            .try_start(Side::Vault, &["--advance", advance])
            .expect_err("it must not start");
        assert!(
            failed.said.contains("start once with --advance health:1"),
            "{failed}"
        );
    }
    let further = world.register().sector("health").unwrap().uuid;
    assert_eq!(world.store(Side::Vault).epochs(further).unwrap().len(), 2);
    world.start(Side::Vault, &["--advance", "health:1"]);
    world.end(Side::Vault);
    assert_eq!(world.store(Side::Vault).epochs(further).unwrap().len(), 3);
    for (file, text) in &files {
        world.write(file, text);
    }
    // Opening an epoch is logged, whichever way it is opened: with the start that did it.
    let entries = world.entries(Side::Vault);
    let opened: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry["opened"].as_array())
        .collect();
    assert_eq!(opened.len(), 3, "{entries:#?}");
    assert_eq!(
        opened[0].len(),
        world.register().sectors.len(),
        "the first epoch of each sector"
    );
    assert_eq!(
        *opened[1],
        [serde_json::json!({"sector": "health", "epoch": 2, "secret_version": 1})]
    );
    let further = serde_json::json!({"sector": "health", "epoch": 3, "secret_version": 1, "ended_overlap": 1});
    assert_eq!(*opened[2], [further]);
}

#[test]
fn advance_names_a_sector() {
    let mut world = World::asleep();
    let failed = world
        .try_start(Side::Vault, &["--advance", "nowhere"])
        .expect_err("it must not start");
    assert!(failed.said.contains("nowhere"), "{failed}");
}
