//! `cloison order`: makes, signs, checks and shows orders (without a vault or a node), and acts
//! upon them.

mod act;
mod list;
mod new;
mod show;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde::Serialize;

use serde_json::json;

use super::assent::Assent;
use super::inputs::{order_payload, read_person_key, read_register};
use super::signed_file;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::jws;
use crate::order::{OrderFinding, OrderPayload, examine};
use crate::refusal::Refusal;
use crate::register::{Id, Register};
use crate::statement::{Statement as _, UnverifiedStatement};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_either, print_json};

/// Make, sign, check and read orders; stop them, and see where they stand
#[derive(clap::Subcommand)]
pub enum OrderCommand {
    /// Write an unsigned order, for approvers to sign
    New(Box<new::OrderNewArgs>),
    /// Add an approver's signature to the file of an order, or of an act upon one
    Sign(OrderSignArgs),
    /// Check an order against a register and the time, and list every rule that it breaks
    Check(OrderCheckArgs),
    /// Print what an order says, without verifying it
    Show(show::OrderShowArgs),
    /// List the orders that the vault or the authority node knows, and where they stand
    List(list::OrderListArgs),
    /// End an order for good; any one of its authority's approvers may do this
    #[command(after_long_help = "Examples:\n  \
    cloison order revoke --key secrets/people/judge-1.pem --kid judge-1 --reason case-closed \\\n    \
    --client clients/officer.toml orders/17.jws\n  \
    cloison order revoke --yes --key secrets/people/judge-1.pem --kid judge-1 --reason key-lost \\\n    \
    --register register.toml --out revoke.jws 97483811-47ac-4cfb-9d79-2e01cc0fb1e3\n\n\
        Anyone who has the signed file may bring it to either side or to both: `cloison order lodge`. When the node is no longer \
        trusted, have an operator bring it to the vault.")]
    Revoke(act::OrderActArgs),
    /// Stop an order until the suspension is lifted; any one of its authority's approvers may do
    /// this
    #[command(after_long_help = "Example:\n  \
    cloison order suspend --key secrets/people/judge-1.pem --kid judge-1 --reason appeal \\\n    \
    --client clients/officer.toml orders/17.jws")]
    Suspend(act::OrderActArgs),
    /// Lift suspensions; this needs a quorum, as an order does
    #[command(after_long_help = "Example:\n  \
    cloison order resume --key secrets/people/judge-1.pem --kid judge-1 --reason appeal-rejected \\\n    \
    --lift DIGEST --out resume.jws orders/17.jws\n  \
    cloison order sign --key secrets/people/prosecutor-1.pem --kid prosecutor-1 resume.jws\n  \
    cloison order lodge resume.jws --client clients/officer.toml\n\n\
        The act lifts the suspensions that it names and no later one. `cloison order list` shows their digests.")]
    Resume(act::OrderResumeArgs),
    /// Close the review that the use of an order under force majeure opened
    #[command(after_long_help = "Example:\n  \
    cloison order review --close --key secrets/people/inspector.pem --kid inspector --reason lawful \\\n    \
    --client clients/officer.toml orders/17.jws\n\n\
        A review is closed when the order is over, by an approver of a body that did not sign it; or, where the authority has \
        no such body, by two bodies with at least one person who did not sign it (--out, then `cloison order sign`, `lodge`).")]
    Review(act::OrderReviewArgs),
    /// Bring a signed act, or an order before it is used, to the authority node (as an officer) or
    /// to the vault (as an operator)
    #[command(after_long_help = "Examples:\n  \
        cloison order lodge revoke.jws --client clients/officer.toml\n  \
        cloison order lodge --order orders/17.jws --client clients/officer.toml\n\n\
        An order is lodged at most 30 days before it is valid. The vault copies the mappings that it lists into the order's own rows, \
        so that no erasure and no retired epoch removes them; it does not say which mappings there were.")]
    Lodge(act::OrderLodgeArgs),
}

/// The arguments of `order sign`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison order sign --key secrets/people/judge-1.pem --kid judge-1 --register register.toml \\\n    \
    orders/17.jws\n\n\
    Prints what is signed before it signs, and asks when it runs at a terminal; then adds the signature to the file, and says \
    which signatures are still missing. \
    With --register it refuses an order that the register forbids, and a key that is not the approver's.")]
pub struct OrderSignArgs {
    /// The approver's own private key: Ed25519, PKCS#8 PEM, mode 0600
    #[arg(long, value_name = "FILE", env = "CLOISON_APPROVER_KEY")]
    key: PathBuf,
    /// The approver's id in the register
    #[arg(long, value_name = "ID")]
    kid: String,
    /// The register, to check the order and the key against before signing
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// The order
    #[arg(value_name = "ORDERFILE")]
    order: PathBuf,
}

/// The arguments of `order check`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison order check orders/17.jws --register register.toml\n\n\
    Makes every check that needs only the order, the register and the time. Vault and node also check which payload they \
    first saw under the order's id, how much of its limit was used, and whether it was revoked. `cloison register verify` \
    checks the register's own signatures.\n\n\
    Exit codes: 0 valid; 1 refused.")]
pub struct OrderCheckArgs {
    /// The order
    #[arg(value_name = "ORDERFILE")]
    order: PathBuf,
    /// The register
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// Check it for this time instead of now, e.g. 2026-11-22T09:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// As the command's help says.
pub fn run(command: OrderCommand) -> Result<(), CommandError> {
    match command {
        OrderCommand::New(args) => new::run(&args),
        OrderCommand::Sign(args) => sign(&args),
        OrderCommand::Check(args) => check(&args),
        OrderCommand::Show(args) => show::run(&args),
        OrderCommand::List(args) => list::run(&args),
        OrderCommand::Revoke(args) => act::revoke(&args),
        OrderCommand::Suspend(args) => act::suspend(&args),
        OrderCommand::Resume(args) => act::resume(&args),
        OrderCommand::Review(args) => act::review(&args),
        OrderCommand::Lodge(args) => act::lodge(&args),
    }
}

// --- sign
// -------------------------------------------------------------------------------------------------------------

fn sign(args: &OrderSignArgs) -> Result<(), CommandError> {
    let text = read_text(&args.order)?;
    let key = read_person_key(&args.key, "approver")?;
    let register = args.register.as_deref().map(read_register).transpose()?;
    if act::is_act(&text) {
        return act::sign(args, &text, &key, register.as_ref());
    }
    let payload = order_payload(&args.order, &text)?;
    if let Some(register) = &register {
        allowed(&text, register)?;
        is_key_of_approver(args, &key, &payload.authority, register)?;
    }
    let summary = show::summary(&text, &payload)?;
    let signed = signed_file::countersign::<OrderPayload>(
        &args.order,
        &text,
        &summary,
        args.assent,
        |text| {
            jws::add_signature(text, OrderPayload::TYP, &args.kid, &key)
                .map_err(|error| unsigned(&args.order, error))
        },
    )?;
    let missing = missing(&signed, &payload, register.as_ref());
    let (kid, order) = (&args.kid, args.order.display());
    print_either(
        format_args!("Signed by {kid}: {order}\n{missing}"),
        || json!({"signed-by": kid.as_str(), "order": args.order, "id": payload.id, "missing": missing.to_string()}),
    )
}

fn unsigned(path: &Path, error: jws::JwsError) -> CommandError {
    let hint = match error {
        jws::JwsError::DuplicateSigner => {
            "this approver has already signed: have another approver sign"
        }
        _ => "check --kid: the approver's id as the register spells it",
    };
    CommandError::new(format_args!("{}: {error}", path.display()), hint)
}

/// Refuses a key that is not the one which the register has for this approver.
fn is_key_of_approver(
    args: &OrderSignArgs,
    key: &SigningKey,
    authority: &Id,
    register: &Register,
) -> Result<(), CommandError> {
    let approver = register
        .authorities
        .get(authority)
        .zip(Id::parse(&args.kid));
    match approver.and_then(|(authority, kid)| authority.approvers.get(&kid)) {
        Some(approver) if approver.key == key.verifying_key() => Ok(()),
        Some(_) => Err(CommandError::new(
            "the key is not the approver's",
            "check --key and --kid",
        )),
        None => {
            let what = format!("the register knows no such approver of authority {authority}");
            Err(CommandError::new(
                what,
                "check --kid; `cloison register show` lists the approvers",
            ))
        }
    }
}

/// Says which signatures an order still lacks; without a register, how many it has.
fn missing(text: &str, payload: &OrderPayload, register: Option<&Register>) -> String {
    let order = UnverifiedStatement::<OrderPayload>::read(text);
    let signers: Vec<&str> = order
        .iter()
        .flat_map(UnverifiedStatement::claimed_signers)
        .collect();
    let Some(register) = register else {
        return format!(
            "Signatures in the file: {}. An order needs at least two, from two bodies; with --register this command says which are missing.",
            signers.len()
        );
    };
    let findings = examine(text, register, SystemClock.now());
    let quorum = findings
        .into_iter()
        .find(|finding| finding.name == "quorum")
        .and_then(|finding| finding.result);
    let Some(Err(refusal)) = quorum else {
        return "No signature is missing.".to_owned();
    };
    let approvers = register
        .authorities
        .get(&payload.authority)
        .into_iter()
        .flat_map(|authority| authority.approvers.values());
    let left: Vec<String> = approvers
        .filter(|approver| signers.iter().all(|signer| *signer != approver.id.as_str()))
        .map(|approver| format!("{} ({})", approver.id, approver.body))
        .collect();
    format!(
        "Still missing: {refusal}. These have not signed: {}",
        left.join(", ")
    )
}

/// Refuses an order that the register forbids, however many approvers sign it. Rules about
/// signatures and the order's beginning are left out.
fn allowed(text: &str, register: &Register) -> Result<(), CommandError> {
    let later = |code| matches!(code, Code::OrderQuorum | Code::OrderNotYetValid);
    let broken = examine(text, register, SystemClock.now())
        .into_iter()
        .find_map(|finding| match finding.result {
            Some(Err(refusal)) if !later(refusal.code()) => Some((finding.name, refusal)),
            _ => None,
        });
    match broken {
        None => Ok(()),
        Some((name, refusal)) => {
            let what = format!(
                "the register forbids this order: {name}: {}: {refusal}",
                refusal.code()
            );
            Err(CommandError::new(
                what,
                "`cloison order check` lists every rule that an order breaks",
            ))
        }
    }
}

// --- check
// ------------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct OrderCheckReport {
    valid: bool,
    /// SHA-256 of the payload, where there is one.
    digest: Option<String>,
    checks: Vec<OrderCheckLine>,
}

#[derive(Serialize)]
struct OrderCheckLine {
    name: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

fn check(args: &OrderCheckArgs) -> Result<(), CommandError> {
    let text = read_text(&args.order)?;
    let register = read_register(&args.register)?;
    let findings = examine(
        &text,
        &register,
        args.at.unwrap_or_else(|| SystemClock.now()),
    );
    let report = OrderCheckReport {
        valid: findings
            .iter()
            .all(|finding| finding.result == Some(Ok(()))),
        digest: crate::order::digest_of(&text)
            .ok()
            .map(|digest| data_encoding::HEXLOWER.encode(&digest)),
        checks: findings.into_iter().map(line).collect(),
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(report.text().trim_end())?;
    }
    match report.checks.iter().find_map(|line| line.code) {
        None if report.valid => Ok(()),
        Some(Code::OrderQuorum) => Err(CommandError::new(
            format_args!("{}: not valid", args.order.display()),
            "have an approver of another body sign it: `cloison order sign`",
        )),
        _ => Err(CommandError::new(
            format_args!("{}: not valid", args.order.display()),
            "an order cannot be changed: make another one with `cloison order new`",
        )),
    }
}

fn line(finding: OrderFinding) -> OrderCheckLine {
    let (result, refusal) = match finding.result {
        Some(Ok(())) => ("passed", None),
        Some(Err(refusal)) => ("refused", Some(refusal)),
        None => ("not-reached", None),
    };
    let code = refusal.as_ref().map(Refusal::code);
    OrderCheckLine {
        name: finding.name,
        result,
        code,
        why: refusal.map(|refusal| refusal.to_string()),
    }
}

impl OrderCheckReport {
    fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.checks {
            // Writing to a String cannot fail.
            let _ = match (line.result, line.code, &line.why) {
                ("passed", ..) => writeln!(out, "  ok       {}", line.name),
                (_, Some(code), Some(why)) => {
                    writeln!(out, "  REFUSED  {:<12} {code}: {why}", line.name)
                }
                _ => writeln!(out, "  -        {:<12} not reached", line.name),
            };
        }
        if self.valid {
            out.push_str(
                "The order is valid under this register now. Vault and node also check what they have stored.",
            );
        } else {
            out.push_str("The order is NOT valid.");
        }
        out
    }
}
