//! `keys-example/` as it lies in the repository: refused, unless somebody insists; then it works.

use cloison::order::OrderPayload;
use cloison::statement::Statement as _;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PORTS: [u16; 5] = [7443, 7444, 7445, 7543, 7545];

/// A copy with the modes that git does not keep, on ports that are free.
struct Copy {
    dir: tempfile::TempDir,
    ports: [u16; 5],
    processes: Vec<Child>,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("keys-example"),
            dir.path(),
        );
        let listeners = PORTS.map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let mut files = vec![dir.path().join("vault.toml"), dir.path().join("node.toml")];
        files.extend(
            dir.path()
                .join("clients")
                .read_dir()
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
        for file in files {
            let mut text = fs::read_to_string(&file).unwrap();
            for (from, to) in PORTS.iter().zip(ports) {
                text = text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"));
            }
            fs::write(file, text).unwrap();
        }
        Self {
            dir,
            ports,
            processes: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> String {
        self.dir.path().join(path).to_str().unwrap().to_owned()
    }

    /// Starts a server and waits until it is ready.
    fn start(&mut self, arguments: &[&str], health: u16) {
        let log = PathBuf::from(self.path(&format!("{health}.log")));
        let output = File::create(&log).unwrap();
        let mut command = program(arguments);
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output);
        self.processes.push(command.spawn().unwrap());
        let started = Instant::now();
        while !ready(health) {
            let ended = self.processes.last_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < Duration::from_secs(60),
                "{}",
                fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn ready(health: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, health))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
    command.args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn both_programs_refuse_the_published_keys() {
    let copy = Copy::new();
    for arguments in [
        &["serve", "--config", &copy.path("vault.toml")][..],
        &["authority", "serve", "--config", &copy.path("node.toml")],
    ] {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("example"), "{}", said(&output));
        assert!(
            said(&output).contains("cloison init"),
            "the way out: {}",
            said(&output)
        );
    }
}

#[test]
fn one_published_key_among_fresh_ones_is_enough_to_be_refused() {
    let example = Copy::new();
    let place = tempfile::tempdir().unwrap();
    for (n, file) in [
        "secrets/vault/identity.secret",
        "secrets/vault/audit.secret",
        "secrets/vault/segment.pem",
        "secrets/vault/sector/1.secret",
        "secrets/vault/store/1.secret",
        "secrets/vault/journal/1.secret",
    ]
    .into_iter()
    .enumerate()
    {
        let dir = place.path().join(n.to_string());
        assert!(
            program(&["init", dir.to_str().unwrap()])
                .output()
                .unwrap()
                .status
                .success()
        );
        fs::copy(example.path(file), dir.join(file)).unwrap();
        let output = program(&[
            "serve",
            "--config",
            dir.join("vault.toml").to_str().unwrap(),
        ])
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {}", said(&output));
        assert!(
            said(&output).contains("example"),
            "{file}: {}",
            said(&output)
        );
    }
}

#[test]
fn secrets_as_git_checks_them_out_are_refused_by_their_mode() {
    let copy = Copy::new();
    fs::set_permissions(
        copy.path("secrets/vault/identity.secret"),
        Permissions::from_mode(0o644),
    )
    .unwrap();
    let output = program(&[
        "serve",
        "--config",
        &copy.path("vault.toml"),
        "--allow-example-keys",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("0600"), "{}", said(&output));
}

#[test]
fn who_insists_gets_a_working_deployment_and_the_order_names_the_right_person() {
    let mut copy = Copy::new();
    let (vault, node) = (copy.path("vault.toml"), copy.path("node.toml"));
    let [.., vault_health, _, node_health] = copy.ports;
    copy.start(
        &["serve", "--config", &vault, "--allow-example-keys"],
        vault_health,
    );
    copy.start(
        &[
            "authority",
            "serve",
            "--config",
            &node,
            "--allow-example-keys",
        ],
        node_health,
    );
    let pseudonym = pseudonym_of_the_card(&copy);

    // `init` derived it without a vault when it wrote the order; both must agree.
    let text = fs::read_to_string(copy.path("orders/example.jws")).unwrap();
    let payload = cloison::jws::parse(&text, OrderPayload::TYP)
        .unwrap()
        .payload()
        .to_vec();
    let payload = cloison::order::OrderPayload::read(&payload).unwrap();
    assert_eq!(
        serde_json::to_value(&payload).unwrap()["pseudonyms"]["health"],
        serde_json::json!([pseudonym])
    );

    // The published order opens while it lasts; once it has expired, it is refused as such.
    let opened = format!("{pseudonym}\tcnie\tAB123456\n");
    let published = reidentify(&copy, "orders/example.jws", &pseudonym);
    if jiff::Timestamp::now() < payload.not_after {
        assert_eq!(
            String::from_utf8_lossy(&published.stdout),
            opened,
            "{}",
            said(&published)
        );
    } else {
        assert!(
            said(&published).contains("order-expired"),
            "{}",
            said(&published)
        );
    }

    // One of today opens on any day.
    sign_an_order(&copy, "orders/today.jws", &pseudonym);
    let output = reidentify(&copy, "orders/today.jws", &pseudonym);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        opened,
        "{}",
        said(&output)
    );
}

fn pseudonym_of_the_card(copy: &Copy) -> String {
    let client = copy.path("clients/cnss-health.toml");
    let mut child = program(&[
        "client",
        "tokenize",
        "--sector",
        "health",
        "--scheme",
        "cnie",
        "--purpose",
        "billing",
    ])
    .args(["--client", &client])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"AB123456\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn reidentify(copy: &Copy, order: &str, pseudonym: &str) -> Output {
    program(&["reidentify", "--order", &copy.path(order), pseudonym])
        .args([
            "--key",
            &copy.path("secrets/people/officer.pem"),
            "--client",
            &copy.path("clients/officer.toml"),
        ])
        .output()
        .unwrap()
}

/// An order for that pseudonym, valid from now on, signed by two approvers of two bodies.
fn sign_an_order(copy: &Copy, order: &str, pseudonym: &str) {
    let (register, order) = (copy.path("register.toml"), copy.path(order));
    let done = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    let mut new = program(&[
        "order",
        "new",
        "--register",
        &register,
        "--judicial",
        "--case",
        "RABAT/2026/43",
    ]);
    new.args([
        "--purpose",
        "investigation",
        "--sector",
        "health",
        "--pseudonym",
        pseudonym,
    ]);
    new.args(["--officer", "officer", "--out", &order]);
    done(new);
    for approver in ["judge-1", "prosecutor-1"] {
        let key = copy.path(&format!("secrets/people/{approver}.pem"));
        done(program(&[
            "order",
            "sign",
            "--register",
            &register,
            "--kid",
            approver,
            "--key",
            &key,
            &order,
        ]));
    }
}

/// Each says so itself: those of clients until the day that the page beside them names, those of
/// servers at least as long.
#[test]
fn the_published_certificates_are_good_until_the_day_that_their_page_names() {
    use cloison::http::tls::{Validity, read_certificates};
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys-example");
    let page = fs::read_to_string(dir.join("README.md")).unwrap();
    let (_, rest) = page.split_once("certificates are good until ").unwrap();
    let end = format!("{}T00:00:00Z", &rest[..10])
        .parse::<jiff::Timestamp>()
        .unwrap();
    for file in dir.join("tls").read_dir().unwrap() {
        let path = file.unwrap().path();
        let [certificate] = &read_certificates(&path).unwrap()[..] else {
            panic!("{}: not one certificate", path.display())
        };
        let until = Validity::of(certificate).unwrap().until;
        if path.ends_with("vault.pem") || path.ends_with("node.pem") {
            assert!(until >= end, "{}", path.display());
        } else {
            assert_eq!(until, end, "{}", path.display());
        }
    }
}
