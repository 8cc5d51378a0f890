//! Backups of both sides, and restores from them.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Side, World};

impl World {
    /// Gives both sides a repository, before they start; the node's server takes its backups by
    /// itself.
    pub fn with_repositories(&self) {
        for (config, folder, every) in [
            ("vault.toml", "vault-backup", ""),
            ("node.toml", "node-backup", "every = \"10s\"\n"),
        ] {
            fs::create_dir(self.path(folder)).unwrap();
            let section = format!("\n[backup]\npath = \"{folder}\"\n{every}\n[secrets]");
            self.replace(config, "\n[secrets]", &section);
        }
    }

    /// One backup of each side, which run. Restart the node afterwards: it takes no later one then.
    pub fn back_up(&self) {
        let usual = ["backup", "create", "--client", "clients/operator.toml"];
        let done = self.cloison(&usual);
        assert!(done.status.success(), "{}", words(&done));
        let begun = Instant::now();
        let taken = || fs::read_dir(self.path("node-backup/manifests")).map_or(0, Iterator::count);
        while taken() == 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no backup of the node"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let text = self.read("node.toml");
        self.write(
            "node.toml",
            &text.replace("every = \"10s\"", "every = \"300d\""),
        );
    }

    /// `cloison restore` of a side, from its repository.
    pub fn restore(&self, side: Side, more: &[&str]) -> Output {
        let repository = match side {
            Side::Vault => "vault-backup",
            Side::Node => "node-backup",
        };
        let usual = ["restore", repository, "--config", side.config(), "--json"];
        self.cloison(&[&usual[..], more].concat())
    }

    /// `cloison restore --in-place` of a side.
    pub fn restore_in_place(&self, side: Side, more: &[&str]) -> Output {
        let usual = ["restore", "--in-place", "--config", side.config(), "--json"];
        self.cloison(&[&usual[..], more].concat())
    }

    /// `cloison audit resume` of a side that has ended, with this flag.
    pub fn resume(&self, side: Side, flag: &str) -> Output {
        self.cloison(&["audit", "resume", flag, "--yes", "--config", side.config()])
    }

    /// The log of a side that has ended verifies.
    pub fn verify_log(&self, side: Side) {
        let register = ["--register", "register.toml"];
        let verified = self.cloison(&[&["audit", "verify", side.folder()], &register[..]].concat());
        assert!(verified.status.success(), "{}", words(&verified));
    }

    /// Moves a store or a place away.
    pub fn lose(&self, store: &str) {
        fs::rename(self.path(store), self.path(&format!("{store}-lost"))).unwrap();
    }
}

/// What a command said.
pub fn words(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// The JSON of a command that must succeed.
pub fn good(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(output)))
}
