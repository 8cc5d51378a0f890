//! Things that must not be found, each in every form in which it might stand somewhere.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::common::files;

/// What was found where it must not be. Says no more, for a test's output is a log, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Identifier,
    Pseudonym,
    Uti,
    Handle,
    Secret,
}

/// Bytes that every needle has, at least.
const HEAD: usize = 7;

/// What to look for.
pub struct Canaries {
    needles: Vec<(Vec<u8>, Kind)>,
    by_head: HashMap<[u8; HEAD], Vec<u32>>,
    /// Whether any needle begins with these three bytes: most places are passed with one look.
    begins: Vec<bool>,
}

/// The domain in which a pseudonym was given, as `cloison spec derive` takes it.
pub struct Place<'a> {
    pub path: Vec<String>,
    pub tag: &'a str,
    pub form: &'a str,
    pub epoch: u64,
    pub controller: &'a str,
    pub purpose: &'a str,
}

impl Canaries {
    pub fn none() -> Self {
        Self {
            needles: vec![],
            by_head: HashMap::new(),
            begins: vec![false; 1 << 24],
        }
    }

    /// Every secret file of a deployment, and what its form hides.
    pub fn secrets_below(&mut self, folder: &Path) {
        for path in files(folder) {
            let text = fs::read_to_string(&path).unwrap();
            if let Some(line) = text.strip_prefix("cloison-secret-1:") {
                let digits = line.trim_end().rsplit(':').next().unwrap();
                self.bytes(Kind::Secret, &HEXLOWER.decode(digits.as_bytes()).unwrap());
                continue;
            }
            let body: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("-----"))
                .collect();
            // The last line of a key for TLS may be its public half, which certificates show, too.
            body.iter()
                .take(2.min(body.len()))
                .for_each(|line| self.add(Kind::Secret, line.as_bytes().to_vec()));
            let der = BASE64.decode(body.concat().as_bytes()).unwrap();
            // PKCS#8: the private key is an OCTET STRING of 32 bytes.
            let at = der.windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
            self.bytes(Kind::Secret, &der[at..at + 32]);
        }
    }

    pub fn identifier(&mut self, text: &str) {
        self.add(Kind::Identifier, text.as_bytes().to_vec());
        self.add(
            Kind::Identifier,
            HEXLOWER.encode(text.as_bytes()).into_bytes(),
        );
    }

    pub fn pseudonym(&mut self, text: &str, bytes: &[u8]) {
        self.add(Kind::Pseudonym, text.as_bytes().to_vec());
        self.bytes(Kind::Pseudonym, bytes);
    }

    /// A person in a domain, with every value on the way to the pseudonym; the pseudonym's text
    /// comes back.
    pub fn person(
        &mut self,
        roots: &Roots,
        scheme: &str,
        value: &str,
        place: &Place<'_>,
    ) -> String {
        let input = json!({"identity_secret": roots.identity, "sector_secret": roots.sector, "path": place.path,
            "epoch": place.epoch, "controller": place.controller, "purpose": place.purpose, "period": "",
            "scheme": scheme, "value": value, "tag": place.tag});
        let output = cloison::cli::spec::derive(input.to_string().as_bytes()).unwrap();
        let output: Value = serde_json::from_str(&output).unwrap();
        let text = |name: &str| output[name].as_str().unwrap().to_owned();
        let form = output["text"][place.form].as_str().unwrap().to_owned();
        let bytes = match place.form {
            "uuid" => form.replace('-', ""),
            _ => text("pseudonym"),
        };
        self.identifier(value);
        self.pseudonym(&form, &HEXLOWER.decode(bytes.as_bytes()).unwrap());
        self.bytes(Kind::Uti, &HEXLOWER.decode(text("uti").as_bytes()).unwrap());
        self.bytes(
            Kind::Handle,
            &HEXLOWER.decode(text("person_handle").as_bytes()).unwrap(),
        );
        let path = output["k_path"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_str().unwrap().to_owned());
        for key in ["prk_id", "k_uti", "prk_sec", "k_domain"]
            .map(text)
            .into_iter()
            .chain(path)
        {
            self.bytes(Kind::Secret, &HEXLOWER.decode(key.as_bytes()).unwrap());
        }
        form
    }

    /// Bytes as they are, in hexadecimal digits and in both alphabets of base64 (what does not
    /// depend on what follows).
    fn bytes(&mut self, kind: Kind, bytes: &[u8]) {
        let thirds = &bytes[..bytes.len() / 3 * 3];
        self.add(kind, bytes.to_vec());
        self.add(kind, HEXLOWER.encode(bytes).into_bytes());
        self.add(kind, BASE64URL_NOPAD.encode(thirds).into_bytes());
        self.add(kind, BASE64.encode(thirds).into_bytes());
    }

    fn add(&mut self, kind: Kind, needle: Vec<u8>) {
        let head: [u8; HEAD] = needle[..HEAD]
            .try_into()
            .expect("a needle is longer than this");
        let same = self.by_head.entry(head).or_default();
        if same.iter().any(|at| self.needles[*at as usize].0 == needle) {
            return;
        }
        same.push(self.needles.len() as u32);
        self.begins[first_three(&needle)] = true;
        self.needles.push((needle, kind));
    }

    /// What stands in these bytes, by kind: where, in order.
    pub fn find(&self, bytes: &[u8]) -> Vec<(usize, Kind)> {
        let mut found = vec![];
        for (at, head) in bytes.windows(HEAD).enumerate() {
            if !self.begins[first_three(head)] {
                continue;
            }
            let head: &[u8; HEAD] = head.try_into().unwrap();
            for needle in self.by_head.get(head).into_iter().flatten() {
                let (needle, kind) = &self.needles[*needle as usize];
                if bytes[at..].starts_with(needle) {
                    found.push((at, *kind));
                }
            }
        }
        found
    }

    /// Fails where one of these bytes' holders shows anything but what it may.
    pub fn assert_absent(&self, place: &str, bytes: &[u8], allowed: &[Kind]) {
        let found: Vec<_> = self
            .find(bytes)
            .into_iter()
            .filter(|(_, kind)| !allowed.contains(kind))
            .collect();
        assert!(
            found.is_empty(),
            "{place} shows (offset, what): {:?}",
            &found[..found.len().min(8)]
        );
    }

    /// How many different needles of a kind stand in these bytes: proof that the search finds what
    /// is there.
    pub fn count(&self, bytes: &[u8], kind: Kind) -> usize {
        self.find(bytes)
            .iter()
            .filter(|(_, found)| *found == kind)
            .count()
    }
}

fn first_three(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// The two roots of every pseudonym, in hexadecimal digits.
pub struct Roots {
    pub identity: String,
    pub sector: String,
}

impl Roots {
    /// Those of a deployment: what only the vault may hold.
    pub fn of(deployment: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(deployment.join("secrets/vault").join(path)).unwrap();
            text.trim_end().rsplit(':').next().unwrap().to_owned()
        };
        Self {
            identity: read("identity.secret"),
            sector: read("sector/1.secret"),
        }
    }
}
