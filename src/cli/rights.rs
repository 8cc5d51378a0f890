//! `cloison rights`: rights officers answer and erase for the persons concerned.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use serde_json::json;

use super::assent::{Assent, Irreversible};
use super::inputs::{present_second, read_register, write_new};
use super::{list, signed_file};
use crate::cli::client_file::ClientFile;
use crate::keys::file::read_signing_key;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::rights::erase::ErasureReceipt;
use crate::rights::erase::ErasureText;
use crate::rights::request::ErasureRequest;
use crate::rights::resolutions::{ItemResolutions, PersonResolutions, ResolutionQuestion};
use crate::statement::{self, Statement as _};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_either, print_json};

/// Serve people's rights, as a rights officer: who resolved a pseudonym; erasure
#[derive(clap::Subcommand)]
pub enum RightsCommand {
    /// Say who resolved a person's pseudonym in a sector, and when
    Resolutions(ResolutionsArgs),
    /// Write a request to erase and sign it, as the first of two rights officers
    Erase(EraseArgs),
    /// Sign a request to erase, as the second
    Sign(EraseSignArgs),
    /// Bring a signed request to erase to the vault, or to an authority's node
    Lodge(EraseLodgeArgs),
}

/// The arguments of `rights resolutions`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison rights resolutions --client clients/rights-1.toml --sector health --pseudonym sante1p…\n\n\
    Each resolution names authority, officer, order and legal basis, and the entry of the vault's log that says so. Resolutions whose \
    notice the order delays (`inform_after`) do not appear before that time. The look-up is logged, the pseudonym is not.")]
pub struct ResolutionsArgs {
    /// The sector
    #[arg(long, value_name = "NAME")]
    sector: String,
    /// A pseudonym of the person in that sector; repeatable
    #[arg(long = "pseudonym", value_name = "PSEUDONYM", required_unless_present_any = ["list", "order"])]
    pseudonyms: Vec<String>,
    /// A file of pseudonyms, one a line ('-': standard input)
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// All resolutions in the sector under this order, in place of pseudonyms
    #[arg(long, value_name = "ID", conflicts_with_all = ["pseudonyms", "list"])]
    order: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// The officer's own key.
#[derive(clap::Args)]
struct RightsKeyArgs {
    /// The rights officer's own private key: Ed25519, PKCS#8 PEM, mode 0600
    #[arg(long, value_name = "FILE", env = "CLOISON_RIGHTS_KEY")]
    key: PathBuf,
    /// The rights officer's id in the register
    #[arg(long, value_name = "ID")]
    kid: String,
}

/// The arguments of `rights erase`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison rights erase --register register.toml --sector health --pseudonym sante1p… \\\n    \
    --reason request --key secrets/people/rights-1.pem --kid rights-1 --out erase.jws\n  \
    cloison rights sign erase.jws --key secrets/people/rights-2.pem --kid rights-2\n  \
    cloison rights lodge erase.jws --client clients/rights-1.toml        # at the vault\n  \
    cloison rights lodge erase.jws --client clients/rights-1-node.toml   # at each authority's node\n\n\
    At once it destroys the mappings of exactly these pseudonyms and the salts of the batches that they may be in; after the \
    register's evidence-days it destroys the tags that link log entries to them. The answer does not say what there was. An \
    order that was lodged before keeps its own copy until it is over. A person has other pseudonyms in other epochs, periods \
    and purposes of the sector: name them too. It cannot be undone, and it does not reach backups of the store.")]
pub struct EraseArgs {
    /// The register: gives the deployment's id
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// The sector
    #[arg(long, value_name = "NAME")]
    sector: String,
    /// A pseudonym of the person in that sector; repeatable
    #[arg(
        long = "pseudonym",
        value_name = "PSEUDONYM",
        required_unless_present = "list"
    )]
    pseudonyms: Vec<String>,
    /// A file of pseudonyms, one a line ('-': standard input)
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Why, as a code of a-z, 0-9 and '-' that names nobody
    #[arg(long, value_name = "CODE")]
    reason: String,
    #[command(flatten)]
    key: RightsKeyArgs,
    /// Where to write it; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The arguments of `rights sign`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison rights sign erase.jws --key secrets/people/rights-2.pem --kid rights-2")]
pub struct EraseSignArgs {
    /// The request
    #[arg(value_name = "FILE")]
    request: PathBuf,
    #[command(flatten)]
    key: RightsKeyArgs,
    #[command(flatten)]
    assent: Assent,
}

/// The arguments of `rights lodge`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison rights lodge erase.jws --client clients/rights-1.toml        # at the vault\n  \
    cloison rights lodge erase.jws --client clients/rights-1-node.toml   # at each authority's node")]
pub struct EraseLodgeArgs {
    /// The request, signed by two
    #[arg(value_name = "FILE")]
    request: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// When an input is not valid, or the server refuses.
pub fn run(command: RightsCommand) -> Result<(), CommandError> {
    match command {
        RightsCommand::Resolutions(args) => resolutions(args),
        RightsCommand::Erase(args) => erase(args),
        RightsCommand::Sign(args) => countersign(&args),
        RightsCommand::Lodge(args) => lodge(&args),
    }
}

fn resolutions(args: ResolutionsArgs) -> Result<(), CommandError> {
    let mut pseudonyms = args.pseudonyms;
    pseudonyms.extend(lines(args.list.as_deref())?);
    let asked = ResolutionQuestion {
        sector: args.sector,
        pseudonyms,
        order: args.order,
    };
    let found: PersonResolutions = args
        .client
        .open()?
        .post_json("/v1/rights/resolutions", &asked)?;
    if args.json {
        return print_json(&found);
    }
    let several = found.items.len() > 1;
    let texts: Vec<String> = found
        .items
        .iter()
        .map(|item| shown(item, several))
        .collect();
    print(texts.join("\n"))
}

fn shown(found: &ItemResolutions, several: bool) -> String {
    let mut lines = vec![];
    if let Some(pseudonym) = found.pseudonym.as_ref().filter(|_| several) {
        lines.push(format!("{pseudonym}:"));
    }
    match (&found.code, found.resolutions.is_empty()) {
        (Some(code), _) => lines.push(format!("!{code}")),
        (None, true) => lines.push("no resolution that may be told".to_owned()),
        (None, false) => {}
    }
    for one in &found.resolutions {
        lines.push(format!(
            "{}  {} ({})  {}  case {}  order {}  entry {} of {}",
            one.time,
            one.authority,
            one.officer,
            one.basis,
            one.case,
            one.order,
            one.index,
            one.log
        ));
    }
    lines.join("\n")
}

fn erase(args: EraseArgs) -> Result<(), CommandError> {
    let register = read_register(&args.register)?;
    let mut pseudonyms = args.pseudonyms;
    pseudonyms.extend(lines(args.list.as_deref())?);
    let sector = register.sector(&args.sector);
    let sector = sector.ok_or_else(|| {
        CommandError::usage("the register has no such sector", "`cloison register show`")
    })?;
    if let Some(code) = pseudonyms
        .iter()
        .find_map(|text| sector.parse_pseudonym(text).err())
    {
        return Err(CommandError::usage(
            format_args!("a pseudonym is not of this sector: {code}"),
            "copy it as the vault answered it",
        ));
    }
    let erasure = ErasureRequest {
        aud: register.deployment.clone(),
        id: crate::clock::random_uuid(),
        sector: args.sector,
        pseudonyms,
        reason: Id::parse(&args.reason).ok_or_else(|| {
            CommandError::usage(
                "--reason is not a code",
                "write 1 to 64 of a-z, 0-9 and '-', such as request",
            )
        })?,
        time: present_second()?,
    };
    let signed = erasure
        .draft()
        .and_then(|draft| Ok((draft, args.key.read()?)))
        .map_err(unusable)?;
    let signed =
        statement::sign::<ErasureRequest>(&signed.0, &args.key.kid, &signed.1).map_err(unusable)?;
    write_new(&args.out, &signed)?;
    let said = format!(
        "Request {} signed by {}: {}. A second rights officer signs it: `cloison rights sign`",
        erasure.id,
        args.key.kid,
        args.out.display()
    );
    print_either(
        said,
        || json!({"id": erasure.id, "signed-by": args.key.kid.as_str(), "request": args.out}),
    )
}

impl RightsKeyArgs {
    fn read(&self) -> Result<ed25519_dalek::SigningKey, Refusal> {
        read_signing_key(&self.key)
            .map_err(|error| Refusal::new(crate::code::Code::RightsInvalid, error.to_string()))
    }
}

fn countersign(args: &EraseSignArgs) -> Result<(), CommandError> {
    let text = read_text(&args.request)?;
    let erasure: ErasureRequest = statement::read_unverified(&text).map_err(unusable)?;
    let key = args.key.read().map_err(unusable)?;
    let summary = summary(&erasure);
    signed_file::countersign::<ErasureRequest>(
        &args.request,
        &text,
        &summary,
        args.assent,
        |text| statement::sign::<ErasureRequest>(text, &args.key.kid, &key).map_err(unusable),
    )?;
    let (kid, request) = (&args.key.kid, args.request.display());
    print_either(
        format_args!("Signed by {kid}: {request}"),
        || json!({"signed-by": kid.as_str(), "request": args.request}),
    )
}

/// What a request says, for the people who sign it. Its texts were not checked, so they are
/// escaped: nothing in them moves a reader's cursor.
fn summary(erasure: &ErasureRequest) -> String {
    const MOST_SHOWN: usize = 5;
    let ErasureRequest {
        id,
        aud,
        sector,
        pseudonyms,
        reason,
        time,
    } = erasure;
    let mut text = format!(
        "This is what is signed:\n  erasure      {id}\n  deployment   {aud}\n  sector       {}\n  reason       {reason}\n  \
         written      {time}\n  pseudonyms   {}",
        sector.escape_debug(),
        pseudonyms.len(),
    );
    for pseudonym in pseudonyms.iter().take(MOST_SHOWN) {
        text += &format!("\n               {}", pseudonym.escape_debug());
    }
    if let more @ 1.. = pseudonyms.len().saturating_sub(MOST_SHOWN) {
        text += &format!("\n               {more} more");
    }
    text
}

fn lodge(args: &EraseLodgeArgs) -> Result<(), CommandError> {
    let brought = ErasureText {
        request: read_text(&args.request)?.trim_end().to_owned(),
    };
    // The server refuses what cannot be read, and says why.
    if let Ok(erasure) = statement::read_unverified::<ErasureRequest>(&brought.request) {
        let changes = format!(
            "The data of {} pseudonyms in sector {} is destroyed there.",
            erasure.pseudonyms.len(),
            erasure.sector.escape_debug()
        );
        args.assent.obtain(&Irreversible {
            changes,
            lost: "They cannot be re-identified or found again.",
        })?;
    }
    let done: ErasureReceipt = args
        .client
        .open()?
        .post_json("/v1/rights/erasures", &brought)?;
    if args.json {
        return print_json(&done);
    }
    let copies = match (done.backups_until, done.side_records_until) {
        (Some(backups), Some(records)) => format!(
            "Backups hold them until {backups} at the latest, side records of the log until {records}."
        ),
        _ => "This server takes no backups: it keeps the side records of the log, and copies of the store that others made are theirs to end.".to_owned(),
    };
    print(format_args!(
        "Carried out: entry {} of {} says so. The bytes are being cleared from the store's files.\n{copies}",
        done.entry.index, done.entry.log
    ))
}

fn unusable(refusal: Refusal) -> CommandError {
    CommandError::new(refusal, "`cloison rights erase --help` has an example")
}

/// The entries of a list, where one is named.
fn lines(file: Option<&Path>) -> Result<Vec<String>, CommandError> {
    let entries = file.map_or(Ok(vec![]), list::read)?;
    Ok(entries.into_iter().map(|entry| entry.text).collect())
}
