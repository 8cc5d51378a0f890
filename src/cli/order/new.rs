//! `cloison order new`: writes an unsigned order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _};
use uuid::Uuid;

use serde_json::json;

use crate::cli::inputs::{parse_id, read_register, write_new};
use crate::cli::list::{self, ListEntry};
use crate::clock::{Clock as _, SystemClock};
use crate::order::{Continuity, LegalBasis, OrderPayload, PseudonymScope, SecuritySide, forbidden};
use crate::register::{Id, Register};
use crate::statement::Statement as _;
use crate::terminal::{CommandError, print, print_either};

/// The arguments of `order new`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison order new --register register.toml --authority court --judicial --case RABAT/2026-17 \\\n    \
    --purpose investigation --sector health --pseudonym sante1p… --officer officer --out \\\n    \
    orders/17.jws\n  \
    cloison order new --register register.toml --authority tax-inspection \\\n    \
    --statutory 'Law 47-06, art. 214' --case T-9 --purpose recovery --sector tax --limit 20 \\\n    \
    --officer inspector --hours 48 --out orders/9.jws\n  \
    cloison order new --register register.toml --continuity 1:2 --case HEALTH/2026-3 \\\n    \
    --purpose migration --sector health --limit 2000000 --officer officer --hours 72 --out \\\n    \
    orders/migration.jws\n\n\
    An order lists its pseudonyms (--pseudonym, --list), or, where its basis is continuity, or statutory and the \
    register allows it, says how many at most (--limit). Where it names several sectors, each pseudonym is written SECTOR:PSEUDONYM and \
    each list SECTOR:FILE. With --register the command refuses an order that the register forbids.")]
pub struct OrderNewArgs {
    /// The register: gives the deployment's id, and the order is checked against it
    #[arg(long, value_name = "FILE", required_unless_present = "deployment")]
    register: Option<PathBuf>,
    /// The deployment's id, without a register
    #[arg(long, value_name = "ID", conflicts_with = "register")]
    deployment: Option<String>,
    /// The order's own id (a random UUID) [default: a fresh one]
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// The authority whose approvers will sign [default: the register's, where it has only one]
    #[arg(long, value_name = "ID")]
    authority: Option<String>,
    #[command(flatten)]
    basis: BasisArgs,
    /// The case reference: 1 to 40 of A-Z, 0-9, '/', '.' and '-'
    #[arg(long)]
    case: String,
    /// The purpose, as a code: 1 to 64 of a-z, 0-9 and '-'
    #[arg(long, value_name = "ID")]
    purpose: String,
    /// A sector, exactly; may be given several times
    #[arg(long = "sector", value_name = "NAME", required = true)]
    sectors: Vec<String>,
    /// A pseudonym; may be given several times
    #[arg(long = "pseudonym", value_name = "[SECTOR:]PSEUDONYM")]
    pseudonyms: Vec<String>,
    /// A file of pseudonyms, one a line ('-': standard input); may be given several times
    #[arg(long = "list", value_name = "[SECTOR:]FILE")]
    lists: Vec<String>,
    /// Any pseudonyms of the sectors, at most this many
    #[arg(long, value_name = "N", conflicts_with_all = ["pseudonyms", "lists"])]
    limit: Option<u64>,
    /// When it begins, e.g. 2026-11-22T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
    /// When it ends [default: --hours after its beginning]
    #[arg(long, value_name = "TIME", conflicts_with = "hours")]
    not_after: Option<Timestamp>,
    /// How many hours it is valid
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=9000))]
    hours: u32,
    /// Delay the notice: before this time the persons concerned do not learn that they were
    /// resolved under this order
    #[arg(long, value_name = "TIME")]
    inform_after: Option<Timestamp>,
    /// An officer who may execute it; may be given several times
    #[arg(long = "officer", value_name = "ID", required = true)]
    officers: Vec<String>,
    /// Where to write it; an existing file is never overwritten [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct BasisArgs {
    /// Legal basis: a court's decision
    #[arg(long)]
    judicial: bool,
    /// Legal basis: this article of a law that names the authority
    #[arg(long, value_name = "ARTICLE")]
    statutory: Option<String>,
    /// Legal basis: force majeure relating to security inside or outside the State
    #[arg(long, value_name = "SECURITY", value_parser = ["internal", "external"])]
    force_majeure: Option<String>,
    /// Legal basis: continuity; the sector's pseudonyms are migrated from one epoch to a later one
    /// (`cloison migrate`)
    #[arg(long, value_name = "FROM:TO", value_parser = epochs)]
    continuity: Option<Continuity>,
}

/// Two epochs, `1:2`.
fn epochs(text: &str) -> Result<Continuity, String> {
    let read = || {
        let (from, to) = text.split_once(':')?;
        Some(Continuity {
            from: from.parse().ok()?,
            to: to.parse().ok()?,
        })
    };
    read().ok_or_else(|| "two epochs are written 1:2".to_owned())
}

/// Runs the command.
///
/// # Errors
/// Every value that is not what an order takes, and every rule of the register that the order
/// breaks; or that the file exists.
pub fn run(args: &OrderNewArgs) -> Result<(), CommandError> {
    let register = args.register.as_deref().map(read_register).transpose()?;
    let payload = judged(args, register.as_ref())?;
    let text = payload
        .draft()
        .map_err(|refusal| CommandError::usage(refusal, HINT))?;
    let Some(out) = &args.out else {
        return print(text);
    };
    // Private: it says whose pseudonyms an authority asks about.
    write_new(out, &text)?;
    let said = format!(
        "Order {} written to {}; it needs signatures: `cloison order sign`",
        payload.id,
        out.display()
    );
    print_either(said, || json!({"id": payload.id, "order": out}))
}

const HINT: &str = "`cloison order new --help` has examples";
/// The most faults that are told.
const MOST_TOLD: usize = 100;

/// Everything that is wrong with an order that is to be made, so that people correct all of it at
/// once.
#[derive(Default)]
struct NewOrderFaults {
    found: Vec<String>,
    /// Whether one of them lies in the command line itself, and not in the register or a file.
    usage: bool,
}

impl NewOrderFaults {
    /// The value; or nothing, and its fault is noted.
    fn note<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|fault| self.push(fault)).ok()
    }

    fn push(&mut self, fault: String) {
        self.usage = true;
        self.found.push(fault);
    }

    fn into_error(mut self) -> CommandError {
        // A list of another kind has a fault in every line.
        let more = self.found.len().saturating_sub(MOST_TOLD);
        self.found.truncate(MOST_TOLD);
        self.found
            .extend((more > 0).then(|| format!("and {more} more faults")));
        if self.usage {
            CommandError::usage(self.found.join("\n"), HINT)
        } else {
            CommandError::new(
                self.found.join("\n"),
                "`cloison order check` lists every rule that an order breaks",
            )
        }
    }
}

/// The order that the arguments make, if nothing is wrong with it.
fn judged(args: &OrderNewArgs, register: Option<&Register>) -> Result<OrderPayload, CommandError> {
    let mut faults = NewOrderFaults::default();
    let payload = payload(args, register, &mut faults);
    if let Some(payload) = &payload {
        payload
            .faults()
            .into_iter()
            .for_each(|fault| faults.push(fault.into_owned()));
        let broken = register.map_or_else(Vec::new, |register| {
            forbidden(payload, register, SystemClock.now())
        });
        // `scope` has checked the pseudonyms, with the line of each.
        let broken = broken.iter().filter(|(name, _)| *name != "pseudonyms");
        faults.found.extend(broken.map(|(name, why)| {
            format!(
                "the register forbids this order: {name}: {}: {why}",
                why.code()
            )
        }));
    }
    match payload {
        Some(payload) if faults.found.is_empty() => Ok(payload),
        _ => Err(faults.into_error()),
    }
}

fn payload(
    args: &OrderNewArgs,
    register: Option<&Register>,
    faults: &mut NewOrderFaults,
) -> Option<OrderPayload> {
    let aud = faults.note(deployment(args, register));
    let authority = faults.note(authority(args, register));
    let purpose = faults.note(id("--purpose", &args.purpose));
    let officers: Vec<Option<Id>> = numbered("--officer", &args.officers)
        .map(|(place, officer)| faults.note(id(&place, officer)))
        .collect();
    let scope = scope(args, register, faults);
    let not_before = faults.note(whole_second(
        args.not_before.unwrap_or_else(|| SystemClock.now()),
    ));
    let not_after = match (args.not_after, not_before) {
        (Some(time), _) => faults.note(whole_second(time)),
        (None, Some(start)) => {
            let end = start.checked_add(i64::from(args.hours).hours());
            faults.note(end.map_err(|_| {
                "the order ends after the end of time: give an earlier --not-before".into()
            }))
        }
        (None, None) => None,
    };
    let inform_after = faults.note(args.inform_after.map(whole_second).transpose());
    let issued = faults.note(whole_second(SystemClock.now()));
    Some(OrderPayload {
        aud: aud?,
        id: args.id.unwrap_or_else(crate::clock::random_uuid),
        authority: authority?,
        basis: args.basis.basis(),
        case: args.case.clone(),
        purpose: purpose?,
        sectors: args.sectors.clone(),
        scope,
        not_before: not_before?,
        not_after: not_after?,
        officers: officers.into_iter().collect::<Option<_>>()?,
        inform_after: inform_after?,
        issued: Some(issued?),
    })
}

fn deployment(args: &OrderNewArgs, register: Option<&Register>) -> Result<Id, String> {
    match (&args.deployment, register) {
        (Some(id), _) => self::id("--deployment", id),
        (None, Some(register)) => Ok(register.deployment.clone()),
        (None, None) => {
            Err("the order's deployment is not known: give --register or --deployment".into())
        }
    }
}

fn authority(args: &OrderNewArgs, register: Option<&Register>) -> Result<Id, String> {
    match (
        &args.authority,
        register
            .map(|r| r.authorities.keys().collect::<Vec<_>>())
            .as_deref(),
    ) {
        (Some(id), _) => self::id("--authority", id),
        (None, Some([only])) => Ok((*only).clone()),
        (None, _) => Err("the order's authority is not known: give --authority".into()),
    }
}

impl BasisArgs {
    fn basis(&self) -> LegalBasis {
        if let Some(epochs) = self.continuity {
            return LegalBasis::Continuity(epochs);
        }
        match (&self.statutory, self.force_majeure.as_deref()) {
            (Some(article), _) => LegalBasis::Statutory {
                article: article.clone(),
            },
            (None, Some("external")) => LegalBasis::ForceMajeure {
                security: SecuritySide::External,
            },
            (None, Some(_)) => LegalBasis::ForceMajeure {
                security: SecuritySide::Internal,
            },
            // clap sees to it that one of the four is given.
            (None, None) => LegalBasis::Judicial,
        }
    }
}

/// Reads the pseudonyms. A fault names the place of its pseudonym in the command line or in a list.
fn scope(
    args: &OrderNewArgs,
    register: Option<&Register>,
    faults: &mut NewOrderFaults,
) -> PseudonymScope {
    if let Some(limit) = args.limit {
        return PseudonymScope::AtMost(limit);
    }
    let mut entries: Vec<(&str, ListEntry)> = vec![];
    for (place, text) in numbered("--pseudonym", &args.pseudonyms) {
        if let Some((sector, text)) = faults.note(in_sector(&place, text, &args.sectors)) {
            entries.push((
                sector,
                ListEntry {
                    place,
                    text: text.to_owned(),
                },
            ));
        }
    }
    for (place, file) in numbered("--list", &args.lists) {
        let Some((sector, file)) = faults.note(in_sector(&place, file, &args.sectors)) else {
            continue;
        };
        match list::read(Path::new(file)) {
            Ok(list) => entries.extend(list.into_iter().map(|entry| (sector, entry))),
            Err(error) => faults.found.push(error.message().to_owned()),
        }
    }
    let (mut lists, mut places) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
    for (name, ListEntry { place, text }) in entries {
        let sector = register.and_then(|register| register.sector(name));
        if let Some(Err(code)) = sector.map(|sector| sector.parse_pseudonym(&text)) {
            faults.found.push(format!(
                "{place}: is not a pseudonym of sector {name}: {code}"
            ));
        }
        match places.entry((name, text)) {
            Entry::Occupied(earlier) => {
                faults.push(format!("{place}: is the same as {}", earlier.get()));
            }
            Entry::Vacant(new) => {
                lists
                    .entry(name.to_owned())
                    .or_default()
                    .push(new.key().1.clone());
                new.insert(place);
            }
        }
    }
    PseudonymScope::Listed(lists)
}

/// The values of an option with their places, counted from 1 where there are several.
fn numbered<'a>(option: &'a str, values: &'a [String]) -> impl Iterator<Item = (String, &'a str)> {
    let place = move |number| {
        if values.len() == 1 {
            option.to_owned()
        } else {
            format!("{option} {number}")
        }
    };
    (1..)
        .zip(values)
        .map(move |(number, value)| (place(number), value.as_str()))
}

/// The sector that `text` begins with, and the rest; or the only sector there is.
fn in_sector<'a>(
    place: &str,
    text: &'a str,
    sectors: &'a [String],
) -> Result<(&'a str, &'a str), String> {
    match (text.split_once(':'), sectors) {
        (Some((sector, rest)), _) if sectors.iter().any(|named| named == sector) => {
            Ok((sector, rest))
        }
        (_, [only]) => Ok((only, text)),
        _ => Err(format!(
            "{place}: does not name one of the order's sectors: write SECTOR: before it"
        )),
    }
}

fn id(place: &str, text: &str) -> Result<Id, String> {
    parse_id(text).map_err(|_| format!("{place} is not an id: 1 to 64 of a-z, 0-9 and '-'"))
}

fn whole_second(time: Timestamp) -> Result<Timestamp, String> {
    Timestamp::from_second(time.as_second())
        .map_err(|_| "the time is out of range: write it like 2026-11-22T09:00:00Z".into())
}
