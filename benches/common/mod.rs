//! A throw-away vault inside this process, on a real store in a temporary folder.
#![allow(dead_code, missing_docs)]

use std::sync::Arc;

use cloison::access::{self, TokenizePermit};
use cloison::clock::SystemClock;
use cloison::keys::file::FileError;
use cloison::keys::sector_secrets::SectorSecretStore;
use cloison::keys::{
    AuditSecret, IdentityKeys, IdentitySecret, JournalSecret, Key, SectorSecret, StoreSecret,
};
use cloison::register::{self, SpkiDigest};
use cloison::tokenize::{self, TokenizeOptions, TokenizedBatch};
use cloison::vault::{Vault, VaultHome, VaultSecrets};

/// The sector with mappings, and the one without.
pub const REVERSIBLE: &str = "health";
pub const IRREVERSIBLE: &str = "study";
const CLIENT: [u8; 32] = [0xc1; 32];

pub struct Bench {
    pub vault: Vault,
    _folder: tempfile::TempDir,
}

struct Memory;

impl SectorSecretStore for Memory {
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError> {
        Ok(vec![(1, SectorSecret(Key::take(&mut [2; 32])))])
    }

    fn create(&self, _above: u32) -> Result<(u32, SectorSecret), FileError> {
        unreachable!("no bench advances an epoch")
    }

    fn destroy(&self, _: u32) -> Result<(), FileError> {
        unreachable!("nothing is retired here")
    }

    fn is_off_machine(&self) -> bool {
        true
    }
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let register = register::parse(&register_text()).expect("a valid register");
        let secrets = VaultSecrets {
            identity: Box::new(IdentityKeys::new(&IdentitySecret(Key::take(&mut [1; 32])))),
            audit: AuditSecret(Key::take(&mut [3; 32])),
            store: vec![(1, StoreSecret(Key::take(&mut [4; 32])))],
            journal: vec![(1, JournalSecret(Key::take(&mut [7; 32])))],
            sector: Box::new(Memory),
            segment: ed25519_dalek::SigningKey::from_bytes(&[5; 32]),
            log: cloison::audit::log::LogParts::new(ed25519_dalek::SigningKey::from_bytes(
                &[6; 32],
            )),
        };
        let vault = Vault::open(
            &VaultHome::unbounded(&folder.path().join("store")),
            register,
            secrets,
            &[],
            Arc::new(SystemClock),
            &|_| {},
            Box::new(|error| panic!("{error}")),
        )
        .expect("a vault");
        Self {
            vault,
            _folder: folder,
        }
    }

    pub fn permit(&self, sector: &str) -> TokenizePermit {
        access::tokenize(&self.vault, SpkiDigest(CLIENT), sector, "passport", None)
            .expect("a permit")
    }

    /// One batch, durable.
    pub fn batch(&self, permit: &TokenizePermit, identifiers: &[String]) -> TokenizedBatch {
        let items = identifiers.iter().map(|text| Ok(text.as_str()));
        let (answer, job) =
            tokenize::prepare(&self.vault, permit, &TokenizeOptions::default(), items)
                .expect("a batch");
        self.vault
            .committer()
            .submit(job)
            .expect("room in the queue")
            .wait()
            .expect("a durable batch");
        answer
    }
}

/// Passport numbers of 11 characters: `MAR` and eight digits, from a number that `n` stands for.
pub fn identifiers(first: u64, count: usize) -> Vec<String> {
    (first..first + count as u64)
        .map(|n| format!("MAR{:08}", n * 38_201 % 100_000_000))
        .collect()
}

fn register_text() -> String {
    let sector = |name: &str, uuid: u8, reversible: bool| {
        let authorities = if reversible { "[\"court\"]" } else { "[]" };
        format!(
            "[[sector]]\nuuid = \"00000000-0000-4000-8000-0000000000{uuid:02}\"\nname = \"{name}\"\ntag = \"{name}\"\n\
             granularity = {{}}\ntext-form = \"bech32m\"\nreversible = {reversible}\nschemes = [\"passport\"]\n\
             purposes = []\nauthorities = {authorities}\nepoch-overlap-days = 0\nperiod-grace-days = 0\n\
             retention-years = 1\n[sector.declaration]\ncontroller = \"-\"\npurpose = \"-\"\npersons = \"-\"\ndata = \"-\"\n\
             received = 2026-01-01\ndecided = 2026-02-01\ndecision = \"explicit\"\n"
        )
    };
    let key = |seed: u8| {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
        data_encoding::HEXLOWER.encode(key.as_bytes())
    };
    let secret = cloison::keys::AuthoritySecret(Key::take(&mut [6; 32]));
    let public = cloison::seal::segment::AuthorityPrivateKey::derive(
        &secret,
        "court-1",
        cloison::register::Suite::X25519,
    );
    format!(
        "deployment = \"bench\"\nversion = 1\n\
         [[organisation]]\nid = \"bench\"\nname = \"bench\"\nquota = {{ items-per-second = 1000000000, items-per-day = 1000000000000 }}\n\
         [[scheme]]\nid = \"passport\"\npattern = \"[A-Z]{{3}}[A-Z0-9]{{5,9}}\"\nseparators = \" -\"\ncheck = \"none\"\n{}{}\
         [[client]]\nid = \"bench\"\norganisation = \"bench\"\ncertificate = \"{}\"\nsectors = [\"health\", \"study\"]\n\
         operations = [\"tokenize\"]\npurposes = []\n\
         [[authority]]\nid = \"court\"\nname = \"court\"\nnode = \"{}\"\nquorum = 2\nmax-hours = 24\n\
         [[authority.key]]\nid = \"court-1\"\nsuite = 1\npublic = \"{}\"\n\
         [[authority.approver]]\nid = \"a\"\nname = \"a\"\nbody = \"x\"\nkey = \"{}\"\n\
         [[authority.approver]]\nid = \"b\"\nname = \"b\"\nbody = \"y\"\nkey = \"{}\"\n\
         [[authority.officer]]\nid = \"c\"\nname = \"c\"\nkey = \"{}\"\ncertificate = \"{}\"\n",
        sector(REVERSIBLE, 1, true),
        sector(IRREVERSIBLE, 2, false),
        data_encoding::HEXLOWER.encode(&CLIENT),
        data_encoding::HEXLOWER.encode(&[0xd1; 32]),
        data_encoding::HEXLOWER.encode(public.public()),
        key(11),
        key(12),
        key(13),
        data_encoding::HEXLOWER.encode(&[0xd2; 32]),
    )
}
