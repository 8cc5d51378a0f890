//! Everything runs at the most verbose log level, with real processes; then every byte that it left
//! behind is looked at.
//!
//! Identifiers stand in what clients sent (`input/`) and nowhere else. Pseudonyms stand in what
//! clients got (`output/`) and, as the thing itself, in orders. Secrets stand in `secrets/`. UTIs
//! and person handles stand nowhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::canaries::{Canaries, Kind, Place, Roots};
use super::common::{Door, QUORUM, Side, batch_path, files, request, sign_with};
use super::story::{PEOPLE, Story};

/// Persons of the demo here; `ops/canary` sets more.
const PERSONS: &str = "2000";

#[test]
fn the_demo_leaves_nobody_lying_about() {
    let persons = std::env::var("CLOISON_CANARY_PERSONS").unwrap_or_else(|_| PERSONS.to_owned());
    let place = tempfile::Builder::new()
        .prefix("cloison-canary-")
        .tempdir()
        .unwrap();
    let kept = place.path().join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["demo", "--persons", &persons, "--json", "--keep"])
        .arg(&kept)
        .env("CLOISON_LOG", "trace")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["persons"].to_string(), persons);
    assert_eq!(outcome["reidentified"], true);

    let canaries = canaries_of(&kept);
    canaries.assert_absent("the demo's standard output", &output.stdout, &[]);
    canaries.assert_absent("the demo's standard error", &output.stderr, &[]);
    assert_everything_in_its_place(&canaries, &kept);
    // The search finds what is there.
    let answers = fs::read(kept.join("output/health.txt")).unwrap();
    assert_eq!(
        canaries.count(&answers, Kind::Pseudonym).to_string(),
        persons
    );
    assert!(
        canaries.count(
            &fs::read(kept.join("input/cards.txt")).unwrap(),
            Kind::Identifier
        ) > 0
    );
    for log in ["vault", "authority"] {
        let log = fs::read_to_string(kept.join(format!("logs/{log}.log"))).unwrap();
        assert!(log.contains("serves") && log.contains("has stopped"));
        assert_ours(&log);
    }
}

/// What clients, officers and strangers send wrongly is in no log either, wherever in a request it
/// stands.
#[test]
fn what_is_refused_is_not_repeated() {
    let mut story = Story::told();
    let Story {
        world,
        health,
        order,
        canaries,
    } = &story;
    let (who, text) = (PEOPLE[0].2, health[0].as_str());
    let mut replies = vec![];
    let odd_bodies = [
        format!(r#"{{"scheme":"cnie","identifiers":["{who}",],"purpose":"billing"}}"#),
        format!(r#"{{"scheme":"{who}","identifiers":["{who}"]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{who}"],"purpose":"{who}"}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":"{who}"}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{who}"],"{who}":1}}"#),
        format!(
            r#"{{"scheme":"cnie","identifiers":["{who}{who}","\u0001{who}"],"purpose":"billing"}}"#
        ),
        format!(r#"{{"scheme":"cnie","identifiers":["{who}"],"domain":{{"period":"{who}"}}}}"#),
        who.to_owned(),
    ];
    for body in &odd_bodies {
        replies.push(world.post(
            "cnss-health",
            Door::Data,
            &batch_path("health"),
            "application/json",
            body.as_bytes(),
        ));
    }
    for path in [
        format!("/v1/sectors/{who}/pseudonyms"),
        format!("/v1/sectors/health/pseudonyms?scheme={who}"),
        format!("/v1/sectors/health/pseudonyms?scheme=cnie&{who}=1"),
        format!("/v1/{who}"),
    ] {
        replies.push(world.post(
            "cnss-health",
            Door::Data,
            &path,
            "text/plain",
            who.as_bytes(),
        ));
    }
    let head = [("content-type", who), ("x-person", who)];
    replies.push(world.send(
        "cnss-health",
        Door::Data,
        &request("POST", &batch_path("health"), &head, who.as_bytes()),
    ));
    replies.push(world.get(
        "operator",
        Door::Control,
        &format!("/v1/sectors/{who}/epochs"),
    ));
    let strange = sign_with(
        &world.order("health", &health[..1]),
        &[(who.to_lowercase().as_str(), world.key("judge-1"))],
    );
    for order in [strange.as_str(), order, text, who] {
        let body =
            json!({"order": order, "request": who, "sector": text, "pseudonyms": [text, who]});
        replies.push(world.post_json("officer", Door::Officers, "/v1/reidentifications", &body));
        replies.push(world.post_json(
            "node",
            Door::Control,
            "/v1/releases",
            &json!({"register": who, "asked": body}),
        ));
    }
    let asked = [text.to_owned(), who.to_owned()];
    let order = world.sign(&world.order("health", &health[..1]), QUORUM);
    let mixed = world.reidentify(&order, "health", &asked);
    for reply in &replies {
        // An identifier among bad neighbours is answered, by its pseudonym.
        canaries.assert_absent("an answer", &reply.raw, &[Kind::Pseudonym]);
    }
    assert_eq!(mixed.ok()["items"][1]["code"], "pseudonym-malformed");

    story.world.stop();
    for side in [Side::Vault, Side::Node] {
        assert_ours(&story.world.log(side));
    }
    assert_everything_in_its_place(&story.canaries, &story.world.path(""));
}

/// Below a warning only our own lines are in a log, whatever it was asked for.
fn assert_ours(log: &str) {
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (_time, level, target) = (
            words.next(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if matches!(level, "INFO" | "DEBUG" | "TRACE") {
            assert!(
                target.starts_with("cloison::"),
                "a library writes into the log: {target}"
            );
        }
    }
}

fn assert_everything_in_its_place(canaries: &Canaries, deployment: &Path) {
    let mut looked_at = 0;
    for path in files(deployment) {
        let below = path.strip_prefix(deployment).unwrap();
        let allowed: &[Kind] = match below.iter().next().unwrap().to_str().unwrap() {
            "input" => &[Kind::Identifier],
            "output" | "orders" => &[Kind::Pseudonym],
            "secrets" => &[Kind::Secret],
            _ => &[],
        };
        let content = fs::read(&path).unwrap();
        looked_at += content.len();
        canaries.assert_absent(&below.display().to_string(), &content, allowed);
    }
    assert!(looked_at > 100_000, "{looked_at}");
}

/// All persons of a demo in its three sectors and its two epochs, with every value on the way, and
/// all its secrets.
fn canaries_of(kept: &Path) -> Canaries {
    let mut canaries = Canaries::none();
    canaries.secrets_below(&kept.join("secrets"));
    let roots = Roots::of(kept);
    let register =
        cloison::register::parse(&fs::read_to_string(kept.join("register.toml")).unwrap()).unwrap();
    let cards = fs::read_to_string(kept.join("input/cards.txt")).unwrap();
    let seats = [
        ("health", "bech32m", "", "", "sante"),
        ("tax", "bech32m", "dgi", "", "impot"),
        ("social", "uuid", "", "aid", "social"),
    ];
    for (sector, form, controller, purpose, tag) in seats {
        let path: Vec<String> = register
            .sector(sector)
            .unwrap()
            .path
            .iter()
            .map(ToString::to_string)
            .collect();
        let place = |epoch| Place {
            path: path.clone(),
            tag,
            form,
            epoch,
            controller,
            purpose,
        };
        let answers = fs::read_to_string(kept.join(format!("output/{sector}.txt"))).unwrap();
        assert_eq!(cards.lines().count(), answers.lines().count());
        for (card, answer) in cards.lines().zip(answers.lines()) {
            assert_eq!(
                canaries.person(&roots, "cnie", card, &place(1)),
                answer,
                "these are the right canaries"
            );
        }
        if sector == "health" {
            let card = fs::read_to_string(kept.join("input/one.txt")).unwrap();
            let renewed = fs::read_to_string(kept.join("output/renewed.txt")).unwrap();
            assert_eq!(
                canaries.person(&roots, "cnie", card.trim_end(), &place(2)),
                renewed.trim_end()
            );
        }
    }
    canaries
}
