//! What `cloison init` says about who must hold which files is true: each holder gets a folder with
//! their row and nothing else, the deployment's own folder is deleted, and everyone does their
//! work.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::process::{Process, free_ports, get};

/// The holders' folders.
struct Holders {
    place: tempfile::TempDir,
    ports: [u16; 8],
}

impl Holders {
    /// Makes a deployment and divides it by the rows that `init` prints.
    fn divided(more: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let made = Self {
            place,
            ports: free_ports(),
        };
        let all = made.folder("all");
        let printed = cloison(
            made.place.path(),
            &[&["init", "all", "--json"], more].concat(),
        );
        let printed: Value = serde_json::from_str(&printed).unwrap();
        made.choose_ports(&all);
        for row in printed["holders"].as_array().unwrap() {
            let own = made.folder(row["holder"].as_str().unwrap());
            for file in row["files"].as_array().unwrap() {
                copy(&all, &own, file.as_str().unwrap());
            }
        }
        fs::remove_dir_all(all).unwrap();
        made
    }

    fn folder(&self, holder: &str) -> PathBuf {
        self.place.path().join(holder)
    }

    /// The ports that `init` chooses may be taken on this machine.
    fn choose_ports(&self, all: &Path) {
        let of_init = [7443, 7444, 7445, 7543, 7545, 7644, 7645];
        let clients = all.join("clients").read_dir().unwrap();
        let files = ["vault.toml", "node.toml", "witness.toml"].map(|name| all.join(name));
        for file in clients.map(|entry| entry.unwrap().path()).chain(files) {
            let mut text = fs::read_to_string(&file).unwrap();
            for (port, ours) in of_init.iter().zip(self.ports) {
                text = text.replace(&format!(":{port}\""), &format!(":{ours}\""));
            }
            fs::write(file, text).unwrap();
        }
    }

    /// Starts one of the three programs in its holder's folder.
    fn start(&self, holder: &str, arguments: &[&str], health: usize) -> Process {
        let own = self.folder(holder);
        let config = format!("{holder}.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(arguments)
            .args(["serve", "--config", &config])
            .current_dir(&own);
        let health = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[health]));
        Process::start(command, &own.join("log"), health).unwrap()
    }

    fn log(&self, holder: &str) -> String {
        fs::read_to_string(self.folder(holder).join("log")).unwrap()
    }

    /// Runs a command as a holder, in their folder.
    fn run(&self, holder: &str, line: &str) -> String {
        cloison(&self.folder(holder), &line.split(' ').collect::<Vec<_>>())
    }

    fn try_run(&self, holder: &str, line: &str) -> Result<String, String> {
        try_cloison(&self.folder(holder), &line.split(' ').collect::<Vec<_>>())
    }

    /// Hands a file of one holder to another.
    fn hand(&self, file: &str, from: &str, to: &str) {
        fs::copy(self.folder(from).join(file), self.folder(to).join(file)).unwrap();
    }
}

#[track_caller]
fn cloison(folder: &Path, arguments: &[&str]) -> String {
    try_cloison(folder, arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn try_cloison(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLOISON_CLIENT")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stdout) + &text(output.stderr))
    }
}

/// Copies a file, or a folder, whose name ends with `/`.
fn copy(from: &Path, to: &Path, path: &str) {
    let (source, target) = (from.join(path), to.join(path));
    if path.ends_with('/') {
        fs::create_dir_all(&target).unwrap();
        for entry in source.read_dir().unwrap() {
            let entry = entry.unwrap();
            let end = if entry.file_type().unwrap().is_dir() {
                "/"
            } else {
                ""
            };
            let name = format!("{path}{}{end}", entry.file_name().to_str().unwrap());
            copy(from, to, &name);
        }
        return;
    }
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(source, target).unwrap();
}

#[test]
fn everyone_does_their_work_with_the_files_of_their_row_and_nothing_else() {
    let holders = Holders::divided(&[]);
    let witness = holders.start("witness", &["witness"], 6);
    let vault = holders.start("vault", &[], 2);
    let node = holders.start("node", &["authority"], 4);

    // A sector system.
    fs::write(holders.folder("cnss-health").join("cards"), "AB123456\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args("client tokenize --sector health --scheme cnie --purpose billing".split(' '))
        .args(["--client", "clients/cnss-health.toml"])
        .current_dir(holders.folder("cnss-health"))
        .stdin(fs::File::open(holders.folder("cnss-health").join("cards")).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let pseudonym = said.trim();
    assert!(pseudonym.starts_with("sante1"), "{said}");

    // Approvers, and the officer.
    let scope = format!(
        "order new --register register.toml --judicial --case R/1 --purpose investigation --sector health \
         --pseudonym {pseudonym} --officer officer --out 1.jws"
    );
    holders.run("judge-1", &scope);
    let sign = |who: &str, file: &str| {
        holders.run(
            who,
            &format!("order sign --register register.toml --kid {who} --key secrets/people/{who}.pem {file}"),
        )
    };
    sign("judge-1", "1.jws");
    holders.hand("1.jws", "judge-1", "prosecutor-1");
    sign("prosecutor-1", "1.jws");
    holders.hand("1.jws", "prosecutor-1", "officer");
    let name = holders.run(
        "officer",
        &format!(
            "reidentify --order 1.jws --key secrets/people/officer.pem --client clients/officer.toml {pseudonym}"
        ),
    );
    assert!(name.contains("\tcnie\tAB123456"), "{name}");

    // The auditor, at both sides, with the witness's cosignature.
    for client in ["auditor", "auditor-node"] {
        let verify = format!(
            "audit verify --client clients/{client}.toml --register register.toml --require 1"
        );
        // A witness cosigns a moment after the checkpoint, and each reading is a new entry.
        let patience = Instant::now() + Duration::from_secs(60);
        let verified = loop {
            match holders.try_run("auditor", &verify) {
                Ok(verified) => break verified,
                Err(why) => assert!(Instant::now() < patience, "{why}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert!(verified.contains("good"), "{verified}");
    }
    let halves = holders.run(
        "auditor",
        "audit match clients/auditor.toml clients/auditor-node.toml",
    );
    assert!(halves.starts_with("1 openings"), "{halves}");

    // Rights officers, two for an erasure, at both sides.
    holders.run(
        "rights-1",
        &format!("rights resolutions --client clients/rights-1.toml --sector health --pseudonym {pseudonym}"),
    );
    holders.run(
        "rights-1",
        &format!(
            "rights erase --register register.toml --sector health --pseudonym {pseudonym} --reason request \
             --key secrets/people/rights-1.pem --kid rights-1 --out erase.jws"
        ),
    );
    holders.hand("erase.jws", "rights-1", "rights-2");
    holders.run(
        "rights-2",
        "rights sign erase.jws --key secrets/people/rights-2.pem --kid rights-2",
    );
    for client in ["rights-2", "rights-2-node"] {
        holders.run(
            "rights-2",
            &format!("rights lodge erase.jws --yes --client clients/{client}.toml"),
        );
    }

    // Operators: a call, and a statement of both.
    holders.run(
        "operator",
        "epoch list --sector health --client clients/operator.toml",
    );
    holders.run(
        "operator",
        "statement new --register register.toml --retire-epoch health:1 --out s.jws",
    );
    for who in ["operator", "operator-2"] {
        let sign = format!(
            "statement sign --key secrets/people/{who}.pem --kid {who} --register register.toml s.jws"
        );
        holders.run(who, &sign);
        if who == "operator" {
            holders.hand("s.jws", "operator", "operator-2");
        }
    }

    // Those who sign the register: a new version, without the deployment's folder.
    for who in ["operations", "commission"] {
        let file = holders.folder(who).join("register.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("version = 1\n", "version = 2\n")).unwrap();
        if who == "commission" {
            holders.hand("register.jws", "operations", "commission");
        }
        let key = format!("secrets/register/{who}.pem");
        holders.run(
            who,
            &format!("register sign register.toml --as {who} --key {key}"),
        );
    }

    // No start said a warning: they waited for one another.
    for holder in ["witness", "vault", "node"] {
        let log = holders.log(holder);
        assert!(
            !log.contains(" WARN ") && !log.contains("ERROR"),
            "{holder}: {log}"
        );
    }
    for process in [node, vault, witness] {
        process.stop();
    }
}

#[test]
fn a_node_that_starts_first_says_that_it_waits_for_the_vault() {
    let holders = Holders::divided(&["--custodians", "3", "--threshold", "2"]);
    let node = holders.start("node", &["authority"], 4);
    let log = holders.log("node");
    let waiting = format!(
        "waiting for the vault at https://127.0.0.1:{}",
        holders.ports[1]
    );
    assert!(log.contains(&waiting) && !log.contains(" WARN "), "{log}");
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, holders.ports[4]));
    assert!(get(health, "/readyz").unwrap().contains("sealed"));
    for who in ["custodian-1", "custodian-2"] {
        let unseal = format!(
            "authority unseal --client clients/{who}.toml --share secrets/custodians/{who}.share \
             --identity secrets/custodians/{who}.key"
        );
        holders.run(who, &unseal);
    }
    let status = holders.run(
        "custodian-1",
        "authority status --client clients/custodian-1.toml",
    );
    assert!(!status.contains("sealed,"), "{status}");
    node.stop();
}
