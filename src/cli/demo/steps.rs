//! The demo's steps, in the order in which they are shown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{HumanCount, ProgressBar};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::stage::{Stage, free_ports};
use super::{Outcome, cards};
use crate::cli::client::{self, Target};
use crate::cli::init::register_text::{APPROVERS, AUTHORITY, DEMO, OFFICER, OPERATOR};
use crate::cli::init::{Place, Plan, make};
use crate::cli::reidentify::{Asking, Opened, ask};
use crate::cli::{Error, epoch, print, remote};
use crate::client::{Client, ClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::epoch::Advance;
use crate::keys::file::read_signing_key;
use crate::order::{Basis, ORDER_TYP, Payload, Scope};
use crate::register::{Id, Register, Sector};

/// The sectors that are shown: name, client, purpose.
const SECTORS: [(&str, &str, &str); 3] =
    [("health", "cnss-health", "billing"), ("tax", "dgi-tax", "assessment"), ("social", "rsu-social", "aid")];
/// The sector in which somebody is re-identified.
const SHOWN: &str = "health";
const SCHEME: &str = "cnie";
const BATCH: usize = 10_000;

/// A running vault and node, and who plays with them.
pub struct Demo {
    stage: Stage,
    persons: u64,
    quiet: bool,
    register: Register,
}

impl Demo {
    /// Makes keys, certificates and register, and starts both processes.
    pub fn set_up(persons: u64, keep: Option<PathBuf>, quiet: bool) -> Result<Self, Error> {
        let stage = Stage::new(keep)?;
        let [data, control, health, node_data, node_control, node_health] = free_ports()?;
        let plan = Plan {
            deployment: "demo".to_owned(),
            facts: &DEMO,
            vault: Place::new(Vec::new(), [data, control, health]),
            node: Place::new(Vec::new(), [node_data, node_control, node_health]),
            years: 1,
            example: false,
            custodians: None,
        };
        let made = make(stage.folder(), &plan)?;
        let folder = stage.folder();
        for name in ["logs", "output"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(|error| Error::file(&path, &error))?;
        }
        let cards_path = folder.join("input/cards.txt");
        fs::write(&cards_path, cards::lines(persons)).map_err(|error| Error::file(&cards_path, &error))?;
        let text = crate::cli::read_text(&folder.join("register.toml"))?;
        let register =
            crate::register::parse(&text).map_err(|_| wrong("the register that was just made has faults"))?;
        let demo = Self { stage, persons, quiet, register };
        demo.say(format_args!(
            "Keys      {} secrets, a register signed by two keys, certificates",
            made.secrets.len()
        ))?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        demo.start("vault", &["serve"], "vault.toml", at(health))?;
        demo.start("authority", &["authority", "serve"], "node.toml", at(node_health))?;
        demo.say("Running   the vault and the authority node: two processes, mutual TLS, each with its own keys")?;
        Ok(demo)
    }

    fn start(&self, name: &'static str, command: &[&str], config: &str, health: SocketAddr) -> Result<(), Error> {
        let config = self.path(config);
        let config =
            config.to_str().ok_or_else(|| Error::usage("the folder's name is not UTF-8", "choose another one"))?;
        self.stage.start(name, &[command, &["--config", config]].concat(), health).map(|_| ())
    }

    /// Everything after the start.
    pub fn play(&self) -> Result<Outcome, Error> {
        let seconds = self.tokenize("")?;
        let tokens = self.persons * SECTORS.len() as u64;
        let tokens_per_second = tokens as f64 / seconds;
        let made = HumanCount(tokens);
        let rate = HumanCount(tokens_per_second as u64);
        self.say(format_args!("Tokenized {made} pseudonyms in {} sectors, {rate} a second", SECTORS.len()))?;

        let person = (self.persons / 2) as usize;
        let cross_sector_collisions = self.collisions()?;
        self.say("Separate  the same person has nothing in common in:")?;
        for (sector, ..) in SECTORS {
            self.say(format_args!("            {sector:<8} {}", self.line(&format!("output/{sector}.txt"), person)?))?;
        }
        self.say(format_args!("          {cross_sector_collisions} pseudonyms occur in two sectors"))?;

        self.tokenize(".again")?;
        let repeat_identical = self.repeated()?;
        self.say("Repeated  the same people have the same pseudonyms")?;

        let card = self.line("input/cards.txt", person)?;
        let pseudonym = self.line(&format!("output/{SHOWN}.txt"), person)?;
        let reidentified = self.resolves("order", std::slice::from_ref(&pseudonym), &card)?;
        self.say(format_args!("Opened    under an order signed by a judge and a prosecutor, {pseudonym} is {card}"))?;
        let refused = self.refusals(&pseudonym)?;
        self.say(format_args!("Refused   one signature missing: {}; expired: {}", refused[0], refused[1]))?;

        let operator = self.client(OPERATOR)?;
        let epoch_before = epoch::list(&operator, SHOWN)?.current();
        let epoch_after =
            epoch::advance(&operator, SHOWN, &Advance { from: epoch_before, ..Advance::default() })?.current();
        let renewed = self.tokenize_one(person)?;
        let old_epoch_resolved = renewed != pseudonym && self.resolves("order-epochs", &[pseudonym, renewed], &card)?;
        self.say(format_args!(
            "Advanced  {SHOWN} from epoch {epoch_before} to {epoch_after}: new pseudonyms, and the old ones still open"
        ))?;

        let outcome = Outcome {
            persons: self.persons,
            sectors: SECTORS.len(),
            tokens,
            seconds,
            tokens_per_second,
            repeat_identical,
            cross_sector_collisions,
            reidentified,
            refused,
            epoch_before,
            epoch_after,
            old_epoch_resolved,
        };
        outcome.check()?;
        Ok(outcome)
    }

    /// Sends all cards to each sector; the seconds that it took.
    fn tokenize(&self, suffix: &str) -> Result<f64, Error> {
        let mut seconds = 0.0;
        let length = fs::metadata(self.path("input/cards.txt")).map_or(0, |metadata| metadata.len());
        for (sector, name, purpose) in SECTORS {
            let bar = client::progress(Some(length));
            let again = if suffix.is_empty() { "" } else { "again" };
            let bar = bar.with_prefix(format!("{sector:<7}{again:<6}"));
            let output = self.path(&format!("output/{sector}{suffix}.txt"));
            let target = (self.client(name)?, client::path(sector, SCHEME, Some(purpose), false));
            let totals = self.send(&target, &self.path("input/cards.txt"), &output, &bar)?;
            bar.finish_and_clear();
            if totals.rejected > 0 || totals.items != self.persons {
                return Err(wrong("the vault rejected cards that are right"));
            }
            seconds += totals.elapsed.as_secs_f64();
        }
        Ok(seconds)
    }

    /// One person's pseudonym, now.
    fn tokenize_one(&self, person: usize) -> Result<String, Error> {
        let (sector, name, purpose) = SECTORS[0];
        let (input, output) = (self.path("input/one.txt"), self.path("output/renewed.txt"));
        fs::write(&input, self.line("input/cards.txt", person)? + "\n").map_err(|error| Error::file(&input, &error))?;
        let target = (self.client(name)?, client::path(sector, SCHEME, Some(purpose), false));
        self.send(&target, &input, &output, &ProgressBar::hidden())?;
        self.line("output/renewed.txt", 0)
    }

    fn send(
        &self,
        (client, path): &(Client, String),
        input: &Path,
        output: &Path,
        bar: &ProgressBar,
    ) -> Result<client::Totals, Error> {
        let input = File::open(input).map_err(|error| Error::file(input, &error))?;
        let mut file = BufWriter::new(File::create(output).map_err(|error| Error::file(output, &error))?);
        let totals = client::stream(&Target { client, path: path.clone() }, input, &mut file, BATCH, bar)?;
        file.flush().map_err(|error| Error::file(output, &error))?;
        Ok(totals)
    }

    /// How many pseudonyms, as the 16 bytes that they are, occur in more than one sector.
    fn collisions(&self) -> Result<u64, Error> {
        let mut all = Vec::with_capacity(self.persons as usize * SECTORS.len());
        for (name, ..) in SECTORS {
            let sector = self.sector(name)?;
            let path = self.path(&format!("output/{name}.txt"));
            let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, &error))?;
            let mut own = Vec::with_capacity(self.persons as usize);
            for line in text.lines() {
                let parsed = crate::pseudonym::parse(sector.text_form, &sector.tag, line);
                own.push(*parsed.map_err(|_| wrong("a pseudonym does not read back"))?.pseudonym.as_bytes());
            }
            own.sort_unstable();
            own.dedup();
            if own.len() as u64 != self.persons {
                return Err(wrong("two persons have one pseudonym"));
            }
            all.append(&mut own);
        }
        all.sort_unstable();
        let before = all.len();
        all.dedup();
        Ok((before - all.len()) as u64)
    }

    fn repeated(&self) -> Result<bool, Error> {
        for (sector, ..) in SECTORS {
            let read = |path: PathBuf| fs::read(&path).map_err(|error| Error::file(&path, &error));
            if read(self.path(&format!("output/{sector}.txt")))?
                != read(self.path(&format!("output/{sector}.again.txt")))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether all of `pseudonyms` lead to `card`, under a new order for just these.
    fn resolves(&self, order: &str, pseudonyms: &[String], card: &str) -> Result<bool, Error> {
        let now = SystemClock.now();
        let order = self.order(order, pseudonyms, now, now + 24.hours(), &[0, 2])?;
        let opened = self.ask(&order, pseudonyms)?.map_err(|error| remote::failed(&error))?;
        let found = opened.items.iter().filter(|item| item.value.as_deref() == Some(card)).count();
        Ok(found == pseudonyms.len() && opened.items.len() == found)
    }

    /// The attempts that must be refused, and the codes with which they were.
    fn refusals(&self, pseudonym: &String) -> Result<Vec<String>, Error> {
        let now = SystemClock.now();
        let asked = std::slice::from_ref(pseudonym);
        let attempts = [
            self.order("order-one-signature", asked, now, now + 24.hours(), &[0])?,
            self.order("order-expired", asked, now - 48.hours(), now - 24.hours(), &[0, 2])?,
        ];
        attempts
            .iter()
            .map(|order| match self.ask(order, asked)? {
                Ok(_) => Err(wrong("an order was executed that must be refused")),
                Err(error) => match error.code() {
                    Some(code) => Ok(code.as_str().to_owned()),
                    None => Err(remote::failed(&error)),
                },
            })
            .collect()
    }

    /// An order for these pseudonyms, signed by those of the approvers.
    fn order(
        &self,
        name: &str,
        pseudonyms: &[String],
        not_before: Timestamp,
        not_after: Timestamp,
        approvers: &[usize],
    ) -> Result<String, Error> {
        let id = |text: &str| Id::parse(text).ok_or_else(|| wrong("an id is none"));
        let whole = |time: Timestamp| time.round(jiff::Unit::Second).map_err(|_| wrong("the time is out of range"));
        let payload = Payload {
            aud: self.register.deployment.clone(),
            id: uuid::Builder::from_random_bytes(crate::clock::random()).into_uuid(),
            authority: id(AUTHORITY)?,
            basis: Basis::Judicial,
            case: "RABAT/2026/1".to_owned(),
            purpose: id("investigation")?,
            sectors: vec![SHOWN.to_owned()],
            scope: Scope::Listed(BTreeMap::from([(SHOWN.to_owned(), pseudonyms.to_vec())])),
            // A second back, so that rounding cannot put it into the future.
            not_before: whole(not_before)? - SignedDuration::from_secs(1),
            not_after: whole(not_after)?,
            officers: vec![id(OFFICER)?],
            inform_after: None,
        };
        let mut text = crate::jws::draft(&payload.write().map_err(|refusal| wrong(&refusal.to_string()))?);
        for approver in approvers {
            let kid = APPROVERS[*approver].id;
            let key = read_signing_key(&self.path(&format!("secrets/people/{kid}.pem")))
                .map_err(|error| Error::new(error, "the demo's folder was changed while it ran"))?;
            text = crate::jws::add_signature(&text, ORDER_TYP, kid, &key).map_err(|error| wrong(&error.to_string()))?;
        }
        let path = self.path(&format!("orders/{name}.jws"));
        fs::write(&path, &text).map_err(|error| Error::file(&path, &error))?;
        Ok(text)
    }

    fn ask(&self, order: &str, pseudonyms: &[String]) -> Result<Result<Opened, ClientError>, Error> {
        let key = read_signing_key(&self.path(&format!("secrets/people/{OFFICER}.pem")))
            .map_err(|error| Error::new(error, "the demo's folder was changed while it ran"))?;
        let officer = Id::parse(OFFICER).ok_or_else(|| wrong("an id is none"))?;
        ask(&self.client(OFFICER)?, &Asking { order, officer: &officer, key: &key, sector: SHOWN, pseudonyms })
    }

    fn client(&self, name: &str) -> Result<Client, Error> {
        remote::open(&self.path(&format!("clients/{name}.toml")))
    }

    fn sector(&self, name: &str) -> Result<&Arc<Sector>, Error> {
        self.register.sector(name).ok_or_else(|| wrong("the register lacks a sector"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.stage.folder().join(path)
    }

    fn line(&self, path: &str, n: usize) -> Result<String, Error> {
        use std::io::BufRead as _;
        let path = self.path(path);
        let file = File::open(&path).map_err(|error| Error::file(&path, &error))?;
        let line = std::io::BufReader::new(file).lines().nth(n).and_then(Result::ok);
        line.ok_or_else(|| wrong("an answer is missing"))
    }

    fn say(&self, line: impl std::fmt::Display) -> Result<(), Error> {
        if self.quiet { Ok(()) } else { print(line) }
    }

    /// How to go on in a kept folder.
    pub fn by_hand(&self) -> String {
        let dir = self.stage.folder().display();
        format!(
            "Everything is in {dir}. To go on by hand:\n  \
             cloison serve --config {dir}/vault.toml &\n  \
             cloison authority serve --config {dir}/node.toml &\n  \
             cloison client tokenize --client {dir}/clients/dgi-tax.toml --sector tax --scheme cnie --purpose assessment \
             < {dir}/input/cards.txt | head\n  \
             cloison epoch list --client {dir}/clients/operator.toml --sector {SHOWN}\n  \
             cloison order show {dir}/orders/order.jws\n  \
             cloison reidentify --order {dir}/orders/order.jws --key {dir}/secrets/people/{OFFICER}.pem \
             --client {dir}/clients/{OFFICER}.toml $(sed -n {line}p {dir}/output/{SHOWN}.txt)",
            line = self.persons / 2 + 1,
        )
    }
}

impl Outcome {
    /// A demo that shows something else than it says is a failure.
    fn check(&self) -> Result<(), Error> {
        for (holds, what) in [
            (self.repeat_identical, "the same batch gave other pseudonyms"),
            (self.cross_sector_collisions == 0, "sectors share pseudonyms"),
            (self.reidentified, "the order did not lead to the person"),
            (self.refused == ["order-quorum", "order-expired"], "an attempt was refused for another reason"),
            (self.epoch_after == self.epoch_before + 1, "the epoch did not advance"),
            (self.old_epoch_resolved, "the old epoch's pseudonym did not lead to the person"),
        ] {
            if !holds {
                return Err(wrong(what));
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> Error {
    Error::new(what, "report this as a fault of cloison, with the logs of `cloison demo --keep DIR`")
}
