//! The demo's steps, in the order in which they are shown.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indicatif::{HumanCount, ProgressBar};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{DemoOutcome, cards};
use crate::client::Client;
use crate::client::officer::{OfficerCall, OfficerCallError};
use crate::clock::{Clock as _, SystemClock};
use crate::deployment::register_text::{APPROVERS, DEMO, OFFICER, OPERATOR};
use crate::deployment::{DeploymentPlan, ListenPlan, make};
use crate::epoch::AdvanceEpochRequest;
use crate::load::local::{LocalDeployment, free_ports};
use crate::load::orders::{CaseOrder, made_up_id, person_key};
use crate::register::{Register, Sector};
use crate::reidentify::reveal::{ReidentifyResponse, RevealedItem};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, open_client, print, progress, transfer_progress};
use crate::transfer::input::{DigestInput, InputForm, read_batches};
use crate::transfer::output::StreamSink;
use crate::transfer::resume::{TransferJob, TransferProgress};
use crate::transfer::tokenize::{TokenizeQuery, Tokenizer};
use crate::transfer::{self, TransferTotals, Waits};

/// A sector that is shown, and the client that tokenizes in it.
#[derive(Clone, Copy)]
struct ShownSector {
    name: &'static str,
    client: &'static str,
    purpose: &'static str,
}

const SECTORS: [ShownSector; 3] = [
    ShownSector {
        name: SHOWN,
        client: "cnss-health",
        purpose: "billing",
    },
    ShownSector {
        name: "tax",
        client: "dgi-tax",
        purpose: "assessment",
    },
    ShownSector {
        name: "social",
        client: "rsu-social",
        purpose: "aid",
    },
];
/// The sector in which a person is re-identified.
const SHOWN: &str = "health";
const SCHEME: &str = "cnie";
const BATCH: usize = 10_000;

/// A running vault and node, and the persons of the demo.
pub struct Demo {
    local: LocalDeployment,
    persons: u64,
    /// Whether an identity source has the identity secret.
    is_split: bool,
    quiet: bool,
    register: Register,
}

impl Demo {
    /// Makes keys, certificates and register, and starts both processes.
    ///
    /// # Errors
    /// When the folder cannot be filled, or a process does not start.
    pub fn set_up(
        persons: u64,
        keep: Option<PathBuf>,
        is_split: bool,
        quiet: bool,
    ) -> Result<Self, CommandError> {
        let local = LocalDeployment::new(keep)?;
        let [data, control, health, node_data, node_control, node_health] = free_ports()?;
        let identity = is_split.then(free_ports).transpose()?;
        let plan = DeploymentPlan {
            deployment: "demo".to_owned(),
            facts: &DEMO,
            vault: ListenPlan::new(Vec::new(), [data, control, health]),
            node: ListenPlan::new(Vec::new(), [node_data, node_control, node_health]),
            witness: None,
            identity: identity.map(|ports| ListenPlan::new(Vec::new(), ports)),
            years: 1,
            example: false,
            custodians: None,
        };
        let made = make(local.folder(), &plan)?;
        let folder = local.folder();
        for name in ["logs", "output"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(|error| CommandError::file(&path, &error))?;
        }
        let cards_path = folder.join("input/cards.txt");
        fs::write(&cards_path, cards::lines(persons))
            .map_err(|error| CommandError::file(&cards_path, &error))?;
        let text = read_text(&folder.join("register.toml"))?;
        let register = crate::register::parse(&text)
            .map_err(|_| wrong("the register that was just made has faults"))?;
        let demo = Self {
            local,
            persons,
            is_split,
            quiet,
            register,
        };
        demo.say(format_args!(
            "Keys      {} secrets, a register signed by two keys, certificates",
            made.secrets.len()
        ))?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Some([.., health]) = identity {
            let command = ["identity", "serve"];
            demo.start("identity", &command, "identity.toml", at(health))?;
        }
        demo.start("vault", &["serve"], "vault.toml", at(health))?;
        demo.start(
            "authority",
            &["authority", "serve"],
            "node.toml",
            at(node_health),
        )?;
        demo.say(if is_split {
            "Running   the identity source, the vault and the authority node: three processes, mutual TLS, each with its own keys;\n          \
             the vault has no copy of the identity secret"
        } else {
            "Running   the vault and the authority node: two processes, mutual TLS, each with its own keys"
        })?;
        Ok(demo)
    }

    fn start(
        &self,
        name: &'static str,
        command: &[&str],
        config: &str,
        health: SocketAddr,
    ) -> Result<(), CommandError> {
        let config = self.path(config);
        let config = config.to_str().ok_or_else(|| {
            CommandError::usage("the folder's name is not UTF-8", "choose another one")
        })?;
        self.local
            .start(name, &[command, &["--config", config]].concat(), health)
            .map(|_| ())
    }

    /// Shows everything after the start.
    pub fn play(&self) -> Result<DemoOutcome, CommandError> {
        let person = (self.persons / 2) as usize;
        let (tokens, seconds) = self.show_tokenizing()?;
        let cross_sector_collisions = self.show_separation(person)?;
        self.tokenize(".again")?;
        let repeat_identical = self.repeated()?;
        self.say("Repeated  the same people have the same pseudonyms")?;

        let card = self.line("input/cards.txt", person)?;
        let pseudonym = self.line(&format!("output/{SHOWN}.txt"), person)?;
        let reidentified = self.resolves("order", std::slice::from_ref(&pseudonym), &card)?;
        self.say(format_args!(
            "Opened    under an order signed by a judge and a prosecutor, {pseudonym} is {card}"
        ))?;
        let refused = self.refusals(&pseudonym)?;
        self.say(format_args!(
            "Refused   one signature missing: {}; expired: {}",
            refused[0], refused[1]
        ))?;

        let (epoch_before, epoch_after) = self.advance()?;
        let renewed = self.tokenize_one(person)?;
        let old_epoch_resolved =
            renewed != pseudonym && self.resolves("order-epochs", &[pseudonym, renewed], &card)?;
        self.say(format_args!(
            "Advanced  {SHOWN} from epoch {epoch_before} to {epoch_after}: new pseudonyms, and the old ones still open"
        ))?;

        let outcome = DemoOutcome {
            persons: self.persons,
            sectors: SECTORS.len(),
            tokens,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
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

    /// How many pseudonyms were made, and in how many seconds.
    fn show_tokenizing(&self) -> Result<(u64, f64), CommandError> {
        let seconds = self.tokenize("")?;
        let tokens = self.persons * SECTORS.len() as u64;
        let made = HumanCount(tokens);
        let rate = HumanCount((tokens as f64 / seconds) as u64);
        self.say(format_args!(
            "Tokenized {made} pseudonyms in {} sectors, {rate} a second",
            SECTORS.len()
        ))?;
        Ok((tokens, seconds))
    }

    /// How many pseudonyms occur in more than one sector.
    fn show_separation(&self, person: usize) -> Result<u64, CommandError> {
        let collisions = self.collisions()?;
        self.say("Separate  the same person has nothing in common in:")?;
        for ShownSector { name: sector, .. } in SECTORS {
            self.say(format_args!(
                "            {sector:<8} {}",
                self.line(&format!("output/{sector}.txt"), person)?
            ))?;
        }
        self.say(format_args!(
            "          {collisions} pseudonyms occur in two sectors"
        ))?;
        Ok(collisions)
    }

    /// The sector's epochs before and after an operator advanced it.
    fn advance(&self) -> Result<(u32, u32), CommandError> {
        let operator = self.client(OPERATOR)?;
        let before = operator.epochs(SHOWN)?.current();
        let next = AdvanceEpochRequest {
            from: before,
            ..AdvanceEpochRequest::default()
        };
        Ok((before, operator.advance_epoch(SHOWN, &next)?.current()))
    }

    /// Sends all cards to each sector, and returns the seconds that it took.
    fn tokenize(&self, suffix: &str) -> Result<f64, CommandError> {
        let mut seconds = 0.0;
        let length =
            fs::metadata(self.path("input/cards.txt")).map_or(0, |metadata| metadata.len());
        for sector in SECTORS {
            let again = if suffix.is_empty() { "" } else { "again" };
            let bar = progress(Some(length)).with_prefix(format!("{:<7}{again:<6}", sector.name));
            let output = self.path(&format!("output/{}{suffix}.txt", sector.name));
            let totals = self.send(sector, &self.path("input/cards.txt"), &output, &bar)?;
            bar.finish_and_clear();
            if totals.rejections() > 0 || totals.items != self.persons {
                return Err(wrong("the vault rejected valid cards"));
            }
            seconds += totals.elapsed.as_secs_f64();
        }
        Ok(seconds)
    }

    /// One person's pseudonym in the current epoch.
    fn tokenize_one(&self, person: usize) -> Result<String, CommandError> {
        let (input, output) = (self.path("input/one.txt"), self.path("output/renewed.txt"));
        fs::write(&input, self.line("input/cards.txt", person)? + "\n")
            .map_err(|error| CommandError::file(&input, &error))?;
        self.send(SECTORS[0], &input, &output, &ProgressBar::hidden())?;
        self.line("output/renewed.txt", 0)
    }

    fn send(
        &self,
        sector: ShownSector,
        input: &Path,
        output: &Path,
        bar: &ProgressBar,
    ) -> Result<TransferTotals, CommandError> {
        let query = TokenizeQuery {
            sector: sector.name.into(),
            scheme: SCHEME.into(),
            purpose: Some(sector.purpose.into()),
            ..TokenizeQuery::default()
        };
        let client = &self.client(sector.client)?;
        let input = File::open(input).map_err(|error| CommandError::file(input, &error))?;
        let file = File::create(output).map_err(|error| CommandError::file(output, &error))?;
        let mut sink = StreamSink(BufWriter::new(file));
        let mut done = TransferProgress::begin(TransferJob::default());
        let (mut tell, never) = (transfer_progress(bar), AtomicBool::new(false));
        transfer::run(
            &read_batches(DigestInput::new(input), InputForm::Lines, BATCH, 0),
            &mut Tokenizer::new(client, &query),
            &mut sink,
            &mut done,
            Waits::new(&mut tell, &never),
        )?;
        sink.0
            .flush()
            .map_err(|error| CommandError::file(output, &error))?;
        Ok(done.totals)
    }

    /// How many pseudonyms (as 16 bytes, whatever their text form) occur in more than one sector.
    fn collisions(&self) -> Result<u64, CommandError> {
        let mut all = Vec::with_capacity(self.persons as usize * SECTORS.len());
        for ShownSector { name, .. } in SECTORS {
            let sector = self.sector(name)?;
            let path = self.path(&format!("output/{name}.txt"));
            let text =
                fs::read_to_string(&path).map_err(|error| CommandError::file(&path, &error))?;
            let mut own = Vec::with_capacity(self.persons as usize);
            for line in text.lines() {
                let parsed = crate::pseudonym::parse(sector.text_form, &sector.tag, line);
                own.push(
                    *parsed
                        .map_err(|_| wrong("a pseudonym cannot be parsed"))?
                        .pseudonym
                        .as_bytes(),
                );
            }
            own.sort_unstable();
            own.dedup();
            if own.len() as u64 != self.persons {
                return Err(wrong("two persons have the same pseudonym"));
            }
            all.append(&mut own);
        }
        all.sort_unstable();
        let before = all.len();
        all.dedup();
        Ok((before - all.len()) as u64)
    }

    fn repeated(&self) -> Result<bool, CommandError> {
        for ShownSector { name: sector, .. } in SECTORS {
            let read =
                |path: PathBuf| fs::read(&path).map_err(|error| CommandError::file(&path, &error));
            if read(self.path(&format!("output/{sector}.txt")))?
                != read(self.path(&format!("output/{sector}.again.txt")))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether all of `pseudonyms` lead to `card`, under a new order for just these.
    fn resolves(
        &self,
        order: &str,
        pseudonyms: &[String],
        card: &str,
    ) -> Result<bool, CommandError> {
        let now = SystemClock.now();
        let order = self.order(order, pseudonyms, now, now + 24.hours(), &[0, 2])?;
        let answer = self.ask(&order, pseudonyms)??;
        let is_card = |item: &&RevealedItem| matches!(item, RevealedItem::Identifier { value, .. } if *value.0 == card);
        let found = answer.items.iter().filter(is_card).count();
        Ok(found == pseudonyms.len() && answer.items.len() == found)
    }

    /// Makes the attempts that must be refused, and returns the codes of the refusals.
    fn refusals(&self, pseudonym: &String) -> Result<Vec<String>, CommandError> {
        let now = SystemClock.now();
        let asked = std::slice::from_ref(pseudonym);
        let attempts = [
            self.order("order-one-signature", asked, now, now + 24.hours(), &[0])?,
            self.order(
                "order-expired",
                asked,
                now - 48.hours(),
                now - 24.hours(),
                &[0, 2],
            )?,
        ];
        attempts
            .iter()
            .map(|order| match self.ask(order, asked)? {
                Ok(_) => Err(wrong("an order that must be refused was executed")),
                Err(OfficerCallError::Node(error)) if error.code().is_some() => Ok(error
                    .code()
                    .map(|code| code.as_str().to_owned())
                    .unwrap_or_default()),
                Err(error) => Err(error.into()),
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
    ) -> Result<String, CommandError> {
        let whole = |time: Timestamp| {
            time.round(jiff::Unit::Second)
                .map_err(|_| wrong("the time is out of range"))
        };
        let order = CaseOrder {
            deployment: self.register.deployment.as_str(),
            case: "RABAT/2026/1",
            purpose: "investigation",
            sector: SHOWN,
            pseudonyms,
            // One second earlier, because rounding could put it into the future.
            not_before: whole(not_before)? - SignedDuration::from_secs(1),
            not_after: whole(not_after)?,
        };
        let approvers: Vec<&str> = approvers
            .iter()
            .map(|approver| APPROVERS[*approver].id)
            .collect();
        let text = order.sign(self.local.folder(), &approvers)?;
        let path = self.path(&format!("orders/{name}.jws"));
        fs::write(&path, &text).map_err(|error| CommandError::file(&path, &error))?;
        Ok(text)
    }

    /// The node's answer or its refusal.
    fn ask(
        &self,
        order: &str,
        pseudonyms: &[String],
    ) -> Result<Result<ReidentifyResponse, OfficerCallError>, CommandError> {
        let (key, officer) = (
            person_key(self.local.folder(), OFFICER)?,
            made_up_id(OFFICER)?,
        );
        let call = OfficerCall {
            order,
            officer: &officer,
            key: &key,
            sector: SHOWN,
            pseudonyms,
        };
        Ok(call.reidentify(&self.client(OFFICER)?, SystemClock.now()))
    }

    fn client(&self, name: &str) -> Result<Client, CommandError> {
        open_client(&self.path(&format!("clients/{name}.toml")))
    }

    fn sector(&self, name: &str) -> Result<&Arc<Sector>, CommandError> {
        self.register
            .sector(name)
            .ok_or_else(|| wrong("the register lacks a sector"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.local.folder().join(path)
    }

    fn line(&self, path: &str, n: usize) -> Result<String, CommandError> {
        use std::io::BufRead as _;
        let path = self.path(path);
        let file = File::open(&path).map_err(|error| CommandError::file(&path, &error))?;
        let line = std::io::BufReader::new(file)
            .lines()
            .nth(n)
            .and_then(Result::ok);
        line.ok_or_else(|| wrong("an answer is missing"))
    }

    fn say(&self, line: impl std::fmt::Display) -> Result<(), CommandError> {
        if self.quiet { Ok(()) } else { print(line) }
    }

    /// The commands with which to go on in a kept folder.
    pub fn by_hand(&self) -> String {
        let dir = self.local.folder().display();
        format!(
            "Everything is in {dir}. To go on by hand:\n  \
             {identity}cloison serve --config {dir}/vault.toml &\n  \
             cloison authority serve --config {dir}/node.toml &\n  \
             cloison client tokenize --client {dir}/clients/dgi-tax.toml --sector tax --scheme cnie --purpose assessment \
             < {dir}/input/cards.txt | head\n  \
             cloison epoch list --client {dir}/clients/operator.toml --sector {SHOWN}\n  \
             cloison order show {dir}/orders/order.jws\n  \
             cloison reidentify --order {dir}/orders/order.jws --key {dir}/secrets/people/{OFFICER}.pem \
             --client {dir}/clients/{OFFICER}.toml $(sed -n {line}p {dir}/output/{SHOWN}.txt)",
            line = self.persons / 2 + 1,
            identity = if self.is_split {
                format!("cloison identity serve --config {dir}/identity.toml &\n  ")
            } else {
                String::new()
            },
        )
    }
}

impl DemoOutcome {
    /// Fails when a result is not what the demo says.
    fn check(&self) -> Result<(), CommandError> {
        for (holds, what) in [
            (
                self.repeat_identical,
                "the same batch gave other pseudonyms",
            ),
            (
                self.cross_sector_collisions == 0,
                "sectors share pseudonyms",
            ),
            (self.reidentified, "the order did not lead to the person"),
            (
                self.refused == ["order-quorum", "order-expired"],
                "an attempt was refused for another reason",
            ),
            (
                self.epoch_after == self.epoch_before + 1,
                "the epoch did not advance",
            ),
            (
                self.old_epoch_resolved,
                "the old epoch's pseudonym did not lead to the person",
            ),
        ] {
            if !holds {
                return Err(wrong(what));
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> CommandError {
    CommandError::new(
        what,
        "report this as a bug of cloison, with the logs of `cloison demo --keep DIR`",
    )
}
