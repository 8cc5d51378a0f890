//! `order sign`: who may sign, and what a person is shown before and after.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use cloison::order::OrderPayload;
use cloison::statement::Statement as _;

use super::{Desk, judicial};
use crate::fixture::{key, payload, pseudonym, signed, vector};

#[test]
fn who_signs_must_be_who_he_says_and_signs_once() {
    let desk = Desk::new();
    let register_file = vector("order-register.toml");
    desk.succeeds(&judicial(&register_file, &pseudonym(1), "order.jws"));
    desk.sign("amina", "order.jws");
    let text = fs::read_to_string(desk.path("order.jws")).unwrap();
    for (key, kid, more, reason) in [
        ("amina.pem", "amina", &[][..], "two signatures by one"),
        ("amina.pem", "Amina", &[], "`kid` is not"),
        ("absent.pem", "brahim", &[], "absent.pem"),
        (
            "amina.pem",
            "chadia",
            &["--register", &register_file],
            "not the approver's",
        ),
        (
            "amina.pem",
            "driss",
            &["--register", &register_file],
            "no such approver",
        ),
        (
            "amina.pem",
            "fatima",
            &["--register", &register_file],
            "no such approver",
        ),
    ] {
        let said = desk.fails(
            1,
            &[&["sign", "order.jws", "--key", key, "--kid", kid], more].concat(),
        );
        assert!(said.contains(reason), "{reason}: {said}");
    }
    // A key that others could have read is not used.
    fs::set_permissions(desk.path("brahim.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = desk.fails(
        1,
        &[
            "sign",
            "--key",
            "brahim.pem",
            "--kid",
            "brahim",
            "order.jws",
        ],
    );
    assert!(said.contains("0600"), "{said}");
    assert_eq!(fs::read_to_string(desk.path("order.jws")).unwrap(), text);
    assert_eq!(desk.files(), ["order.jws"]);
    // Nor is anything added to an order that somebody has forged a signature on.
    let forged =
        cloison::jws::add_signature(&text, OrderPayload::TYP, "brahim", &key("chadia")).unwrap();
    fs::write(desk.path("order.jws"), &forged).unwrap();
    let arguments = [
        "sign",
        "--key",
        "chadia.pem",
        "--kid",
        "chadia",
        "--register",
        &register_file,
        "order.jws",
    ];
    let said = desk.fails(1, &arguments);
    assert!(said.contains("order-signature"), "{said}");
    assert_eq!(fs::read_to_string(desk.path("order.jws")).unwrap(), forged);
}

#[test]
fn at_a_terminal_an_order_is_shown_before_it_is_signed_and_signed_on_yes_alone() {
    let desk = Desk::new();
    let (register_file, p) = (vector("order-register.toml"), pseudonym(1));
    desk.succeeds(&judicial(&register_file, &p, "order.jws"));
    let before = fs::read_to_string(desk.path("order.jws")).unwrap();
    let sign = [
        "sign",
        "--key",
        "amina.pem",
        "--kid",
        "amina",
        "--register",
        &register_file,
        "order.jws",
    ];
    for answer in ["no", "", "y"] {
        let (code, said) = desk.at_terminal(&sign, answer);
        assert!(
            code == Some(1) && said.contains("nothing was done"),
            "{code:?}: {said}"
        );
        assert_eq!(
            fs::read_to_string(desk.path("order.jws")).unwrap(),
            before,
            "{answer:?}"
        );
    }
    let (code, said) = desk.at_terminal(&sign, "yes");
    assert_eq!(code, Some(0), "{said}");
    // What, then the question, then what came of it.
    let places: Vec<_> = [
        "RABAT/2026-17",
        p.as_str(),
        "driss",
        "Sign this?",
        "Signed by amina",
        "Still missing",
    ]
    .iter()
    .map(|words| {
        said.find(words)
            .unwrap_or_else(|| panic!("{words:?} is not in: {said}"))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?}: {said}");
    assert_ne!(fs::read_to_string(desk.path("order.jws")).unwrap(), before);
    // For scripts: no question with --yes, and none where there is no terminal.
    let brahim = [
        "sign",
        "--yes",
        "--key",
        "brahim.pem",
        "--kid",
        "brahim",
        "order.jws",
    ];
    let (code, said) = desk.at_terminal(&brahim, "no");
    assert!(
        code == Some(0) && !said.contains("Sign this?"),
        "{code:?}: {said}"
    );
    desk.sign("chadia", "order.jws");
}

#[test]
fn after_signing_it_is_said_which_signatures_are_missing() {
    let desk = Desk::new();
    let register_file = vector("order-register.toml");
    desk.succeeds(&judicial(&register_file, &pseudonym(1), "order.jws"));
    let sign = |person: &str| {
        let key = format!("{person}.pem");
        desk.succeeds(&[
            "sign",
            "--key",
            &key,
            "--kid",
            person,
            "--register",
            &register_file,
            "order.jws",
        ])
    };
    let said = sign("amina");
    assert!(
        said.contains("Still missing: 1 of 2 signatures") && said.contains("chadia"),
        "{said}"
    );
    assert!(
        !said[said.find("Still missing").unwrap()..].contains("amina"),
        "{said}"
    );
    let said = sign("chadia");
    assert!(said.contains("No signature is missing"), "{said}");
}

#[test]
fn a_long_list_is_shown_by_its_beginning_and_its_length() {
    let desk = Desk::new();
    let list: Vec<_> = (1..=12).map(pseudonym).collect();
    fs::write(desk.path("long"), list.join("\n")).unwrap();
    let register_file = vector("order-register.toml");
    let mut new = judicial(&register_file, &list[0], "order.jws");
    new.extend(["--list", "long"]);
    let new: Vec<_> = new
        .into_iter()
        .filter(|word| *word != "--pseudonym" && *word != list[0])
        .collect();
    desk.succeeds(&new);
    let said = desk.sign("amina", "order.jws");
    assert!(
        said.contains("these 12 and no other") && said.contains("7 more"),
        "{said}"
    );
    assert!(
        list[..5].iter().all(|p| said.contains(p)) && list[5..].iter().all(|p| !said.contains(p)),
        "{said}"
    );
    let shown = desk.succeeds(&["show", "order.jws"]);
    assert!(list.iter().all(|p| shown.contains(p)), "{shown}");
}

/// The shell has a client file in `CLOISON_CLIENT`: what is written to a file goes nowhere by
/// itself.
#[test]
fn what_is_signed_into_a_file_is_not_brought_by_the_environment() {
    let desk = Desk::new();
    fs::write(desk.path("order.jws"), signed(&payload(), &["amina"])).unwrap();
    let register = vector("order-register.toml");
    let by = ["--key", "amina.pem", "--kid", "amina"];
    let run = |command: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_cloison"))
            .current_dir(desk.path(""))
            .env("CLOISON_CLIENT", "there-is-none.toml")
            .args([command, &by[..]].concat())
            .output()
            .unwrap()
    };
    let suspend = ["order", "suspend", "order.jws", "--reason", "doubt"];
    let lift = [
        "client",
        "suspend",
        "driss",
        "--lift",
        "--reason",
        "precaution",
    ];
    let lift = [&lift[..], &["--register", &register]].concat();
    for (command, file) in [(&suspend[..], "act.jws"), (&lift[..], "lift.jws")] {
        let written = run(&[command, &["--out", file]].concat());
        let said = String::from_utf8_lossy(&written.stderr);
        assert!(written.status.success(), "{command:?}: {said}");
        assert!(desk.path(file).exists());
        let brought = run(&[command, &["--yes"]].concat());
        let said = String::from_utf8_lossy(&brought.stderr);
        assert!(said.contains("there-is-none.toml"), "{command:?}: {said}");
    }
    // Without a terminal and without --yes the first words say what became of it.
    let refused = run(&lift);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.starts_with("error: nothing was done"), "{said}");
}
