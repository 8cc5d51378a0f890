//! `cloison audit inspection new`, `enter`, `list`, `close`: the commission's decisions to inspect.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::filter::beginning;
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::{ClientFile, bringing_client};
use crate::cli::inputs::{id_of_option, present_second, read_register, write_new};
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::inspection::decision::{InspectionClosing, InspectionDecision};
use crate::inspection::{InspectionList, InspectionStage, InspectionText, InspectionView};
use crate::keys::file::read_signing_key;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::statement;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// Enter, list and close inspections of the commission
#[derive(clap::Subcommand)]
pub enum InspectionCommand {
    /// Write and sign a decision to inspect, with a register key of the commission
    New(Box<InspectionNewArgs>),
    /// Bring a signed decision, or the signed end of an inspection, to the vault or an authority's
    /// node
    Enter(InspectionEnterArgs),
    /// List the inspections that were entered there
    List(InspectionListArgs),
    /// Sign that an inspection is over before its time
    Close(InspectionCloseArgs),
}

/// The arguments of `audit inspection new`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison audit inspection new --register register.toml --key secrets/register/commission.pem \\\n    \
    --kid commission --reference D-118/2026 --controller 'Caisse nationale de sécurité sociale' \\\n    \
    --address 'Casablanca' --agent 'A. Agent' --auditor auditor \\\n    \
    --object 'Re-identifications in the sector health' --sector health --days 30 \\\n    \
    --client clients/auditor.toml\n\n\
    Decree 2-09-165, art. 17. The object is a text for people; its sectors and actors are what the servers enforce: with both, \
    an entry must be in one of the sectors and by one of the actors. Enter it at the vault and at each node to be inspected.")]
pub struct InspectionNewArgs {
    /// The register: gives the deployment's id
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    #[command(flatten)]
    seal: InspectionSealArgs,
    /// The commission's reference: 1 to 40 of A-Z, 0-9, '/', '.' and '-'
    #[arg(long)]
    reference: String,
    /// The controller inspected
    #[arg(long, value_name = "NAME")]
    controller: String,
    /// Its address
    #[arg(long)]
    address: String,
    /// A commissioned agent, by name; repeatable
    #[arg(long = "agent", value_name = "NAME", required = true)]
    agents: Vec<String>,
    /// An auditor of the register to whom it opens; repeatable
    #[arg(long = "auditor", value_name = "ID", required = true)]
    auditors: Vec<String>,
    /// What it is about, in words
    #[arg(long, value_name = "TEXT")]
    object: String,
    /// A sector, exactly; repeatable
    #[arg(long = "sector", value_name = "NAME")]
    sectors: Vec<String>,
    /// A client, organisation, authority, officer or operator; repeatable
    #[arg(long = "actor", value_name = "ID", required_unless_present = "sectors")]
    actors: Vec<String>,
    /// Only what was logged from this day or instant on
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    from: Option<Timestamp>,
    /// Only what was logged before this day or instant
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    to: Option<Timestamp>,
    /// When it opens [default: now]
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    not_before: Option<Timestamp>,
    /// How many days it lasts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
}

/// Who signs, and where the signed document goes.
#[derive(clap::Args)]
struct InspectionSealArgs {
    /// A register key of the commission: Ed25519, PKCS#8 PEM, mode 0600
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The key's id, as vault and node have it pinned
    #[arg(long, value_name = "ID")]
    kid: String,
    /// Write the signed document to this file, for others to bring; an existing file is never
    /// overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Bring it at once, as the client of this file: an auditor or an operator [default: that of
    /// CLOISON_CLIENT, without --out]
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The arguments of `audit inspection enter`.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison audit inspection enter inspection.jws --client clients/auditor.toml"
)]
pub struct InspectionEnterArgs {
    /// The decision, or the end of an inspection, signed
    #[arg(value_name = "FILE")]
    statement: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    client: ClientFile,
}

/// The arguments of `audit inspection list`.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison audit inspection list --client clients/auditor.toml"
)]
pub struct InspectionListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// The arguments of `audit inspection close`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison audit inspection close 0f9c2f5e-5d3a-4b21-9c4d-1f2e3d4c5b6a --register register.toml \\\n    \
    --reason done --key secrets/register/commission.pem --kid commission \\\n    \
    --client clients/auditor.toml")]
pub struct InspectionCloseArgs {
    /// The register: gives the deployment's id
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// Why, as a code of a-z, 0-9 and '-' that names nobody
    #[arg(long, value_name = "CODE")]
    reason: String,
    #[command(flatten)]
    seal: InspectionSealArgs,
    #[command(flatten)]
    assent: Assent,
    /// The inspection's id
    #[arg(value_name = "INSPECTION")]
    inspection: Uuid,
}

/// Runs the command.
///
/// # Errors
/// When an input is not valid, or the server refuses.
pub fn run(command: InspectionCommand) -> Result<(), CommandError> {
    match command {
        InspectionCommand::New(args) => new(*args),
        InspectionCommand::Enter(args) => {
            let text = read_text(&args.statement)?;
            if !is_decision(&text) {
                obtain(
                    args.assent,
                    "An inspection ends before its time.".to_owned(),
                )?;
            }
            bring(&args.client.open()?, &text, args.json)
        }
        InspectionCommand::List(args) => list(&args),
        InspectionCommand::Close(args) => close(args),
    }
}

fn new(args: InspectionNewArgs) -> Result<(), CommandError> {
    let not_before = args.not_before.unwrap_or_else(|| SystemClock.now());
    let not_before = whole(not_before)?;
    let not_after = not_before
        .checked_add(SignedDuration::from_hours(24 * i64::from(args.days)))
        .map_err(|_| {
            CommandError::usage(
                "the inspection would end after the end of time",
                "give an earlier --not-before",
            )
        })?;
    let ids = |option: &str, texts: &[String]| {
        texts
            .iter()
            .map(|text| id_of_option(option, text))
            .collect::<Result<Vec<_>, _>>()
    };
    let decision = InspectionDecision {
        aud: read_register(&args.register)?.deployment,
        id: crate::clock::random_uuid(),
        reference: args.reference,
        controller: args.controller,
        address: args.address,
        agents: args.agents,
        object: args.object,
        auditors: ids("--auditor", &args.auditors)?,
        sectors: args.sectors,
        actors: ids("--actor", &args.actors)?,
        from: args.from.map(whole).transpose()?,
        to: args.to.map(whole).transpose()?,
        not_before,
        not_after,
    };
    args.seal.finish(
        &decision,
        &format!("inspection {} ({})", decision.id, decision.reference),
    )
}

fn close(args: InspectionCloseArgs) -> Result<(), CommandError> {
    obtain(
        args.assent,
        format!("Inspection {} ends before its time.", args.inspection),
    )?;
    let closing = InspectionClosing {
        aud: read_register(&args.register)?.deployment,
        inspection: args.inspection,
        reason: id_of_option("--reason", &args.reason)?,
        time: present_second()?,
    };
    args.seal.finish(
        &closing,
        &format!("the end of inspection {}", args.inspection),
    )
}

impl InspectionSealArgs {
    fn finish<S: statement::Statement>(self, says: &S, what: &str) -> Result<(), CommandError> {
        let client = bringing_client(self.client.as_deref(), self.out.as_deref(), "document")?;
        let hint = "name a register key of the commission, which vault and node have pinned";
        let key = read_signing_key(&self.key).map_err(|error| CommandError::new(error, hint))?;
        let signed = says
            .draft()
            .and_then(|draft| statement::sign::<S>(&draft, &self.kid, &key))
            .map_err(unusable)?;
        if let Some(out) = &self.out {
            write_new(out, &signed)?;
        }
        match client {
            Some(client) => bring(&client, &signed, self.json),
            None => print(format_args!(
                "Signed by {}: {what}. It is in force where it is entered: `cloison audit inspection enter`",
                self.kid
            )),
        }
    }
}

fn obtain(assent: Assent, changes: String) -> Result<(), CommandError> {
    assent.obtain(&Irreversible {
        changes,
        lost: "It does not open again: that needs a new signed decision.",
    })
}

/// Whether a text is a decision, and not the end of an inspection.
fn is_decision(text: &str) -> bool {
    statement::read_unverified::<InspectionDecision>(text.trim_end()).is_ok()
}

fn bring(client: &Client, text: &str, json: bool) -> Result<(), CommandError> {
    let path = if is_decision(text) {
        "/v1/inspections"
    } else {
        "/v1/inspections/closings"
    };
    let statement = InspectionText {
        statement: text.trim_end().to_owned(),
    };
    let view: InspectionView = client.post_json(path, &statement)?;
    if json {
        print_json(&view)
    } else {
        print(shown(&view).trim_end())
    }
}

fn list(args: &InspectionListArgs) -> Result<(), CommandError> {
    let listed: InspectionList = args.client.open()?.get_json("/v1/inspections")?;
    if args.json {
        return print_json(&listed);
    }
    if listed.inspections.is_empty() {
        print("no inspection there names you")
    } else {
        print(
            listed
                .inspections
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join("\n")
                .trim_end(),
        )
    }
}

fn shown(view: &InspectionView) -> String {
    let decision = &view.decision;
    let state = match view.state {
        InspectionStage::Pending => "not open yet",
        InspectionStage::Open => "open",
        InspectionStage::Over => "over",
        InspectionStage::Closed => "closed",
    };
    let all = |names: Vec<&str>| {
        if names.is_empty() {
            "any".to_owned()
        } else {
            names.join(", ")
        }
    };
    let ids = |ids: &[Id]| all(ids.iter().map(Id::as_str).collect());
    let bound = |time: Option<Timestamp>| time.map_or("…".to_owned(), |time| time.to_string());
    format!(
        "{} {} ({state})\n  controller   {}, {}\n  agents       {}\n  object       {}\n  sectors      {}\n  actors       {}\n  \
         logged       {} to {}\n  auditors     {}\n  open         {} to {}\n  signed by    {}\n",
        decision.id,
        decision.reference,
        decision.controller,
        decision.address,
        decision.agents.join(", "),
        decision.object,
        all(decision.sectors.iter().map(String::as_str).collect()),
        ids(&decision.actors),
        bound(decision.from),
        bound(decision.to),
        ids(&decision.auditors),
        decision.not_before,
        format_args!("{:.0}", view.end()),
        ids(&view.signers),
    )
}

fn whole(time: Timestamp) -> Result<Timestamp, CommandError> {
    Timestamp::from_second(time.as_second())
        .map_err(|error| CommandError::new(error, "write it like 2026-11-22T09:00:00Z"))
}

fn unusable(refusal: Refusal) -> CommandError {
    CommandError::new(
        refusal,
        "`cloison audit inspection new --help` has an example",
    )
}
