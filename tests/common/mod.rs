//! A world for a test: a fresh deployment in a temporary folder, a vault and an authority node as
//! real processes, real TLS between everybody, and every key at hand to do right or wrong with.
//!
//! ```ignore
//! mod common;
//! use common::{World, Door, Side, QUORUM};
//!
//! let mut world = World::new();                                  // both run, on the register of the demo
//! let pseudonyms = world.tokenize("cnss-health", "health", "cnie", Some("billing"), &["AB123456"]);
//! let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
//! let reply = world.reidentify(&order, "health", &pseudonyms);
//! world.kill(Side::Vault);                                       // SIGKILL
//! world.start(Side::Vault, &[]);
//! world.stop();                                                  // SIGTERM to both; then the stores can be read
//! assert_eq!(world.mappings(), 1);
//! ```
//!
//! Processes log at the most verbose level there is. They are ended by their id when the world is
//! dropped.
#![allow(dead_code, unreachable_pub)]

pub mod backups;
pub mod identity;
mod people;
pub mod process;
mod records;
pub mod seeded;
pub mod shim;
mod wire;
pub mod witness;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cloison::client::{Client, ClientError};
use cloison::code::Code;
use cloison::config::ClientConfig;
use cloison::deployment::register_text::{DEMO, OPERATORS};
use cloison::deployment::{DeploymentPlan, ListenPlan, make};
use cloison::epoch::statement::Destruction;
use cloison::keys::file::{read_signing_key, write_private, write_public};
use cloison::register::sign::sign;
use cloison::register::{Id, Register};
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

// Not every test binary needs all of them.
#[allow(unused_imports)]
pub use people::{DAY, HOUR, NO_ACTS, not_in_the_last, now, sign_with, uuid4};
#[allow(unused_imports)]
pub use process::{Failed, Process, free_ports, get as plain_get};
#[allow(unused_imports)]
pub use wire::{Reply, Stream, request};

/// The deployment's id.
pub const DEPLOYMENT: &str = "test";
/// Two approvers of two bodies: enough for any order.
pub const QUORUM: &[&str] = &["judge-1", "prosecutor-1"];

/// One of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Vault,
    Node,
}

impl Side {
    /// Its configuration file.
    pub fn config(self) -> &'static str {
        match self {
            Self::Vault => "vault.toml",
            Self::Node => "node.toml",
        }
    }

    /// The folder of its store.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Vault => "data/vault",
            Self::Node => "data/node",
        }
    }
}

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The vault's, for sector systems.
    Data,
    /// The vault's, for operators and nodes.
    Control,
    /// The node's, for officers.
    Officers,
}

/// How a world begins, where it is not as usual.
pub struct Setup {
    /// The register as it was before anything started; signed afterwards.
    pub register: Box<dyn FnOnce(String) -> String>,
    /// What `CLOISON_LOG` is.
    pub log: &'static str,
    /// Whether both programs are started.
    pub start: bool,
    /// How many of how many custodians unseal the authority's key; `None`: it is a file.
    pub custodians: Option<(usize, usize)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            register: Box::new(|text| text),
            log: "trace",
            start: true,
            custodians: None,
        }
    }
}

/// A deployment and its processes.
pub struct World {
    // Dropped in this order: first the processes, then their folder.
    vault: Option<Process>,
    node: Option<Process>,
    dir: PathBuf,
    _folder: tempfile::TempDir,
    data: u16,
    control: u16,
    vault_health: u16,
    officers: u16,
    node_health: u16,
    log: &'static str,
    /// What every process finds in its environment beside what this one has.
    pub env: Vec<(String, String)>,
}

impl World {
    /// Both processes run, on the demo's register.
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// The same on another register.
    pub fn on(register: impl FnOnce(String) -> String + 'static) -> Self {
        Self::with(Setup {
            register: Box::new(register),
            ..Setup::default()
        })
    }

    /// Made, and nothing runs.
    pub fn asleep() -> Self {
        Self::with(Setup {
            start: false,
            ..Setup::default()
        })
    }

    pub fn with(setup: Setup) -> Self {
        // A day's quota, a month's pseudonyms and a year's log do not end while this world lasts.
        not_in_the_last(180, DAY);
        let folder = tempfile::Builder::new()
            .prefix("cloison-test-")
            .tempdir()
            .unwrap();
        let dir = folder.path().join("deployment");
        let [
            data,
            control,
            vault_health,
            node_data,
            officers,
            node_health,
        ] = process::free_ports();
        let plan = DeploymentPlan {
            deployment: DEPLOYMENT.to_owned(),
            facts: &DEMO,
            vault: ListenPlan::new(Vec::new(), [data, control, vault_health]),
            node: ListenPlan::new(Vec::new(), [node_data, officers, node_health]),
            witness: None,
            identity: None,
            years: 2,
            example: false,
            custodians: setup.custodians,
        };
        make(&dir, &plan).unwrap();
        fs::create_dir(dir.join("logs")).unwrap();
        let mut world = Self {
            vault: None,
            node: None,
            dir,
            _folder: folder,
            data,
            control,
            vault_health,
            officers,
            node_health,
            log: setup.log,
            env: vec![],
        };
        let made = world.read("register.toml");
        let wanted = (setup.register)(made.clone());
        if wanted != made {
            world.write_register(&wanted, &["operations", "commission"]);
        }
        if setup.start {
            world.start(Side::Vault, &[]);
            world.start(Side::Node, &[]);
        }
        world
    }

    // --- files

    /// A path inside the deployment.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Replaces a text that must be there, everywhere in a file.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        self.write(path, &swap(&self.read(path), from, to));
    }

    /// Everything that a process wrote so far, all its lives together.
    pub fn log(&self, side: Side) -> String {
        let bytes = fs::read(self.log_file(side)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self, side: Side) -> PathBuf {
        self.path(match side {
            Side::Vault => "logs/vault.log",
            Side::Node => "logs/node.log",
        })
    }

    // --- the register

    /// The register as it lies there now.
    pub fn register(&self) -> Register {
        cloison::register::parse(&self.read("register.toml"))
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    /// Edits the register, raises its version by one and has it signed by both keys. Takes force at
    /// the next start.
    pub fn edit_register(&self, edit: impl FnOnce(String) -> String) {
        let version = self.register().version;
        let text = swap(
            &self.read("register.toml"),
            &format!("\nversion = {version}\n"),
            &format!("\nversion = {}\n", version + 1),
        );
        self.write_register(&edit(text), &["operations", "commission"]);
    }

    /// Writes a register, signed anew by those register keys.
    pub fn write_register(&self, text: &str, signers: &[&str]) {
        self.write("register.toml", text);
        let mut signatures = None;
        for signer in signers {
            let key = self.register_key(signer);
            let signed = sign(text, signatures.as_deref(), &id(signer), &key);
            signatures = Some(signed.unwrap_or_else(|error| panic!("{error:?}")));
        }
        self.write("register.jws", &signatures.unwrap_or_default());
    }

    pub fn register_key(&self, id: &str) -> SigningKey {
        read_signing_key(&self.path(&format!("secrets/register/{id}.pem"))).unwrap()
    }

    /// The signing key of an approver or officer.
    pub fn key(&self, person: &str) -> SigningKey {
        read_signing_key(&self.path(&format!("secrets/people/{person}.pem"))).unwrap()
    }

    // --- processes

    /// Starts one and waits until it is ready.
    pub fn start(&mut self, side: Side, more: &[&str]) {
        self.try_start(side, more)
            .unwrap_or_else(|failed| panic!("{side:?} does not start: {failed}"));
    }

    /// The same, where it may refuse to start: what it said then, and its exit code.
    pub fn try_start(&mut self, side: Side, more: &[&str]) -> Result<(), Failed> {
        assert!(self.slot(side).is_none(), "{side:?} runs already");
        let (config, health) = match side {
            Side::Vault => (self.path("vault.toml"), self.vault_health),
            Side::Node => (self.path("node.toml"), self.node_health),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        match side {
            Side::Vault => command.arg("serve"),
            Side::Node => command.args(["authority", "serve"]),
        };
        command
            .arg("--config")
            .arg(config)
            .args(more)
            .env("CLOISON_LOG", self.log)
            .envs(self.env.iter().cloned());
        let process = Process::start(
            command,
            &self.log_file(side),
            (Ipv4Addr::LOCALHOST, health).into(),
        )?;
        *self.slot(side) = Some(process);
        Ok(())
    }

    /// Starts a further authority's node on a configuration of its own, and waits until it is
    /// ready.
    pub fn start_node(&self, config: &str, health: u16) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(["authority", "serve", "--config"])
            .arg(self.path(config))
            .env("CLOISON_LOG", self.log);
        let log = self.path(&format!("logs/{config}.log"));
        let started = Process::start(command, &log, (Ipv4Addr::LOCALHOST, health).into());
        started.unwrap_or_else(|failed| panic!("{config} does not start: {failed}"))
    }

    /// SIGTERM, where it runs; it must end well.
    pub fn end(&mut self, side: Side) {
        if let Some(process) = self.slot(side).take() {
            let status = process.stop();
            assert!(status.success(), "{side:?} ended with {status}");
        }
    }

    /// SIGTERM to both.
    pub fn stop(&mut self) {
        self.end(Side::Node);
        self.end(Side::Vault);
    }

    /// SIGKILL: no chance to write anything.
    pub fn kill(&mut self, side: Side) {
        self.slot(side).take().expect("it runs").kill();
    }

    /// A signal to one that runs.
    pub fn signal(&self, side: Side, signal: i32) {
        let process = match side {
            Side::Vault => &self.vault,
            Side::Node => &self.node,
        };
        process.as_ref().expect("it runs").signal(signal);
    }

    /// Stops both and starts both.
    pub fn restart(&mut self) {
        self.stop();
        self.start(Side::Vault, &[]);
        self.start(Side::Node, &[]);
    }

    /// Waits until it has ended of its own accord.
    pub fn ended(&mut self, side: Side) -> std::process::ExitStatus {
        self.slot(side).take().expect("it runs").wait()
    }

    pub fn is_running(&mut self, side: Side) -> bool {
        self.slot(side).as_mut().is_some_and(Process::is_running)
    }

    /// The process id, where it runs.
    pub fn pid(&mut self, side: Side) -> Option<u32> {
        self.slot(side).as_ref().map(Process::id)
    }

    /// The vault's process id.
    pub fn vault_pid(&self) -> u32 {
        self.vault.as_ref().expect("it runs").id()
    }

    fn slot(&mut self, side: Side) -> &mut Option<Process> {
        match side {
            Side::Vault => &mut self.vault,
            Side::Node => &mut self.node,
        }
    }

    /// Runs the program to its end.
    pub fn cloison(&self, arguments: &[&str]) -> Output {
        self.cloison_with(arguments, b"")
    }

    /// The same with something on its standard input.
    pub fn cloison_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
            .args(arguments)
            .current_dir(&self.dir)
            .env_remove("CLOISON_LOG")
            .envs(self.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    // --- doors

    pub fn address(&self, door: Door) -> SocketAddr {
        let port = match door {
            Door::Data => self.data,
            Door::Control => self.control,
            Door::Officers => self.officers,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub fn health(&self, side: Side) -> SocketAddr {
        let port = match side {
            Side::Vault => self.vault_health,
            Side::Node => self.node_health,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// The blocking client of one of `clients/*.toml`.
    pub fn client(&self, name: &str) -> Client {
        let config = ClientConfig::load(&self.path(&format!("clients/{name}.toml"))).unwrap();
        Client::new(&config).unwrap()
    }

    /// A TLS connection with the certificate of `name` (`tls/<name>.pem`), or with none.
    pub fn connect(&self, name: Option<&str>, door: Door) -> Stream {
        let files = name.map(|name| {
            (
                self.certificate(name),
                self.path(&format!("secrets/tls/{name}.key")),
            )
        });
        Stream::connect(self.address(door), &self.server_certificate(door), files)
    }

    /// The certificate that a listener shows.
    pub fn server_certificate(&self, door: Door) -> PathBuf {
        match door {
            Door::Data | Door::Control => self.certificate("vault"),
            Door::Officers => self.certificate("node"),
        }
    }

    /// Makes a key and a certificate that it signs itself, valid from one year to another, as
    /// `tls/<name>.pem` and `secrets/tls/<name>.key`: SHA-256 of the key, hex.
    pub fn certify(&self, name: &str, from: i32, until: i32) -> String {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        write_public(&self.certificate(name), certificate.pem().as_bytes()).unwrap();
        let file = self.path(&format!("secrets/tls/{name}.key"));
        write_private(&file, key.serialize_pem().as_bytes()).unwrap();
        HEXLOWER.encode(&Sha256::digest(key.subject_public_key_info()))
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.path(&format!("tls/{name}.pem"))
    }

    /// One request on a connection of its own, and its answer.
    pub fn send(&self, name: &str, door: Door, bytes: &[u8]) -> Reply {
        let sent = self.connect(Some(name), door).exchange(bytes);
        sent.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn post(
        &self,
        name: &str,
        door: Door,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Reply {
        self.send(
            name,
            door,
            &request("POST", path, &[("content-type", content_type)], body),
        )
    }

    pub fn post_json(&self, name: &str, door: Door, path: &str, body: &Value) -> Reply {
        self.post(
            name,
            door,
            path,
            "application/json",
            body.to_string().as_bytes(),
        )
    }

    pub fn get(&self, name: &str, door: Door, path: &str) -> Reply {
        self.send(name, door, &request("GET", path, &[], b""))
    }

    // --- what clients do

    /// Asks for pseudonyms.
    pub fn batch(
        &self,
        client: &str,
        sector: &str,
        scheme: &str,
        purpose: Option<&str>,
        identifiers: &[&str],
    ) -> Reply {
        let mut body = json!({"scheme": scheme, "identifiers": identifiers});
        if let Some(purpose) = purpose {
            body["purpose"] = purpose.into();
        }
        self.post_json(client, Door::Data, &batch_path(sector), &body)
    }

    /// Pseudonyms of identifiers, all of which must be accepted.
    pub fn tokenize(
        &self,
        client: &str,
        sector: &str,
        scheme: &str,
        purpose: Option<&str>,
        identifiers: &[&str],
    ) -> Vec<String> {
        let answer = self
            .batch(client, sector, scheme, purpose, identifiers)
            .ok();
        assert_eq!(answer["rejected"], 0, "{answer}");
        texts(&answer["pseudonyms"])
    }

    /// Pseudonyms of identity cards in the sector `health`, for the health fund's billing.
    pub fn health_pseudonyms(&self, cards: &[&str]) -> Vec<String> {
        self.tokenize("cnss-health", "health", "cnie", Some("billing"), cards)
    }

    /// Advances a sector's epoch from where it stands; the number of the new one.
    pub fn advance(&self, sector: &str, own_secret: bool) -> u64 {
        let path = format!("/v1/sectors/{sector}/epochs");
        let listed = self.get("operator", Door::Control, &path).ok();
        let epochs = listed["epochs"].as_array().unwrap();
        let from = epochs.last().unwrap()["epoch"].as_u64().unwrap() as u32;
        let end_overlap = epochs
            .iter()
            .find(|epoch| epoch["state"] == "overlap")
            .map(|epoch| epoch["epoch"].clone());
        let mut how = json!({"from": from, "end_overlap": end_overlap, "own_secret": own_secret});
        if own_secret && !self.register().sector(sector).unwrap().reversible {
            let statement = self.statement(Destruction::OwnSecret {
                sector: sector.to_owned(),
                from,
            });
            how["statement"] = self.sign_statement(&statement, &OPERATORS).into();
        }
        let answer = advance(&self.client("operator"), &path, &how).unwrap();
        answer["epochs"].as_array().unwrap().last().unwrap()["epoch"]
            .as_u64()
            .unwrap()
    }
}

/// Where a sector's batches go.
pub fn batch_path(sector: &str) -> String {
    format!("/v1/sectors/{sector}/pseudonyms")
}

/// A list of texts.
pub fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

pub fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// Replaces a text that must be there, everywhere.
pub fn swap(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from:?}");
    text.replace(from, to)
}

/// Copies all that is below a folder into another, which is made if it is not there.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Advances an epoch as an operator does: confirms a version of the sector secret that waits for
/// it, and asks again.
pub fn advance(operator: &Client, path: &str, how: &Value) -> Result<Value, ClientError> {
    match operator.post_json(path, how) {
        Err(error) if error.code() == Some(Code::SecretUnconfirmed) => {
            confirm_secrets(operator)?;
            operator.post_json(path, how)
        }
        advanced => advanced,
    }
}

/// Confirms every version of the sector secret that waits for it.
pub fn confirm_secrets(operator: &Client) -> Result<(), ClientError> {
    let listed: Value = operator.get_json("/v1/secrets")?;
    for version in listed["versions"].as_array().unwrap() {
        if version["state"] == "unconfirmed" {
            let body = json!({"version": version["version"]});
            operator.post_json::<Value>("/v1/secrets/confirm", &body)?;
        }
    }
    Ok(())
}
