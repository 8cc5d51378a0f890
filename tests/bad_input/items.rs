//! Bad identifiers among good ones: each gets its code, and no neighbour is touched.

use serde_json::{Value, json};

use crate::common::{Door, QUORUM, Reply, World, batch_path, request, swap, texts};
use crate::watch::{Left, Watch, items};

/// Every fault that an identifier of scheme `cnie` can have, and its code. None is a part of
/// another.
fn faulty() -> Vec<(String, &'static str)> {
    let long = "QX88".to_owned() + &"8".repeat(130);
    vec![
        ("".to_owned(), "identifier-empty"),
        (" - ".to_owned(), "identifier-empty"),
        (long, "identifier-too-long"),
        (
            "QX8".to_owned() + &"1234567890".repeat(7),
            "identifier-too-long",
        ),
        ("QX88\u{0}0001".to_owned(), "identifier-control-character"),
        ("QX88\u{b}0002".to_owned(), "identifier-control-character"),
        ("QX88\u{1b}[0003".to_owned(), "identifier-control-character"),
        ("QX88\u{7f}0004".to_owned(), "identifier-control-character"),
        ("QX88\u{85}0005".to_owned(), "identifier-control-character"),
        ("880000011".to_owned(), "identifier-pattern"),
        ("QXQ880006".to_owned(), "identifier-pattern"),
        ("QX88000077".to_owned(), "identifier-pattern"),
        ("QX8800_8".to_owned(), "identifier-pattern"),
        ("QX880014; DROP".to_owned(), "identifier-pattern"),
        ("\u{c0}X880009".to_owned(), "identifier-character"),
        ("QX88001\u{661}".to_owned(), "identifier-character"),
        ("QX88018\u{b2}".to_owned(), "identifier-character"),
        ("QX880\u{200d}012".to_owned(), "identifier-character"),
        ("QX88\u{202e}0013".to_owned(), "identifier-character"),
        ("QX880015\u{fffd}".to_owned(), "identifier-character"),
    ]
}

#[test]
fn each_fault_has_its_code_and_spares_its_neighbours() {
    let mut watch = Watch::new(World::new());
    let good = ["QX770001", "QX770002"];
    watch.secrets(good);
    let faulty = faulty();
    // What is secret about these is the part that looks like a card.
    watch.secrets(
        faulty
            .iter()
            .map(|(text, _)| text.trim_matches(|c: char| !c.is_alphanumeric()))
            .filter(|text| text.len() > 5),
    );

    // JSON: a good one first, between and last.
    let mut all: Vec<&str> = vec![good[0]];
    all.extend(faulty.iter().map(|(text, _)| text.as_str()));
    all.push(good[1]);
    let reply = watch.batch("cnss-health", "health", "cnie", Some("billing"), &all);
    let answer = reply.ok();
    check(&answer, &faulty);
    let found = items(&answer);
    let (first, last) = (
        found[0].unwrap().to_owned(),
        found[found.len() - 1].unwrap().to_owned(),
    );
    assert!(found[1..found.len() - 1].iter().all(Option::is_none));
    assert_ne!(first, last);
    let body = reply.text();
    assert!(
        all.iter()
            .filter(|text| text.len() > 5)
            .all(|text| !body.contains(text)),
        "{body}"
    );

    // Text: the same, line by line, and one that is not UTF-8. A line feed cannot be within a line.
    let mut lines: Vec<Vec<u8>> = all.iter().map(|text| text.as_bytes().to_vec()).collect();
    lines.insert(1, b"QX88\xff\xfe0016".to_vec());
    lines.insert(2, b"\xc0\xafQX880017".to_vec());
    let text = lines.join(&b'\n');
    let path = batch_path("health") + "?scheme=cnie&purpose=billing";
    let reply = watch.post("cnss-health", Door::Data, &path, "text/plain", &text);
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    let mut wanted = vec![
        first.clone(),
        "!identifier-not-utf8".to_owned(),
        "!identifier-not-utf8".to_owned(),
    ];
    wanted.extend(faulty.iter().map(|(_, code)| format!("!{code}")));
    wanted.push(last.clone());
    assert_eq!(reply.text().lines().collect::<Vec<_>>(), wanted);
    assert!(reply.text().ends_with('\n'));

    // A batch in which nothing is right is answered, too.
    let answer = watch
        .batch(
            "cnss-health",
            "health",
            "cnie",
            Some("billing"),
            &[&faulty[9].0],
        )
        .ok();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(0), &json!(1))
    );

    let sent = (all.len() * 2 + 2 + 1) as u64;
    watch.secrets([first, last]);
    let world = watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", sent)],
        ..Left::default()
    });
    let counts: Vec<(Value, Value)> = world
        .entries(crate::common::Side::Vault)
        .into_iter()
        .filter(|entry| entry["event"] == "tokenize")
        .map(|entry| (entry["accepted"].clone(), entry["rejected"].clone()))
        .collect();
    let bad = faulty.len();
    assert_eq!(
        counts,
        [
            (json!(2), json!(bad)),
            (json!(2), json!(bad + 2)),
            (json!(0), json!(1))
        ]
    );
}

fn check(answer: &Value, faulty: &[(String, &str)]) {
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(faulty.len()))
    );
    let wanted: Vec<Value> = faulty
        .iter()
        .enumerate()
        .map(|(at, (_, code))| json!({"index": at + 1, "code": code}))
        .collect();
    assert_eq!(answer["errors"], Value::from(wanted));
}

#[test]
fn what_is_no_string_is_an_items_error_and_not_the_requests() {
    let mut watch = Watch::new(World::new());
    let good = watch.health_pseudonyms(&["QX440001", "QX440002"]);
    watch.secrets(["QX440001", "QX440002", "4400017"]);
    watch.secrets(&good);
    let others = [
        "null",
        "4400017",
        "-1",
        "1.5e3",
        "true",
        r#"["QX440001"]"#,
        r#"{"QX440001":["QX440002",null]}"#,
        "[]",
    ];
    let identifiers = format!(r#""QX440001",{},"QX\u0034\u00340002""#, others.join(","));
    let body = format!(r#"{{"scheme":"cnie","identifiers":[{identifiers}],"purpose":"billing"}}"#);
    let reply = watch.post(
        "cnss-health",
        Door::Data,
        &batch_path("health"),
        "application/json",
        body.as_bytes(),
    );
    let answer = reply.ok();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(others.len()))
    );
    let found = items(&answer);
    assert_eq!(
        (found[0], found[others.len() + 1]),
        (Some(good[0].as_str()), Some(good[1].as_str()))
    );
    assert!(found[1..=others.len()].iter().all(Option::is_none));
    let wanted: Vec<Value> = (1..=others.len())
        .map(|at| json!({"index": at, "code": "identifier-not-text"}))
        .collect();
    assert_eq!(answer["errors"], Value::from(wanted));
    // As many as one likes to send, and one more, cost no more than strings do.
    let most = cloison::tokenize::MAX_ITEMS;
    let body = format!(
        r#"{{"scheme":"cnie","identifiers":[{}null],"purpose":"billing"}}"#,
        "null,".repeat(most)
    );
    watch.refuse_json("cnss-health", "health", body.as_bytes(), 413, "too-large");
    watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", 2 + 2 + others.len() as u64)],
        ..Left::default()
    });
}

#[test]
fn check_digits_are_checked() {
    // The demo's schemes have none, so there is one for each algorithm.
    const CHECKS: [&str; 4] = ["luhn", "verhoeff", "damm", "iso7064-11-10"];
    let world = World::on(|mut text| {
        let schemes = "schemes = [\"cnie\", \"idcs\", \"passport\"]";
        text = swap(
            &text,
            schemes,
            &schemes.replace(
                ']',
                ", \"luhn\", \"verhoeff\", \"damm\", \"iso7064-11-10\"]",
            ),
        );
        for check in CHECKS {
            text += &format!(
                "\n[[scheme]]\nid = {check:?}\npattern = \"[0-9]{{10}}\"\nseparators = \"\"\ncheck = {check:?}\n"
            );
        }
        text
    });
    let mut watch = Watch::new(world);
    // Of ten last digits one is right; which, the vectors of each algorithm prove elsewhere.
    let digits: Vec<String> = (0..10).map(|digit| format!("712345098{digit}")).collect();
    watch.secrets(&digits);
    let all: Vec<&str> = digits.iter().map(String::as_str).collect();
    for check in CHECKS {
        let answer = watch.batch("cnss-health", "health", check, None, &all).ok();
        assert_eq!(
            (&answer["accepted"], &answer["rejected"]),
            (&json!(1), &json!(9)),
            "{check}"
        );
        assert!(
            answer["errors"]
                .as_array()
                .unwrap()
                .iter()
                .all(|error| error["code"] == "identifier-check-digit")
        );
        watch.secrets(items(&answer).into_iter().flatten());
    }
    watch.finish(Left {
        mappings: 4,
        quota: &[("cnss", 40)],
        ..Left::default()
    });
}

#[test]
fn one_person_one_pseudonym_however_it_is_written() {
    let mut watch = Watch::new(World::new());
    let spellings = [
        "QX660001",
        "qx660001",
        " QX 660-001 ",
        "QX660001\t",
        "\u{ff31}\u{ff38}\u{ff16}\u{ff16}\u{ff10}\u{ff10}\u{ff10}\u{ff11}",
        "QX\u{202f}660\u{a0}001\u{3000}",
    ];
    watch.secrets([
        "QX660001",
        "QX 660-001",
        spellings[4],
        "QX\u{202f}660\u{a0}001",
    ]);
    let found = watch.health_pseudonyms(&spellings);
    assert_eq!(found.len(), spellings.len());
    assert!(
        found.iter().all(|pseudonym| *pseudonym == found[0]),
        "one card, one pseudonym"
    );
    // The same digits in another scheme are somebody else.
    let other = watch.tokenize("cnss-health", "health", "idcs", None, &["6600016600"]);
    let cards = watch.tokenize(
        "cnss-health",
        "health",
        "cnie",
        None,
        &["Q0660001", "QX660001"],
    );
    assert_eq!(
        cards[1], found[0],
        "the purpose makes no difference where the sector does not separate purposes"
    );
    assert!(cards[0] != found[0] && other[0] != found[0] && other[0] != cards[0]);
    watch.secrets(["6600016600", "Q0660001"]);
    watch.secrets([&found[0], &other[0], &cards[0]]);
    let left = Left {
        mappings: 3,
        quota: &[("cnss", spellings.len() as u64 + 3)],
        ..Left::default()
    };
    watch.finish(left);
}

/// Also on the way back: what is sealed and shown to the officer is the number as its bearer has
/// it.
#[test]
fn a_scheme_that_keeps_case_has_two_persons_where_another_has_one() {
    let world = World::on(|text| {
        let schemes = "schemes = [\"cnie\", \"idcs\", \"passport\"]";
        let text = swap(&text, schemes, &schemes.replace(']', ", \"record\"]"));
        text + "\n[[scheme]]\nid = \"record\"\npattern = \"[A-Za-z]{2}[0-9]{6}\"\nseparators = \"/\"\ncase = \"keep\"\n"
    });
    let mut watch = Watch::new(world);
    let records = ["Qx/440001", "qx440001", "Qx440001"];
    watch.secrets(records);
    let found = watch.tokenize("cnss-health", "health", "record", None, &records);
    assert!(
        found[0] == found[2] && found[0] != found[1],
        "one person for each way of writing the letters"
    );
    watch.secrets(&found);
    let asked = &found[..2];
    let order = watch.sign(&watch.order("health", asked), QUORUM);
    let answer = watch.reidentify(&order, "health", asked).ok();
    let values: Vec<&Value> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["value"])
        .collect();
    assert_eq!(values, ["Qx440001", "qx440001"]);
    watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", 3)],
        ..Left::default()
    });
}

#[test]
fn text_in_text_out() {
    let mut watch = Watch::new(World::new());
    let path = batch_path("health") + "?scheme=cnie&purpose=billing";
    let ask = |watch: &Watch, path: &str, body: &str| -> Reply {
        watch.post(
            "cnss-health",
            Door::Data,
            path,
            "text/plain; charset=utf-8",
            body.as_bytes(),
        )
    };
    let json = watch.health_pseudonyms(&["QX550001", "QX550002"]);
    watch.secrets(["QX550001", "QX550002"]);
    watch.secrets(&json);
    let both = format!("{}\n{}\n", json[0], json[1]);
    // With and without an end of the last line, with the line ends and the byte order mark of
    // Windows, and the epoch named.
    for body in [
        "QX550001\nQX550002",
        "QX550001\nQX550002\n",
        "QX550001\r\nQX550002\r\n",
        "\u{feff}QX550001\r\n\u{a0}QX550002 \r\n",
    ] {
        assert_eq!(ask(&watch, &path, body).text(), both);
    }
    assert_eq!(
        ask(
            &watch,
            &(path.clone() + "&epoch=1&previous=false"),
            "QX550001\nQX550002"
        )
        .text(),
        both
    );
    let hole = ask(&watch, &path, "QX550001\n\nQX550002\n\n");
    assert_eq!(
        hole.text(),
        format!(
            "{}\n!identifier-empty\n{}\n!identifier-empty\n",
            json[0], json[1]
        )
    );
    // A connection that stays open answers one after the other.
    let mut stream = watch.connect(Some("cnss-health"), Door::Data);
    for _ in 0..3 {
        let bytes = request(
            "POST",
            &path,
            &[("content-type", "text/plain")],
            b"QX550002",
        );
        let open = String::from_utf8(bytes)
            .unwrap()
            .replace("connection: close\r\n", "");
        stream.write(open.as_bytes()).unwrap();
        assert_eq!(stream.read_one().unwrap().text(), format!("{}\n", json[1]));
    }
    drop(stream);
    // On the command line, faults included.
    let output = watch.cloison_with(
        &[
            "client",
            "tokenize",
            "--client",
            "clients/cnss-health.toml",
            "--sector",
            "health",
            "--scheme",
            "cnie",
        ],
        b"QX550002\nQX5500031111\nQX550001\n",
    );
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}\n!identifier-pattern\n{}\n", json[1], json[0])
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !said.contains("QX55") && said.contains("1 of 3 lines were rejected"),
        "{said}"
    );
    watch.secret("QX5500031111");
    watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", 2 + 4 * 2 + 2 + 4 + 3 + 3)],
        ..Left::default()
    });
}

#[test]
fn the_example_of_the_design() {
    let world = World::new();
    let body =
        json!({"scheme": "cnie", "identifiers": ["AB123456", "be9876"], "purpose": "billing"});
    let answer = world
        .post_json("cnss-health", Door::Data, &batch_path("health"), &body)
        .ok();
    let pseudonyms = texts(&answer["pseudonyms"]);
    // Epoch 1 is the character `p` in bech32.
    assert!(
        pseudonyms
            .iter()
            .all(|pseudonym| pseudonym.starts_with("sante1p"))
    );
    let wanted = json!({"sector": "health", "domain": {"epoch": 1}, "accepted": 2, "rejected": 0,
        "pseudonyms": pseudonyms, "errors": []});
    assert_eq!(answer, wanted);
}
