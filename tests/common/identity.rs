//! An identity source, as a process beside a world's vault and node.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use cloison::keys::Key;
use cloison::keys::file::{SecretKind, public_key_text, write_secret, write_signing_key};
use cloison::store::Store;
use cloison::utis::{EncodedPart, UtiBatch, UtiContext, UtiKind, request_head};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use uuid::Uuid;

use super::process::{Failed, Process, free_ports, get};
use super::{DEPLOYMENT, Reply, Stream, World, id, request};

/// The nonce of every request of these tests.
pub const NONCE: [u8; 16] = [7; 16];

/// Where an identity source listens. Its id is `trust`; its files lie in `secrets/identity` and
/// `data/identity`, its custodians are `keeper-1` to `keeper-3`.
pub struct IdentityPlace {
    /// Its configuration is `<name>.toml`, and it logs to `logs/<name>.log`.
    pub name: &'static str,
    pub control: SocketAddr,
    pub health: SocketAddr,
}

impl IdentityPlace {
    /// Writes `identity.toml` and enters the source into the register, before anything starts. Its
    /// identity secret is the vault's.
    pub fn prepare(world: &World) -> Self {
        let [control, health] = free_ports();
        let folder = world.path("secrets/identity");
        fs::create_dir_all(folder.join("journal")).unwrap();
        let vaults = world.path("secrets/vault/identity.secret");
        fs::copy(vaults, folder.join("identity.secret")).unwrap();
        let key =
            |name: &str, kind| write_secret(&folder.join(name), kind, &Key::random()).unwrap();
        key("audit.secret", SecretKind::Audit);
        key("journal/1.secret", SecretKind::Journal);
        let checkpoint = SigningKey::from_bytes(&[11; 32]);
        write_signing_key(&folder.join("checkpoint.pem"), &checkpoint).unwrap();
        let checkpoint = public_key_text(&checkpoint.verifying_key());
        let (own, vault) = (
            world.certify("identity", 2020, 2120),
            world.certify("vault-utis", 2020, 2120),
        );
        let custodians: String = (1..=3)
            .map(|number| {
                let id = format!("keeper-{number}");
                let key = world.certify(&id, 2020, 2120);
                format!(
                    "[[identity.custodian]]\nid = \"{id}\"\nname = \"Keeper\"\ncertificate = \"{key}\"\n"
                )
            })
            .collect();
        world.edit_register(|text| {
            let vaults = format!("[vault]\norganisation = \"dgsn\"\ncertificate = \"{vault}\"\n");
            let text = text.replacen("[vault]\n", &vaults, 1);
            format!(
                "{text}\n[[identity]]\nid = \"trust\"\norganisation = \"trusted-third\"\ncertificate = \"{own}\"\n\
                 checkpoint-key = \"{checkpoint}\"\n{custodians}"
            )
        });
        let vault = world.read("vault.toml");
        let register = &vault[vault.find("[register]").unwrap()..];
        world.write(
            "identity.toml",
            &format!(
                "deployment = \"{DEPLOYMENT}\"\nidentity = \"trust\"\n[control]\nlisten = \"{control}\"\n[health]\nlisten = \"{health}\"\n\
                 [tls]\ncertificate = \"tls/identity.pem\"\nkey = \"secrets/tls/identity.key\"\n\
                 [store]\npath = \"data/identity\"\nreserve-mib = 1\n\
                 [secrets]\nidentity = \"secrets/identity/identity.secret\"\naudit = \"secrets/identity/audit.secret\"\n\
                 checkpoint = \"secrets/identity/checkpoint.pem\"\njournal = \"secrets/identity/journal\"\n\
                 [vault]\nurl = \"https://127.0.0.1:{}\"\nserver = [\"tls/vault.pem\"]\n\
                 certificate = \"tls/identity.pem\"\nkey = \"secrets/tls/identity.key\"\n{}\n",
                world.address(super::Door::Control).port(),
                register,
                control = SocketAddr::from((Ipv4Addr::LOCALHOST, control)),
                health = SocketAddr::from((Ipv4Addr::LOCALHOST, health)),
            ),
        );
        Self {
            name: "identity",
            control: (Ipv4Addr::LOCALHOST, control).into(),
            health: (Ipv4Addr::LOCALHOST, health).into(),
        }
    }

    /// A second source of the same secret, `trust-2`, beside the first: each counts half of every
    /// quota. Its files are called as the first one's, with `identity-2` in place of `identity`.
    pub fn prepare_second(world: &World) -> Self {
        let [control, health] = free_ports();
        let folder = world.path("secrets/identity-2");
        fs::create_dir_all(folder.join("journal")).unwrap();
        let secret = "identity.secret";
        fs::copy(
            world.path("secrets/identity").join(secret),
            folder.join(secret),
        )
        .unwrap();
        let key =
            |name: &str, kind| write_secret(&folder.join(name), kind, &Key::random()).unwrap();
        key("audit.secret", SecretKind::Audit);
        key("journal/1.secret", SecretKind::Journal);
        let checkpoint = SigningKey::from_bytes(&[12; 32]);
        write_signing_key(&folder.join("checkpoint.pem"), &checkpoint).unwrap();
        let checkpoint = public_key_text(&checkpoint.verifying_key());
        let own = world.certify("identity-2", 2020, 2120);
        world.edit_register(|text| {
            let text = text.replacen("id = \"trust\"\n", "id = \"trust\"\nshare = 0.5\n", 1);
            format!(
                "{text}\n[[identity]]\nid = \"trust-2\"\norganisation = \"trusted-third\"\n\
                 certificate = \"{own}\"\ncheckpoint-key = \"{checkpoint}\"\nshare = 0.5\n"
            )
        });
        let (control, health) = (
            SocketAddr::from((Ipv4Addr::LOCALHOST, control)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, health)),
        );
        let listen = |text: &str, section: &str, address: SocketAddr| {
            let head = format!("[{section}]\nlisten = \"");
            let from = text.find(&head).unwrap() + head.len();
            let to = from + text[from..].find('"').unwrap();
            format!("{}{address}{}", &text[..from], &text[to..])
        };
        let text = world
            .read("identity.toml")
            .replace("identity = \"trust\"", "identity = \"trust-2\"")
            .replace("tls/identity.", "tls/identity-2.")
            .replace("secrets/identity/", "secrets/identity-2/")
            .replace("data/identity\"", "data/identity-2\"");
        let text = listen(&listen(&text, "control", control), "health", health);
        world.write("identity-2.toml", &text);
        Self {
            name: "identity-2",
            control,
            health,
        }
    }

    /// Starts it for the first time, logging to `logs/identity.log`, and waits until it is ready.
    pub fn first_start(&self, world: &World) -> Process {
        let started = self.start(world, &["--first-start"]);
        started.unwrap_or_else(|failed| panic!("it does not start: {failed}"))
    }

    /// The same, again; what it said where it does not start.
    pub fn start(&self, world: &World, more: &[&str]) -> Result<Process, Failed> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(["identity", "serve", "--config"])
            .arg(world.path(&format!("{}.toml", self.name)))
            .args(more)
            .env("CLOISON_LOG", "trace")
            .envs(world.env.iter().cloned());
        Process::start(
            command,
            &world.path(&format!("logs/{}.log", self.name)),
            self.health,
        )
    }

    /// Writes `clients/<name>.toml` for a caller of the source.
    pub fn client(&self, world: &World, name: &str) {
        let text = format!(
            "url = \"https://{}\"\nserver = [\"../tls/identity.pem\"]\n\
             certificate = \"../tls/{name}.pem\"\nkey = \"../secrets/tls/{name}.key\"\n",
            self.control
        );
        world.write(&format!("clients/{name}.toml"), &text);
    }

    /// Has the vault ask this source, in place of a secret of its own, before it starts.
    pub fn split(&self, world: &World) {
        split(world, self.control);
    }

    /// A connection with a certificate, `tls/<name>.pem`.
    pub fn connect(&self, world: &World, name: &str) -> Stream {
        let key = world.path(&format!("secrets/tls/{name}.key"));
        let files = Some((world.certificate(name), key));
        Stream::connect(self.control, &world.certificate("identity"), files)
    }

    /// A request of the vault's.
    pub fn ask(&self, world: &World, body: &[u8]) -> Reply {
        self.ask_as(world, "vault-utis", body)
    }

    /// The same with another certificate.
    pub fn ask_as(&self, world: &World, name: &str, body: &[u8]) -> Reply {
        let content = [("content-type", cloison::utis::CONTENT)];
        let bytes = request("POST", cloison::utis::PATH, &content, body);
        let sent = self.connect(world, name).exchange(&bytes);
        sent.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// What `/metrics` says of a figure.
    pub fn metric(&self, name: &str) -> Option<String> {
        let text = get(self.health, "/metrics")?;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.to_owned())
    }
}

/// Has the vault ask the source at an address, in place of a secret of its own, before it starts.
pub fn split(world: &World, source: SocketAddr) {
    world.replace(
        "vault.toml",
        "identity = \"secrets/vault/identity.secret\"\n",
        "",
    );
    let text = world.read("vault.toml");
    world.write(
        "vault.toml",
        &format!(
            "{text}\n[identity]\nurl = [\"https://{source}\"]\nserver = [\"tls/identity.pem\"]\n\
             certificate = \"tls/vault-utis.pem\"\nkey = \"secrets/tls/vault-utis.key\"\n"
        ),
    );
}

/// A part that asks for the UTIs of cards, for a client.
pub fn part(sector: Uuid, client: &str, cards: &[&str]) -> EncodedPart {
    part_of(UtiKind::Tokenize, sector, client, "cnie", cards)
}

/// A part of any kind and scheme.
pub fn part_of(
    kind: UtiKind,
    sector: Uuid,
    by: &str,
    scheme: &str,
    values: &[&str],
) -> EncodedPart {
    let ends = values.iter().scan(0, |end, value| {
        *end += value.len() as u32;
        Some(*end)
    });
    let (arena, ends, by) = (values.concat(), ends.collect::<Vec<_>>(), id(by));
    let context = UtiContext {
        kind,
        sector,
        by: &by,
    };
    let batch = UtiBatch {
        scheme,
        values: arena.as_bytes(),
        ends: &ends,
    };
    EncodedPart::values(context, batch)
}

/// A request of these parts.
pub fn body(parts: &[EncodedPart]) -> Vec<u8> {
    let mut body = request_head(&NONCE, parts.len()).to_vec();
    parts
        .iter()
        .for_each(|part| body.extend_from_slice(part.bytes()));
    body
}

/// How many values the source's entries say that it derived from, once it has stopped.
pub fn derived(world: &World) -> u64 {
    let entries = entries(world);
    let groups = entries
        .iter()
        .filter_map(|entry| entry["derived"].as_array());
    groups
        .flatten()
        .map(|group| group["items"].as_u64().unwrap())
        .sum()
}

/// How many identifiers each of the vault's entries says that it accepted, once it has stopped.
pub fn tokenized(world: &World) -> Vec<u64> {
    let store = Store::open(&world.path("data/vault"), "test/vault").unwrap();
    let rows = store.audit_from(0, usize::MAX).unwrap();
    rows.iter()
        .map(|(_, entry)| serde_json::from_slice::<Value>(entry).unwrap())
        .filter(|entry| entry["event"] == "tokenize")
        .map(|entry| entry["accepted"].as_u64().unwrap())
        .collect()
}

/// The entries of the source's log, once it has stopped.
pub fn entries(world: &World) -> Vec<Value> {
    let owner = format!("{DEPLOYMENT}/identity/trust");
    let store = Store::open(&world.path("data/identity"), &owner).unwrap();
    let rows = store.audit_from(0, usize::MAX).unwrap();
    rows.iter()
        .map(|(_, entry)| serde_json::from_slice(entry).unwrap())
        .collect()
}
