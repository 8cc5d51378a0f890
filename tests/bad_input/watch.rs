//! Keeps book of what was refused, and at the end holds the processes to it: no word of it
//! anywhere, an entry for each in the audit log and none beside, and nothing else left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{Deref, DerefMut};

use cloison::clock::day_of;
use cloison::store::OrderKey;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::common::{Door, Reply, Side, World, batch_path, files, request};

/// Who was refused what, and why: side, actor, operation, code.
type Refusal = (&'static str, String, String, String);

pub struct Watch {
    world: World,
    refused: BTreeMap<Refusal, u64>,
    /// Entries that may turn up or not.
    perhaps: BTreeSet<Refusal>,
    secrets: Vec<String>,
}

/// What may be left when all is over.
#[derive(Default)]
pub struct Left<'a> {
    /// Mappings in the vault's store.
    pub mappings: usize,
    /// Items that count against quotas: organisation and how many. Everybody else has none.
    pub quota: &'a [(&'a str, u64)],
    /// Orders that were used, and how many pseudonyms are counted for each at the vault.
    pub orders: &'a [(Uuid, usize)],
    /// Orders that must not have left anything.
    pub unused: &'a [Uuid],
}

impl Deref for Watch {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Watch {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Watch {
    pub fn new(world: World) -> Self {
        Self {
            world,
            refused: BTreeMap::new(),
            perhaps: BTreeSet::new(),
            secrets: Vec::new(),
        }
    }

    /// Advances a sector's epoch, on a version of the sector secret that is made for it: the first
    /// call is refused until the version is confirmed.
    pub fn advance_on_own_secret(&mut self, sector: &str) -> u64 {
        let vault = (Side::Vault, "operator", "epoch-advance");
        self.entry(vault.0, vault.1, vault.2, "secret-unconfirmed");
        self.world.advance(sector, true)
    }

    /// Notes a text about a person, an identifier or a pseudonym, that must turn up nowhere.
    pub fn secret<T: AsRef<str>>(&mut self, text: T) -> T {
        let plain = text.as_ref();
        if !self.secrets.iter().any(|known| known == plain) {
            self.secrets.push(plain.to_owned());
        }
        text
    }

    pub fn secrets<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            self.secret(text.as_ref());
        }
    }

    /// A refused request: status and code, nothing told, and an entry that must turn up.
    #[track_caller]
    pub fn refused(
        &mut self,
        (side, actor, operation): (Side, &str, &str),
        reply: &Reply,
        status: u16,
        code: &str,
    ) {
        self.unlogged(reply, status, code);
        self.entry(side, actor, operation, code);
    }

    /// The same where nobody logs it.
    #[track_caller]
    pub fn unlogged(&mut self, reply: &Reply, status: u16, code: &str) {
        assert_eq!(
            (reply.code().as_str(), reply.status),
            (code, status),
            "{}",
            reply.text()
        );
        let raw = String::from_utf8_lossy(&reply.raw);
        for secret in &self.secrets {
            assert!(
                mentions(&raw, secret).is_none(),
                "the answer tells about a person: {raw}"
            );
        }
    }

    /// An entry about a refusal that must turn up.
    pub fn entry(&mut self, side: Side, actor: &str, operation: &str, code: &str) {
        *self
            .refused
            .entry((name(side), actor.into(), operation.into(), code.into()))
            .or_default() += 1;
    }

    /// An entry of which at most one may turn up: nobody waited for the refusal.
    pub fn perhaps(&mut self, side: Side, actor: &str, operation: &str, code: &str) {
        self.perhaps
            .insert((name(side), actor.into(), operation.into(), code.into()));
    }

    /// A refused batch in JSON, as these very bytes.
    #[track_caller]
    pub fn refuse_json(
        &mut self,
        client: &str,
        sector: &str,
        body: &[u8],
        status: u16,
        code: &str,
    ) {
        let reply = self.world.post(
            client,
            Door::Data,
            &batch_path(sector),
            "application/json",
            body,
        );
        self.refused((Side::Vault, client, "tokenize"), &reply, status, code);
    }

    /// A refused batch with everything chosen.
    #[track_caller]
    pub fn refuse(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        status: u16,
        code: &str,
    ) {
        let reply = self.world.send(
            "cnss-health",
            Door::Data,
            &request("POST", path, headers, body),
        );
        self.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            status,
            code,
        );
    }

    /// Ends both processes and looks at what is left.
    #[track_caller]
    pub fn finish(mut self, left: Left<'_>) -> World {
        self.world.stop();
        for side in [Side::Vault, Side::Node] {
            let log = self.world.log(side);
            assert!(log.contains("serves"), "{side:?} logs");
            let told = self
                .secrets
                .iter()
                .find_map(|secret| mentions(&log, secret));
            assert!(told.is_none(), "{side:?} logged: {}", told.unwrap());
        }
        for file in files(&self.world.path("data")) {
            let bytes = fs::read(&file).unwrap();
            let found = self
                .secrets
                .iter()
                .find(|secret| contains(&bytes, secret.as_bytes()));
            assert!(
                found.is_none(),
                "{} holds {}",
                file.display(),
                found.unwrap()
            );
        }
        self.check_entries();
        self.check_store(&left);
        self.world
    }

    #[track_caller]
    fn check_entries(&self) {
        let mut found: BTreeMap<Refusal, u64> = BTreeMap::new();
        for side in [Side::Vault, Side::Node] {
            for entry in self
                .world
                .entries(side)
                .iter()
                .filter(|entry| entry["event"] == "refuse")
            {
                let text = |member: &str| entry[member].as_str().unwrap().to_owned();
                let count = entry["count"].as_u64().unwrap();
                assert!(count > 0, "{entry}");
                *found
                    .entry((name(side), text("actor"), text("operation"), text("code")))
                    .or_default() += count;
            }
        }
        // What the node asks of its own accord, now and then, is refused as often as it asks. So is
        // its first release after the vault was started anew, which has it cosign the vault's log.
        found.retain(|(_, _, operation, code), _| {
            operation != "exchange" && code != "cosignature-missing"
        });
        for refusal in &self.perhaps {
            if found.get(refusal) == Some(&(self.refused.get(refusal).unwrap_or(&0) + 1)) {
                let count = found.remove(refusal).unwrap() - 1;
                if count > 0 {
                    found.insert(refusal.clone(), count);
                }
            }
        }
        assert_eq!(
            found, self.refused,
            "(left: entries in the logs; right: what was refused)"
        );
    }

    #[track_caller]
    fn check_store(&self, left: &Left<'_>) {
        assert_eq!(
            self.world.mappings(),
            left.mappings,
            "mappings in the store"
        );
        let register = self.world.register();
        let store = self.world.store(Side::Vault);
        let today = day_of(Timestamp::now());
        for organisation in register.organisations.keys() {
            let wanted = left
                .quota
                .iter()
                .find(|(id, _)| *id == organisation.as_str())
                .map_or(0, |(_, items)| *items);
            // The test may run over midnight.
            let used: u64 = [today - 1, today]
                .map(|day| store.quota_used(organisation.as_str(), day).unwrap())
                .iter()
                .sum();
            assert_eq!(used, wanted, "items counted for {organisation}");
        }
        for (order, counted) in left.orders {
            let order = OrderKey::new("court", *order);
            assert!(
                store.order_digest(&order).unwrap().is_some(),
                "a used order is pinned"
            );
            assert_eq!(
                store.order_pairs(&order).unwrap().len(),
                *counted,
                "pseudonyms counted for an order"
            );
        }
        drop(store);
        for side in [Side::Vault, Side::Node] {
            let store = self.world.store(side);
            for order in left.unused {
                let order = OrderKey::new("court", *order);
                assert_eq!(
                    store.order_digest(&order).unwrap(),
                    None,
                    "{side:?} pinned an order that it refused"
                );
                assert!(
                    store.order_pairs(&order).unwrap().is_empty(),
                    "{side:?} counted for an order that it refused"
                );
            }
        }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Vault => "vault",
        Side::Node => "node",
    }
}

/// The line that holds a secret, as it is, in the other case, in hexadecimal or as a list of bytes.
pub fn mentions<'t>(text: &'t str, secret: &str) -> Option<&'t str> {
    let hex = data_encoding::HEXLOWER.encode(secret.as_bytes());
    let list: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    let forms = [
        secret.to_owned(),
        secret.to_ascii_lowercase(),
        secret.to_ascii_uppercase(),
        hex,
        list.join(", "),
    ];
    let form = forms.iter().find(|form| text.contains(form.as_str()))?;
    text.lines().find(|line| line.contains(form.as_str()))
}

pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    // Searching for the first byte first is what makes this fast enough for files of many
    // megabytes.
    let first = wanted[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// The items of an answer as texts; those that are `null` as nothing.
pub fn items(answer: &Value) -> Vec<Option<&str>> {
    answer["pseudonyms"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::as_str)
        .collect()
}
