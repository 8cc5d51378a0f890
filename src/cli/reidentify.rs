//! `cloison reidentify`: an officer executes an order.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::remote::{self, ClientFile};
use super::{Error, list, print, print_json};
use crate::client::{Client, ClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::keys::file::{read_signing_key, write_private};
use crate::order::{self, NewRequest, Payload};
use crate::refusal::Refusal;
use crate::register::Id;
use crate::reidentify::deliver::Sealed;

/// Ask, as an officer, who is behind pseudonyms, under a signed order
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison reidentify --order orders/17.jws --key secrets/people/officer.pem --client clients/officer.toml sante1p…\n  \
    cloison reidentify --order orders/17.jws --key officer.pem --sector health < pseudonyms.txt > persons.tsv\n  \
    cloison reidentify --order orders/17.jws --key officer.pem --to officer-key --out answers.age < pseudonyms.txt\n\n\
    Prints one line an item, in order: pseudonym, scheme and value, or `!` and a code. What is no pseudonym is not \
    repeated: the number of the item stands for it, such as #3. The vault and the authority node each check \
    the order and write to their logs before anything is opened. Exit codes: 0 all found; 3 some were not; 1 refused.")]
pub struct Args {
    /// The order, signed
    #[arg(long, value_name = "FILE")]
    order: PathBuf,
    /// The officer's own private key (PKCS#8 PEM, mode 0600), to sign this request
    #[arg(long, value_name = "FILE", env = "CLOISON_OFFICER_KEY")]
    key: PathBuf,
    /// The officer's id, where the order names several
    #[arg(long, value_name = "ID")]
    officer: Option<String>,
    /// The sector, where the order names several
    #[arg(long)]
    sector: Option<String>,
    /// How the answer comes: sealed to the key that the register has for the officer; needs --out
    #[arg(long, value_name = "TO", value_enum, requires = "out")]
    to: Option<To>,
    /// Where the sealed answer goes; an existing file is never overwritten
    #[arg(long, value_name = "FILE", requires = "to")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
    /// The pseudonyms; none: read from standard input, one a line
    pseudonyms: Vec<String>,
}

/// To whom an answer is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// The officer's `sealing-key` in the register
    OfficerKey,
}

/// What the authority node answers.
#[derive(Deserialize, Serialize)]
pub(super) struct Opened {
    order: String,
    sector: String,
    entry: u64,
    pub(super) items: Vec<Item>,
}

/// One of the pseudonyms asked for: an identifier or a code.
#[derive(Deserialize, Serialize)]
pub(super) struct Item {
    pub(super) pseudonym: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Code>,
}

/// Who asks, with what.
pub(super) struct Asking<'a> {
    pub(super) order: &'a str,
    pub(super) officer: &'a Id,
    pub(super) key: &'a SigningKey,
    pub(super) sector: &'a str,
    pub(super) pseudonyms: &'a [String],
}

/// Runs the command.
///
/// # Errors
/// When the order cannot be used or the node refuses; with exit code 3 when some items were not found.
pub fn run(args: Args) -> Result<(), Error> {
    let order = super::read_text(&args.order)?;
    let payload = payload(&order)?;
    let officer = match args.officer {
        Some(officer) => {
            Id::parse(&officer).ok_or_else(|| Error::usage("--officer is no id", "as the order spells it"))?
        }
        None => only(&payload.officers, "officers", "--officer")?.clone(),
    };
    let sector = match args.sector {
        Some(sector) => sector,
        None => only(&payload.sectors, "sectors", "--sector")?.clone(),
    };
    let key = read_signing_key(&args.key)
        .map_err(|error| Error::new(error, "the officer's own key is needed to sign the request"))?;
    let pseudonyms = if args.pseudonyms.is_empty() { from_input()? } else { args.pseudonyms };
    let client = args.client.open()?;
    let asking = Asking { order: &order, officer: &officer, key: &key, sector: &sector, pseudonyms: &pseudonyms };
    if let (Some(To::OfficerKey), Some(out)) = (args.to, &args.out) {
        return sealed(&client, &asking, out, args.json);
    }
    let mut opened = ask(&client, &asking)?.map_err(|error| remote::failed(&error))?;
    (1..).zip(&mut opened.items).for_each(|(number, item)| item.hide_what_is_no_pseudonym(number));
    if args.json {
        print_json(&opened)?;
    } else {
        opened.items.iter().try_for_each(|item| print(item.line()))?;
    }
    match opened.items.iter().filter(|item| item.value.is_none()).count() {
        0 => Ok(()),
        missing => Err(Error::rejected(
            format_args!("{missing} of {} pseudonyms were not resolved", opened.items.len()),
            "the code on the line says why: no-mapping, out-of-scope, limit-reached, …",
        )),
    }
}

/// Asks for a sealed answer and puts it into a file.
fn sealed(client: &Client, asking: &Asking<'_>, out: &Path, json: bool) -> Result<(), Error> {
    // Before anything is asked, and counted: whether there is a place for the answer.
    let taken = |error| Error::new(error, "nothing is overwritten: choose a path in a folder that exists");
    if out.exists() {
        return Err(taken(format!("{}: the file exists", out.display())));
    }
    let mut body = request(asking)?;
    body["to"] = "officer-key".into();
    let answer: Sealed = client.post_json(PATH, &body).map_err(|error| remote::failed(&error))?;
    write_private(out, answer.sealed.as_bytes()).map_err(|error| taken(error.to_string()))?;
    let (items, found) = (answer.items, answer.found);
    match json {
        true => print_json(&serde_json::json!({
            "order": answer.order, "sector": answer.sector, "entry": answer.entry, "items": items, "found": found,
            "file": out,
        }))?,
        false => print(format_args!(
            "{found} of {items} pseudonyms resolved; sealed to the officer's key in {}: `cloison delivery open`",
            out.display()
        ))?,
    }
    match items - found.min(items) {
        0 => Ok(()),
        missing => Err(Error::rejected(
            format_args!("{missing} of {items} pseudonyms were not resolved"),
            "the codes are in the sealed answer",
        )),
    }
}

/// Where re-identifications are asked for.
const PATH: &str = "/v1/reidentifications";

/// Signs the request and sends it with the order to the authority node. The inner result is what came of the sending.
pub(super) fn ask(client: &Client, asking: &Asking<'_>) -> Result<Result<Opened, ClientError>, Error> {
    Ok(client.post_json(PATH, &request(asking)?))
}

/// What is sent: the order, and a signed request under it.
fn request(asking: &Asking<'_>) -> Result<serde_json::Value, Error> {
    let request = signed_request(asking)?;
    Ok(serde_json::json!({
        "order": asking.order,
        "request": request,
        "sector": asking.sector,
        "pseudonyms": asking.pseudonyms,
    }))
}

/// The officer's request, signed now.
pub(super) fn signed_request(asking: &Asking<'_>) -> Result<String, Error> {
    let unusable = |refusal: Refusal| Error::new(refusal, "`cloison order check` says what is wrong with an order");
    let deployment = payload(asking.order)?.aud;
    let request = NewRequest {
        deployment: &deployment,
        order: &order::digest_of(asking.order).map_err(unusable)?,
        id: uuid::Builder::from_random_bytes(crate::clock::random()).into_uuid(),
        sector: asking.sector,
        list: &order::list_digest(asking.pseudonyms).map_err(unusable)?,
        time: SystemClock.now(),
    };
    order::sign_request(&request, asking.officer, asking.key).map_err(unusable)
}

/// What an order says, before anybody checked it.
pub(super) fn payload(order: &str) -> Result<Payload, Error> {
    let read = || Payload::read(crate::jws::parse(order, order::ORDER_TYP)?.payload());
    read().map_err(|refusal: Refusal| {
        Error::new(format_args!("this is no order: {refusal}"), "`cloison order new` makes one, `order sign` signs it")
    })
}

pub(super) fn only<'a, T>(all: &'a [T], what: &str, option: &str) -> Result<&'a T, Error> {
    match all {
        [one] => Ok(one),
        _ => Err(Error::usage(format_args!("the order names several {what}"), format_args!("say which with {option}"))),
    }
}

fn from_input() -> Result<Vec<String>, Error> {
    let entries = list::read(Path::new("-"))?;
    if entries.is_empty() {
        return Err(Error::usage("there is no pseudonym to ask for", "name them, or write them to standard input"));
    }
    Ok(entries.into_iter().map(|entry| entry.text).collect())
}

impl Item {
    /// What is no pseudonym may be an identifier that got into the wrong list: its number stands for it.
    fn hide_what_is_no_pseudonym(&mut self, number: usize) {
        if self.code == Some(Code::PseudonymMalformed) {
            self.pseudonym = format!("#{number}");
        }
    }

    fn line(&self) -> String {
        match (&self.scheme, &self.value, self.code) {
            (Some(scheme), Some(value), _) => format!("{}\t{scheme}\t{value}", self.pseudonym),
            (_, _, code) => format!("{}\t!{}", self.pseudonym, code.unwrap_or(Code::Internal)),
        }
    }
}
