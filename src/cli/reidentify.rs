//! `cloison reidentify`: an officer executes an order.

use std::path::{Path, PathBuf};

use super::client_file::ClientFile;
use super::inputs::{not_written, officer_of, only, read_order_file, read_person_key};
use super::list;
use super::transfer::{self, TransferArgs, TransferCall};
use crate::client::Client;
use crate::client::officer::OfficerCall;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::id::hex;
use crate::keys::file::{FileError, FileFault, write_private};
use crate::order::{self, OrderPayload, PseudonymScope};
use crate::reidentify::reveal::RevealedItem;
use crate::terminal::{CommandError, print, print_json};
use crate::transfer::reidentify::Reidentifier;
use crate::transfer::resume::TransferJob;

/// Re-identify pseudonyms under a signed order, as an officer
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison reidentify --order orders/17.jws --key secrets/people/officer.pem \\\n    \
    --client clients/officer.toml sante1p…\n  \
    cloison reidentify --order orders/17.jws --key secrets/people/officer.pem --sector health \\\n    \
    < pseudonyms.txt > persons.tsv\n  \
    cloison reidentify --order orders/17.jws --key secrets/people/officer.pem --to officer-key \\\n    \
    --out answers.age < pseudonyms.txt\n  \
    cloison reidentify --order orders/17.jws --key secrets/people/officer.pem --all \\\n    \
    --out persons.tsv --resume\n\n\
    With --list, --all, --in or --out the pseudonyms are asked for in batches, and an interrupted run goes on with --resume; \
    with --csv a column is replaced by the identifiers, and their schemes stand in a second one.\n\
    Prints one line an item, in order: pseudonym, scheme and value, or `!` and a code. An item that is not a pseudonym is not \
    repeated: its number stands in its place, such as #3. The vault and the authority node each check \
    the order and log the request before anything is opened. Exit codes: 0 all found; 3 some were not; 1 refused.")]
pub struct ReidentifyArgs {
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
    /// Seal the answer to the key that the register has for the officer; needs --out
    #[arg(long, value_name = "TO", value_enum, requires = "out", conflicts_with_all = ["csv", "resume", "force"])]
    to: Option<AnswerRecipient>,
    /// Re-identify the pseudonyms in this file, one a line; empty lines do not count
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "all", "pseudonyms"])]
    list: Option<PathBuf>,
    /// Re-identify every pseudonym that the order lists in the sector
    #[arg(long, conflicts_with_all = ["input", "pseudonyms"])]
    all: bool,
    /// Pseudonyms in one request to the node, where they are read from a file
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    #[command(flatten)]
    files: TransferArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
    /// The pseudonyms [default: read from standard input, one a line]
    pseudonyms: Vec<String>,
}

/// To whom an answer is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AnswerRecipient {
    /// The officer's `sealing-key` in the register
    OfficerKey,
}

/// Runs the command.
///
/// # Errors
/// When the order cannot be used or the node refuses; with exit code 3 when some items were not
/// found.
pub fn run(args: ReidentifyArgs) -> Result<(), CommandError> {
    let (order, payload) = read_order_file(&args.order)?;
    let officer = officer_of(&payload, args.officer.as_deref())?;
    let sector = match &args.sector {
        Some(sector) => sector.clone(),
        None => only(&payload.sectors, "sectors", "--sector")?.clone(),
    };
    let key = read_person_key(&args.key, "officer")?;
    let given = match (&args.list, args.all) {
        (Some(list), _) => Some(from_list(list)?),
        (None, true) => Some(listed_by(&payload, &sector)?),
        (None, false) => (!args.pseudonyms.is_empty()).then(|| args.pseudonyms.clone()),
    };
    let is_listed = args.all || args.list.is_some();
    if args.to.is_none() && (!args.files.is_plain() || (is_listed && !args.json)) {
        let client = args.client.open()?;
        let answerer = Reidentifier {
            client: &client,
            order: &order,
            officer: &officer,
            key: &key,
            sector: &sector,
            clock: &SystemClock,
        };
        return in_batches(&args, given, answerer);
    }
    let pseudonyms = match given {
        Some(pseudonyms) => pseudonyms,
        None if args.files.has_input() => {
            return Err(CommandError::usage(
                "--to takes no --in",
                "name the file with --list",
            ));
        }
        None => from_list(Path::new("-"))?,
    };
    let client = args.client.open()?;
    let call = OfficerCall {
        order: &order,
        officer: &officer,
        key: &key,
        sector: &sector,
        pseudonyms: &pseudonyms,
    };
    match (args.to, args.files.out()) {
        (Some(AnswerRecipient::OfficerKey), Some(out)) => sealed(&client, &call, out, args.json),
        _ => at_once(&client, &call, args.json),
    }
}

/// Asks in batches, from an input or for what was given, and puts the answers into a file or on
/// standard output.
fn in_batches(
    args: &ReidentifyArgs,
    given: Option<Vec<String>>,
    mut answerer: Reidentifier<'_>,
) -> Result<(), CommandError> {
    let call = TransferCall {
        args: &args.files,
        given: given.map(|pseudonyms| transfer::listed(&pseudonyms)),
        batch: args.batch as usize,
        job: TransferJob::default()
            .with("the command", "reidentify")
            .with("the server", answerer.client.base())
            .with("--order", digest_of(answerer.order)?)
            .with("--sector", answerer.sector)
            .with("the officer", answerer.officer),
        wants: None,
    };
    transfer::run(call, &mut answerer)
}

/// Asks for all at once and prints the answer.
fn at_once(client: &Client, call: &OfficerCall<'_>, json: bool) -> Result<(), CommandError> {
    let mut answer = call.reidentify(client, SystemClock.now())?;
    (1..)
        .zip(&mut answer.items)
        .for_each(|(number, item)| hide_what_is_no_pseudonym(item, number));
    if json {
        print_json(&answer)?;
    } else {
        answer.items.iter().try_for_each(|item| print(line(item)))?;
    }
    let missing = |item: &&RevealedItem| matches!(item, RevealedItem::Refused { .. });
    match answer.items.iter().filter(missing).count() {
        0 => Ok(()),
        missing => Err(CommandError::rejected(
            format_args!(
                "{missing} of {} pseudonyms were not resolved",
                answer.items.len()
            ),
            "the code on the line says why: no-mapping, out-of-scope, limit-reached, …",
        )),
    }
}

/// Asks for a sealed answer and puts it into a file.
fn sealed(
    client: &Client,
    call: &OfficerCall<'_>,
    out: &Path,
    json: bool,
) -> Result<(), CommandError> {
    // Checked before the request, which is logged and counted.
    if out.exists() {
        return Err(not_written(FileError {
            path: out.to_owned(),
            fault: FileFault::Exists,
        }));
    }
    let answer = call.reidentify_sealed(client, SystemClock.now())?;
    write_private(out, answer.sealed.as_bytes()).map_err(not_written)?;
    let (items, found) = (answer.items, answer.found);
    if json {
        print_json(&serde_json::json!({
            "order": answer.order, "sector": answer.sector, "entry": answer.entry, "items": items, "found": found,
            "file": out,
        }))?;
    } else {
        print(format_args!(
            "{found} of {items} pseudonyms resolved; sealed to the officer's key in {}: `cloison delivery open`",
            out.display()
        ))?;
    }
    match items - found.min(items) {
        0 => Ok(()),
        missing => Err(CommandError::rejected(
            format_args!("{missing} of {items} pseudonyms were not resolved"),
            "the codes are in the sealed answer",
        )),
    }
}

/// The pseudonyms of a list; `-` is standard input.
fn from_list(path: &Path) -> Result<Vec<String>, CommandError> {
    let entries = list::read(path)?;
    if entries.is_empty() {
        return Err(CommandError::usage(
            "no pseudonym is given",
            "name them, write them to standard input, or take those of the order (--all)",
        ));
    }
    Ok(entries.into_iter().map(|entry| entry.text).collect())
}

/// The pseudonyms that an order lists in a sector.
fn listed_by(order: &OrderPayload, sector: &str) -> Result<Vec<String>, CommandError> {
    match &order.scope {
        PseudonymScope::Listed(lists) => match lists.get(sector) {
            Some(pseudonyms) => Ok(pseudonyms.clone()),
            None => Err(CommandError::new(
                format_args!("the order lists no pseudonym in the sector `{sector}`"),
                "`cloison order show` says what it lists",
            )),
        },
        PseudonymScope::AtMost(_) => Err(CommandError::new(
            "the order lists no pseudonyms",
            "name them in a file with --list",
        )),
    }
}

/// The order's digest, by which a run knows that it goes on under the same one.
fn digest_of(order: &str) -> Result<String, CommandError> {
    let digest = order::digest_of(order).map_err(|refusal| {
        CommandError::new(
            refusal,
            "`cloison order check` says what is wrong with an order",
        )
    })?;
    Ok(hex(&digest))
}

/// Replaces an item that is not a pseudonym by its number: it may be an identifier that got into
/// the wrong list.
fn hide_what_is_no_pseudonym(item: &mut RevealedItem, number: usize) {
    if let RevealedItem::Refused {
        pseudonym,
        code: Code::PseudonymMalformed,
    } = item
    {
        *pseudonym = format!("#{number}");
    }
}

fn line(item: &RevealedItem) -> String {
    match item {
        RevealedItem::Identifier {
            pseudonym,
            scheme,
            value,
            ..
        } => format!("{pseudonym}\t{scheme}\t{}", *value.0),
        RevealedItem::Refused { pseudonym, code } => format!("{pseudonym}\t!{code}"),
    }
}
