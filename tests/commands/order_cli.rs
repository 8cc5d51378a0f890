//! `cloison order`, as approvers and clerks use it: files in a folder, the real program.
#![expect(unsafe_code, reason = "a terminal")]

mod drafts;
mod signing;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cloison::keys::file::write_signing_key;
use cloison::order::check;
use jiff::Timestamp;
use serde_json::Value;

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
