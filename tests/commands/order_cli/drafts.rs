//! `order new`: what it writes, what it refuses, and every kind of order.

use std::fs;

use jiff::tz::{TimeZone, offset};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::{Desk, judicial};
use crate::fixture::{pseudonym, vector};

#[test]
fn nothing_is_overwritten_and_nothing_forbidden_is_written() {
    let desk = Desk::new();
    let (register_file, p) = (vector("order-register.toml"), pseudonym(1));
    desk.succeeds(&judicial(&register_file, &p, "order.jws"));
    let before = fs::read(desk.path("order.jws")).unwrap();
    desk.fails(1, &judicial(&register_file, &p, "order.jws"));
    assert_eq!(fs::read(desk.path("order.jws")).unwrap(), before);

    let with = |from: &str, to: &[&'static str]| -> Vec<String> {
        let arguments = judicial(&register_file, &p, "bad.jws");
        let at = arguments
            .iter()
            .position(|argument| *argument == from)
            .unwrap();
        let mut arguments: Vec<String> = arguments
            .iter()
            .map(std::string::ToString::to_string)
            .collect();
        arguments.splice(at..=at, to.iter().map(std::string::ToString::to_string));
        arguments
    };
    for (exit, arguments) in [
        (1, with("health", &["bank"])),
        (1, with("health", &["study"])),
        (1, with("driss", &["hind"])),
        (1, with("court", &["ministry"])),
        (1, with("--judicial", &["--judicial", "--hours", "241"])),
        (
            1,
            with(
                "--judicial",
                &["--force-majeure", "internal", "--hours", "73"],
            ),
        ),
        (2, with("RABAT/2026-17", &["Rabat 17"])),
        (
            2,
            with("--judicial", &["--judicial", "--statutory", "art. 1"]),
        ),
        (2, with("--judicial", &[])),
        (2, with("--judicial", &["--judicial", "--limit", "3"])),
        (2, with("health", &["health", "--sector", "tax"])),
        (
            2,
            with(
                "--judicial",
                &["--judicial", "--not-after", "2020-01-01T00:00:00Z"],
            ),
        ),
    ] {
        desk.fails(
            exit,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
    let mut wrong = p.clone();
    wrong.pop();
    let said = desk.fails(1, &judicial(&register_file, &wrong, "bad.jws"));
    assert!(!said.contains("sante1"), "{said}");
    assert_eq!(desk.files(), ["order.jws"]);
}

#[test]
fn order_new_tells_all_faults_at_once_counted_from_1() {
    let desk = Desk::new();
    let register_file = vector("order-register.toml");
    let mut wrong = pseudonym(2);
    wrong.pop();
    fs::write(
        desk.path("list"),
        format!(
            "\u{feff}{}\r\n\r\n{wrong}\r\n{}",
            pseudonym(3),
            pseudonym(1)
        ),
    )
    .unwrap();
    let first = format!("health:{}", pseudonym(1));
    let said = desk.fails(
        2,
        &[
            "new",
            "--register",
            &register_file,
            "--authority",
            "court",
            "--judicial",
            "--hours",
            "9000",
            "--case",
            "Rabat 17",
            "--purpose",
            "Why",
            "--sector",
            "health",
            "--sector",
            "bank",
            "--officer",
            "driss",
            "--officer",
            "No Id",
            "--pseudonym",
            &first,
            "--pseudonym",
            &pseudonym(2),
            "--list",
            "health:list",
            "--out",
            "bad.jws",
        ],
    );
    // With an id that is none there is no order to be judged by the register; all the same
    // everything else is told.
    for fault in [
        "--purpose is not an id",
        "--officer 2 is not an id",
        "--pseudonym 2: does not name one of the order's sectors",
        "list:3: is not a pseudonym of sector health: pseudonym-",
        "list:4: is the same as --pseudonym 1",
    ] {
        assert!(said.contains(fault), "{fault:?} is not in:\n{said}");
    }
    assert!(!said.contains("sante1"), "{said}");

    let said = desk.fails(
        2,
        &[
            "new",
            "--register",
            &register_file,
            "--authority",
            "court",
            "--judicial",
            "--hours",
            "9000",
            "--case",
            "Rabat 17",
            "--purpose",
            "p",
            "--sector",
            "health",
            "--sector",
            "bank",
            "--sector",
            "study",
            "--sector",
            "nowhere",
            "--officer",
            "driss",
            "--officer",
            "hind",
            "--officer",
            "driss",
            "--pseudonym",
            &first,
            "--out",
            "bad.jws",
        ],
    );
    for fault in [
        "`case` is not 1 to 40 of",
        "`officers` is empty or names one twice",
        "`pseudonyms` lists none for sector 2",
        "`pseudonyms` lists none for sector 3",
        "validity: order-rule: the order is valid for longer than",
        "the authority is not competent for sector bank; sector study stores no mapping; the register does not know sector 4",
        "officers: order-rule: officer 2 of the order is none of the authority's",
    ] {
        assert!(said.contains(fault), "{fault:?} is not in:\n{said}");
    }
    assert!(desk.files() == ["list"], "nothing was written");
}

#[test]
fn orders_of_every_kind_can_be_made() {
    let desk = Desk::new();
    fs::write(
        desk.path("list"),
        format!("{}\n\n{}\n", pseudonym(1), pseudonym(2)),
    )
    .unwrap();
    let register_file = vector("order-register.toml");
    let common = [
        "--register",
        &register_file,
        "--authority",
        "court",
        "--case",
        "A-1",
        "--purpose",
        "p",
        "--officer",
        "driss",
        "--officer",
        "elham",
    ];
    let make = |out: &str, more: &[&str]| -> Value {
        desk.succeeds(&[&["new"], &common[..], more, &["--out", out]].concat());
        desk.sign("brahim", out);
        serde_json::from_str(&desk.succeeds(&["show", "--json", out])).unwrap()
    };
    let statutory = make(
        "a",
        &[
            "--statutory",
            "Loi n° 43-05, art. 19",
            "--limit",
            "9",
            "--sector",
            "health",
            "--sector",
            "tax",
        ],
    );
    assert_eq!(statutory["verified"], false);
    assert_eq!(statutory["claimed_signers"], json!(["brahim"]));
    assert_eq!(statutory["payload"]["limit"], 9);
    assert_eq!(
        statutory["payload"]["basis"]["article"],
        "Loi n° 43-05, art. 19"
    );

    let uuid = "0f9c2f5e-5d3a-8b21-9c4d-1f2e3d4c5b6a";
    let tax = format!("tax:{uuid}");
    let two = make(
        "b",
        &[
            "--force-majeure",
            "external",
            "--sector",
            "health",
            "--sector",
            "tax",
            "--list",
            "health:list",
            "--pseudonym",
            &tax,
            "--hours",
            "72",
        ],
    );
    assert_eq!(
        two["payload"]["pseudonyms"],
        json!({"health": [pseudonym(1), pseudonym(2)], "tax": [uuid]})
    );
    assert_eq!(
        two["payload"]["basis"],
        json!({"kind": "force-majeure", "security": "external"})
    );

    // An hour from now, as a watch in Rabat shows it, and a fraction of a second more, which orders
    // do not have.
    let begins = Timestamp::from_second(Timestamp::now().as_second()).unwrap() + 1.hour();
    let in_rabat = begins
        .to_zoned(TimeZone::fixed(offset(1)))
        .strftime("%Y-%m-%dT%H:%M:%S.7%:z")
        .to_string();
    let ends = (begins + 15.hours()).to_string();
    let times = ["--not-before", &in_rabat, "--not-after", &ends];
    let dated = make(
        "c",
        &[
            &[
                "--judicial",
                "--sector",
                "health",
                "--list",
                "list",
                "--id",
                "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d",
            ],
            &times[..],
        ]
        .concat(),
    );
    assert_eq!(
        (
            &dated["payload"]["not_before"],
            &dated["payload"]["not_after"]
        ),
        (&json!(begins), &json!(ends))
    );
    assert_eq!(
        dated["payload"]["id"],
        "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d"
    );
    assert_eq!(dated["payload"]["officers"], json!(["driss", "elham"]));

    let said = desk.succeeds(&["show", "c"]);
    assert!(
        said.contains("Nothing of this is verified") && said.contains("15 hours"),
        "{said}"
    );
}
