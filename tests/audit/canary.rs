//! No identifier, no UTI, no secret and no digest that a person without a key could make of an
//! identifier stands in any entry: told by looking for all of them in the entries of a world in
//! which everything was done once, right and wrong.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};

use super::actors;
use super::common::{Door, QUORUM, Setup, Side, World, files};

const CARDS: [&str; 3] = ["XQ7310001", "XQ7310002", "XQ7310003"];

/// Bytes in the forms in which a text may hold them. A third of a digest is enough to know it by.
fn forms(bytes: &[u8], needles: &mut BTreeSet<String>) {
    let head = &bytes[..bytes.len().min(12)];
    needles.extend([
        HEXLOWER.encode(head),
        BASE64.encode(head),
        BASE64URL_NOPAD.encode(head),
    ]);
}

/// Everything that anybody could compute of a text without a key.
fn digests(text: &str, needles: &mut BTreeSet<String>) {
    needles.insert(text.to_owned());
    needles.insert(HEXLOWER.encode(text.as_bytes()));
    needles.insert(
        BASE64
            .encode(text.as_bytes())
            .trim_end_matches('=')
            .to_owned(),
    );
    let length = (text.len() as u16).to_be_bytes();
    let scheme = [&[0, 4][..], b"cnie"].concat();
    for message in [
        text.as_bytes().to_vec(),
        text.to_lowercase().into_bytes(),
        [&length[..], text.as_bytes()].concat(),
        [&scheme[..], &length, text.as_bytes()].concat(),
        [b"cnie".as_slice(), text.as_bytes()].concat(),
        [b"cnie:".as_slice(), text.as_bytes()].concat(),
        [&[0][..], text.as_bytes()].concat(),
        format!("{text}\n").into_bytes(),
    ] {
        forms(&Sha256::digest(&message), needles);
        forms(&Sha512::digest(&message), needles);
    }
}

#[test]
fn no_entry_names_anybody() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    actors::rights_officers(
        &world,
        &[("rights-1", &["health"]), ("rights-2", &["health"])],
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let health = world.health_pseudonyms(&CARDS);
    world.health_pseudonyms(&CARDS[..1]);
    for odd in [CARDS[0], "x", &health[0]] {
        world.batch("cnss-health", odd, odd, Some(odd), &[odd]);
        world.get(
            "auditor",
            Door::Control,
            &format!("/v1/audit/entries?actor={odd}&sector={odd}&order={odd}&event={odd}"),
        );
    }
    let order = world.sign(&world.order("health", &health), QUORUM);
    world.reidentify(&order, "health", &health).ok();
    let own = [health[0].clone(), CARDS[0].to_owned()];
    world.reidentify(&order, "health", &own);
    super::inspection::enter(
        &world,
        &["--client", "clients/auditor.toml", "--sector", "health"],
    );
    for odd in [CARDS[0].to_lowercase().as_str(), CARDS[0], &health[0]] {
        let path = format!("/v1/audit/entries?actor={odd}&sector={odd}&order={odd}&event={odd}");
        world.get("auditor", Door::Control, &path).ok();
    }
    for pseudonyms in [json!([health[0]]), json!([CARDS[0], health[1]])] {
        let body = json!({"sector": "health", "pseudonyms": pseudonyms});
        world
            .post_json("rights-1", Door::Control, "/v1/rights/resolutions", &body)
            .ok();
    }
    let run =
        |arguments: &[&str]| assert!(world.cloison(arguments).status.success(), "{arguments:?}");
    let key = |id: &str| {
        (
            format!("--key=secrets/people/{id}.pem"),
            format!("--kid={id}"),
        )
    };
    let ((key1, kid1), (key2, kid2)) = (key("rights-1"), key("rights-2"));
    let what = [
        "--register",
        "register.toml",
        "--sector",
        "health",
        "--pseudonym",
        &health[2],
        "--reason",
        "request",
    ];
    run(&[
        &["rights", "erase"],
        &what[..],
        &[&key1, &kid1, "--out", "erase.jws"],
    ]
    .concat());
    run(&["rights", "sign", "erase.jws", &key2, &kid2]);
    run(&[
        "rights",
        "lodge",
        "--yes",
        "erase.jws",
        "--client",
        "clients/rights-1.toml",
    ]);
    run(&[
        "rights",
        "lodge",
        "--yes",
        "erase.jws",
        "--client",
        "clients/rights-1-node.toml",
    ]);
    world.stop();

    let mut needles = BTreeSet::new();
    for text in CARDS
        .iter()
        .map(|card| (*card).to_owned())
        .chain(health.iter().cloned())
    {
        digests(&text, &mut needles);
    }
    let sector = world.register().sector("health").unwrap().clone();
    for text in &health {
        let pseudonym = sector.parse_pseudonym(text).unwrap().pseudonym;
        forms(pseudonym.as_bytes(), &mut needles);
        forms(&Sha256::digest(pseudonym.as_bytes()), &mut needles);
        forms(
            &cloison::tlog::tree::leaf_hash(pseudonym.as_bytes()),
            &mut needles,
        );
    }
    for path in files(&world.path("secrets")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        needles.extend(
            lines
                .map(|line| line.rsplit(':').next().unwrap().to_owned())
                .filter(|line| line.len() >= 24),
        );
    }
    // An order's own digest is over a list of pseudonyms, and stands in the log so that the order
    // can be shown to be the one: only those who have the order can make it.
    let entries = [world.entries(Side::Vault), world.entries(Side::Node)].concat();
    super::documents::describe(&entries);
    let events: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect();
    for event in [
        "tokenize",
        "refuse",
        "release",
        "reveal",
        "inspection",
        "access",
        "look-up",
        "erase",
        "start",
    ] {
        assert!(events.contains(event), "{event}: {events:?}");
    }
    for entry in &entries {
        let text = entry.to_string();
        let found = needles.iter().find(|needle| text.contains(needle.as_str()));
        assert!(
            found.is_none(),
            "an entry of kind {} says what it must not",
            entry["event"]
        );
    }
    // The search finds what is there.
    let answer =
        json!({"a": health[0], "b": HEXLOWER.encode(&Sha256::digest(CARDS[0]))}).to_string();
    assert_eq!(
        needles
            .iter()
            .filter(|needle| answer.contains(needle.as_str()))
            .count(),
        2
    );
}
