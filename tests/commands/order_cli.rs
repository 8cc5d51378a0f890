//! `cloison order`, as approvers and clerks use it: files in a folder, the real program.
#![expect(unsafe_code, reason = "a terminal")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cloison::keys::file::write_signing_key;
use cloison::order::OrderPayload;
use cloison::order::check;
use cloison::statement::Statement as _;
use jiff::tz::{TimeZone, offset};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::fixture::{id, key, payload, pseudonym, register, signed, vector};

/// A folder with the keys of some people.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for person in ["amina", "brahim", "chadia"] {
            write_signing_key(&folder.path().join(format!("{person}.pem")), &key(person)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cloison"))
            .current_dir(self.0.path())
            .env_remove("CLOISON_APPROVER_KEY")
            .arg("order")
            .args(arguments)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code, and says what it said on standard error.
    #[track_caller]
    fn fails(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("hint") || exit == 2, "{said}");
        said
    }

    /// Runs a command at a terminal, with this answer to what it asks: its exit code, and all that
    /// the terminal showed.
    fn at_terminal(&self, arguments: &[&str], answer: &str) -> (Option<i32>, String) {
        let (mut person, terminal) = terminal();
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .current_dir(self.0.path())
            .arg("order")
            .args(arguments);
        let mut child = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        // Only the child may hold the terminal now: it is read until nobody does.
        drop((command, terminal));
        writeln!(person, "{answer}").unwrap();
        let mut said = vec![];
        let _ = person.read_to_end(&mut said);
        (
            child.wait().unwrap().code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".pem"))
            .collect();
        names.sort();
        names
    }

    fn sign(&self, person: &str, order: &str) -> String {
        self.succeeds(&[
            "sign",
            "--key",
            &format!("{person}.pem"),
            "--kid",
            person,
            order,
        ])
    }
}

/// A pseudo-terminal: the person's side, and the program's.
fn terminal() -> (File, File) {
    let (mut person, mut program) = (0, 0);
    let (name, settings, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: both are places for a descriptor, and the other three may be null.
    assert_eq!(
        unsafe { libc::openpty(&mut person, &mut program, name, settings, size) },
        0
    );
    // SAFETY: both were just opened, and nobody else owns them.
    unsafe {
        libc::fcntl(person, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(program, libc::F_SETFD, libc::FD_CLOEXEC);
        (File::from_raw_fd(person), File::from_raw_fd(program))
    }
}

/// The arguments of a judicial order under the vectors' register, valid now.
fn judicial<'a>(register: &'a str, pseudonym: &'a str, out: &'a str) -> Vec<&'a str> {
    vec![
        "new",
        "--register",
        register,
        "--authority",
        "court",
        "--judicial",
        "--case",
        "RABAT/2026-17",
        "--purpose",
        "investigation",
        "--sector",
        "health",
        "--pseudonym",
        pseudonym,
        "--officer",
        "driss",
        "--out",
        out,
    ]
}

#[test]
fn an_order_is_made_signed_by_two_and_found_valid() {
    let desk = Desk::new();
    let (register_file, p) = (vector("order-register.toml"), pseudonym(1));
    desk.succeeds(&judicial(&register_file, &p, "order.jws"));
    assert_eq!(
        fs::metadata(desk.path("order.jws"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );

    let said = desk.fails(1, &["check", "order.jws", "--register", &register_file]);
    assert!(said.contains("order sign"), "{said}");

    fs::set_permissions(desk.path("order.jws"), fs::Permissions::from_mode(0o640)).unwrap();
    let seen = desk.sign("amina", "order.jws");
    assert!(
        seen.contains(&p) && seen.contains("RABAT/2026-17") && seen.contains("driss"),
        "not shown: {seen}"
    );
    desk.fails(1, &["check", "order.jws", "--register", &register_file]);
    desk.succeeds(&[
        "sign",
        "--key",
        "chadia.pem",
        "--kid",
        "chadia",
        "--register",
        &register_file,
        "order.jws",
    ]);
    assert_eq!(
        fs::metadata(desk.path("order.jws"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o640
    );
    assert_eq!(desk.files(), ["order.jws"], "signing left something behind");

    let said = desk.succeeds(&["check", "order.jws", "--register", &register_file]);
    assert!(said.contains("is valid"), "{said}");
    let text = fs::read_to_string(desk.path("order.jws")).unwrap();
    let order = check(&text, &register(), Timestamp::now()).unwrap();
    assert!(order.allows("health", &p));
    assert_eq!(order.signers(), [id("amina"), id("chadia")]);
}

#[test]
fn check_reports_every_step_and_its_json_says_the_same() {
    let desk = Desk::new();
    let register_file = vector("order-register.toml");
    let bad = cloison::order::OrderPayload {
        officers: vec![id("hind")],
        ..payload()
    };
    fs::write(desk.path("order.jws"), signed(&bad, &["amina"])).unwrap();
    let arguments = [
        "check",
        "order.jws",
        "--register",
        &register_file,
        "--at",
        "2026-11-30T00:00:00Z",
        "--json",
    ];
    let output = desk.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["valid"], false);
    let of = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let line = checks.iter().find(|line| line["name"] == name).expect(name);
        (
            line["result"].as_str().unwrap().to_owned(),
            line["code"].as_str().unwrap_or("").to_owned(),
        )
    };
    let result = |result: &str, code: &str| (result.to_owned(), code.to_owned());
    assert_eq!(of("form"), result("passed", ""));
    assert_eq!(of("signatures"), result("passed", ""));
    assert_eq!(of("quorum"), result("refused", "order-quorum"));
    assert_eq!(of("officers"), result("refused", "order-rule"));
    assert_eq!(of("time"), result("refused", "order-expired"));
    assert_eq!(of("pseudonyms"), result("passed", ""));

    fs::write(desk.path("order.jws"), "no order").unwrap();
    let output = desk.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["checks"][0]["code"], "order-malformed");
    assert_eq!(report["checks"][1]["result"], "not-reached");
}

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
fn what_is_no_order_is_said_in_a_line() {
    let desk = Desk::new();
    fs::write(desk.path("order.jws"), "{}").unwrap();
    for arguments in [
        &["show", "order.jws"][..],
        &["show", "absent.jws"],
        &["sign", "--key", "amina.pem", "--kid", "amina", "order.jws"],
        &["check", "order.jws", "--register", "absent.toml"],
        &["check", "order.jws", "--register", "order.jws"],
    ] {
        let said = desk.fails(1, arguments);
        assert!(
            said.contains("order.jws") || said.contains("absent."),
            "{said}"
        );
    }
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
