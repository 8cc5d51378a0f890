//! `cloison order new`: writes an unsigned order.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _};
use uuid::Uuid;

use super::{allowed, read_register};
use crate::cli::{Error, print, read_text};
use crate::clock::{Clock as _, SystemClock};
use crate::jws;
use crate::keys::file::write_private;
use crate::order::{Basis, Continuity, Payload, Scope, Security};
use crate::register::{Id, Register};

/// What `order new` takes.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison order new --register register.toml --authority court --judicial --case RABAT/2026-17 \\\n    \
    --purpose investigation --sector health --pseudonym sante1p… --officer officer --out orders/17.jws\n  \
    cloison order new --register register.toml --authority tax-inspection --statutory 'Law 47-06, art. 214' --case T-9 \\\n    \
    --purpose recovery --sector tax --limit 20 --officer inspector --hours 48 --out orders/9.jws\n  \
    cloison order new --register register.toml --continuity 1:2 --case HEALTH/2026-3 --purpose migration \\\n    \
    --sector health --limit 2000000 --officer officer --hours 72 --out orders/migration.jws\n\n\
    An order lists its pseudonyms (--pseudonym, --list), or, where its basis is continuity, or statutory and the \
    register allows it, says how many at most (--limit). Where it names several sectors, each pseudonym is written SECTOR:PSEUDONYM and \
    each list SECTOR:FILE. With --register nothing is written that the register forbids.")]
pub struct Args {
    /// The register: gives the deployment's id, and the order is checked against it
    #[arg(long, value_name = "FILE", required_unless_present = "deployment")]
    register: Option<PathBuf>,
    /// The deployment's id, where there is no register at hand
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
    /// What for, as a code: 1 to 64 of a-z, 0-9 and '-'
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
    /// Any pseudonyms of the sectors, but at most so many
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
    /// Delay the notice: before this time the persons concerned do not learn that they were resolved under this order
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
    /// Legal basis: continuity; the sector's pseudonyms are migrated from one epoch to a later one (`cloison migrate`)
    #[arg(long, value_name = "FROM:TO", value_parser = epochs)]
    continuity: Option<Continuity>,
}

/// Two epochs, `1:2`.
fn epochs(text: &str) -> Result<Continuity, String> {
    let read = || {
        let (from, to) = text.split_once(':')?;
        Some(Continuity { from: from.parse().ok()?, to: to.parse().ok()? })
    };
    read().ok_or_else(|| "two epochs are written 1:2".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When a value is not what an order takes, the register forbids the order, or the file exists.
pub fn run(args: &Args) -> Result<(), Error> {
    let register = args.register.as_deref().map(read_register).transpose()?;
    let payload = payload(args, register.as_ref())?;
    let bytes = payload.write().map_err(|refusal| Error::usage(refusal, "`cloison order new --help` has examples"))?;
    let text = jws::draft(&bytes);
    if let Some(register) = &register {
        allowed(&text, register)?;
    }
    let Some(out) = &args.out else { return print(text) };
    // Private: it says about whom an authority asks.
    write_private(out, format!("{text}\n").as_bytes())
        .map_err(|error| Error::new(error, "nothing is overwritten: choose a path in a folder that exists"))?;
    print(format_args!("Order {} written to {}; it needs signatures: `cloison order sign`", payload.id, out.display()))
}

fn payload(args: &Args, register: Option<&Register>) -> Result<Payload, Error> {
    let aud = match (&args.deployment, register) {
        (Some(id), _) => self::id("--deployment", id)?,
        (None, Some(register)) => register.deployment.clone(),
        (None, None) => return Err(Error::usage("whose order is it?", "give --register or --deployment")),
    };
    let authority = match (&args.authority, register.map(|r| r.authorities.keys().collect::<Vec<_>>()).as_deref()) {
        (Some(id), _) => self::id("--authority", id)?,
        (None, Some([only])) => (*only).clone(),
        (None, _) => return Err(Error::usage("which authority's order is it?", "give --authority")),
    };
    let not_before = whole_second(args.not_before.unwrap_or_else(|| SystemClock.now()))?;
    let not_after = match args.not_after {
        Some(time) => whole_second(time)?,
        None => not_before
            .checked_add(i64::from(args.hours).hours())
            .map_err(|_| Error::usage("the order ends after the end of time", "give an earlier --not-before"))?,
    };
    Ok(Payload {
        aud,
        id: args.id.unwrap_or_else(|| uuid::Builder::from_random_bytes(crate::clock::random()).into_uuid()),
        authority,
        basis: args.basis.basis(),
        case: args.case.clone(),
        purpose: self::id("--purpose", &args.purpose)?,
        sectors: args.sectors.clone(),
        scope: scope(args)?,
        not_before,
        not_after,
        officers: args.officers.iter().map(|officer| self::id("--officer", officer)).collect::<Result<_, _>>()?,
        inform_after: args.inform_after.map(whole_second).transpose()?,
    })
}

impl BasisArgs {
    fn basis(&self) -> Basis {
        if let Some(epochs) = self.continuity {
            return Basis::Continuity(epochs);
        }
        match (&self.statutory, self.force_majeure.as_deref()) {
            (Some(article), _) => Basis::Statutory { article: article.clone() },
            (None, Some("external")) => Basis::ForceMajeure { security: Security::External },
            (None, Some(_)) => Basis::ForceMajeure { security: Security::Internal },
            // clap sees to it that one of the four is given.
            (None, None) => Basis::Judicial,
        }
    }
}

fn scope(args: &Args) -> Result<Scope, Error> {
    if let Some(limit) = args.limit {
        return Ok(Scope::AtMost(limit));
    }
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in &args.pseudonyms {
        let (sector, text) = in_sector(text, &args.sectors)?;
        lists.entry(sector.to_owned()).or_default().push(text.to_owned());
    }
    for file in &args.lists {
        let (sector, file) = in_sector(file, &args.sectors)?;
        lists.entry(sector.to_owned()).or_default().extend(lines(file)?);
    }
    match args.sectors.iter().find(|sector| !lists.contains_key(*sector)) {
        None => Ok(Scope::Listed(lists)),
        Some(sector) => Err(Error::usage(
            format_args!("sector {sector} has no pseudonym"),
            "list them with --pseudonym or --list, or give a --limit",
        )),
    }
}

/// The sector that `text` begins with, and the rest; or the only sector there is.
fn in_sector<'a>(text: &'a str, sectors: &'a [String]) -> Result<(&'a str, &'a str), Error> {
    match (text.split_once(':'), sectors) {
        (Some((sector, rest)), _) if sectors.iter().any(|named| named == sector) => Ok((sector, rest)),
        (_, [only]) => Ok((only, text)),
        _ => Err(Error::usage(
            "the order names several sectors, and a pseudonym or list does not say which is its own",
            "write --pseudonym SECTOR:PSEUDONYM and --list SECTOR:FILE",
        )),
    }
}

/// The lines of a file, without the empty ones.
fn lines(file: &str) -> Result<Vec<String>, Error> {
    let text = match file {
        "-" => {
            let lines: Result<Vec<_>, _> = std::io::stdin().lock().lines().collect();
            lines
                .map_err(|error| Error::new(format_args!("standard input: {error}"), "one pseudonym a line"))?
                .join("\n")
        }
        file => read_text(Path::new(file))?,
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn id(option: &str, text: &str) -> Result<Id, Error> {
    Id::parse(text)
        .ok_or_else(|| Error::usage(format_args!("{option} is no id"), "an id is 1 to 64 of a-z, 0-9 and '-'"))
}

fn whole_second(time: Timestamp) -> Result<Timestamp, Error> {
    Timestamp::from_second(time.as_second())
        .map_err(|_| Error::usage("no such time", "write it like 2026-11-22T09:00:00Z"))
}
