//! The commission's witness, as a process beside a world's vault and node.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use cloison::http::tls::spki_digest_of_file;
use cloison::keys::file::{public_key_text, write_signing_key};
use ed25519_dalek::SigningKey;

use super::process::{Failed, Process, free_ports};
use super::{Door, World};

/// Where a witness of the vault's log listens.
pub struct WitnessPlace {
    /// Its listener for logs.
    pub listen: SocketAddr,
    health: SocketAddr,
}

impl WitnessPlace {
    /// Writes `witness.toml` and enters the witness, `cndp`, in `vault.toml`. Its state lies in
    /// `data/witness`.
    pub fn prepare(world: &World) -> Self {
        let key = SigningKey::from_bytes(&[9; 32]);
        write_signing_key(&world.path("secrets/witness.pem"), &key).unwrap();
        let [listen, health] = free_ports();
        let log = public_key_text(&world.register().vault_checkpoint_key.unwrap());
        let caller = spki_digest_of_file(&world.certificate("vault")).unwrap();
        world.write(
            "witness.toml",
            &format!(
                "name = \"cndp\"\n[control]\nlisten = \"127.0.0.1:{listen}\"\n[health]\nlisten = \"127.0.0.1:{health}\"\n\
                 [tls]\ncertificate = \"tls/node.pem\"\nkey = \"secrets/tls/node.key\"\n\
                 [state]\npath = \"data/witness\"\n[secrets]\nkey = \"secrets/witness.pem\"\n\
                 [[log]]\nowner = \"test/vault\"\npublic = \"{log}\"\n\
                 [[caller]]\ncertificate = \"{caller:?}\"\n"
            ),
        );
        let public = public_key_text(&key.verifying_key());
        world.replace(
            "vault.toml",
            "[audit]",
            &format!(
                "[[audit.witness]]\nname = \"cndp\"\npublic = \"{public}\"\nurl = \"https://127.0.0.1:{listen}\"\n\
                 server = [\"tls/node.pem\"]\ncertificate = \"tls/vault.pem\"\nkey = \"secrets/tls/vault.key\"\n\n[audit]"
            ),
        );
        Self {
            listen: (Ipv4Addr::LOCALHOST, listen).into(),
            health: (Ipv4Addr::LOCALHOST, health).into(),
        }
    }

    /// How many entries of its log the vault shows with the witness's cosignature.
    pub fn cosigned(&self, world: &World) -> u64 {
        let note = world.get("auditor", Door::Control, "/checkpoint").body;
        let note = String::from_utf8(note).unwrap();
        if note.contains("\u{2014} cndp ") {
            note.lines().nth(1).unwrap().parse().unwrap()
        } else {
            0
        }
    }

    /// How many entries of the vault's log it remembers.
    pub fn remembered(&self, world: &World) -> u64 {
        let files = fs::read_dir(world.path("data/witness")).unwrap();
        let notes = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        let size = |note: String| note.lines().nth(1)?.parse::<u64>().ok();
        notes.filter_map(size).max().unwrap_or(0)
    }

    /// Starts it, logging to `logs/witness.log`, and waits until it is ready.
    pub fn start(&self, world: &World, more: &[&str]) -> Result<Process, Failed> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(["witness", "serve", "--config"])
            .arg(world.path("witness.toml"))
            .args(more)
            .envs(world.env.iter().cloned());
        Process::start(command, &world.path("logs/witness.log"), self.health)
    }
}
