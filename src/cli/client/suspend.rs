//! `cloison client suspend`: shuts out a register entry at once.

use std::path::PathBuf;

use ed25519_dalek::SigningKey;

use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::{at_each, usual_client};
use crate::cli::inputs::{parse_id, read_register};
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::jws;
use crate::keys::file::read_signing_key;
use crate::register::Id;
use crate::statement::{self, Statement as _};
use crate::suspension::{
    REASONS, SuspensionAct, SuspensionAnswer, SuspensionPayload, SuspensionText,
};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// Shut out a client, an operator, an officer or any other entry of the register at once
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison client suspend cnss-health --reason key-stolen --register register.toml \\\n    \
    --key secrets/register/operations.pem --kid operations --client clients/operator.toml\n  \
    cloison client suspend cnss-health --lift --reason precaution --register register.toml \\\n    \
    --key operations.pem --kid operations --out lift.jws\n\n\
    One register key suffices to suspend; for an officer or a custodian, an approver of their authority has it too. The entry is refused from \
    its next request on, on open connections too, and in every handshake. One key suspends at most 10 a day. To lift, as many register keys \
    sign as sign a register: the first writes the statement with --out, the next add theirs with --statement, and the last brings it. A register that no longer \
    names the entry ends the suspension. Bring it to the vault and to each node: --client may be given several times.")]
pub struct SuspendArgs {
    /// The id of the register entry
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: Id,
    /// Why
    #[arg(long, value_name = "CODE", value_parser = clap::builder::PossibleValuesParser::new(REASONS))]
    reason: String,
    /// Let the entry in again
    #[arg(long)]
    lift: bool,
    /// The register that is in force
    #[arg(long, value_name = "FILE", default_value = "register.toml")]
    register: PathBuf,
    /// The private key to sign with: Ed25519, PKCS#8 PEM, readable by you alone
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The key's id: of a register key, or of an approver
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    kid: Id,
    /// A statement that others signed before: sign it too. One that you signed before is brought as
    /// it is
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    /// Write the signed statement to a new file instead of bringing it
    #[arg(long, value_name = "FILE", conflicts_with = "clients")]
    out: Option<PathBuf>,
    /// Write the statement to a new file before it is brought, to bring the same one again with
    /// --statement to a server that does not take it now
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    keep: Option<PathBuf>,
    /// The client file with which to bring it: an operator's, an auditor's, an officer's; several
    /// for several servers [default: that of CLOISON_CLIENT, without --out]
    #[arg(long = "client", value_name = "FILE")]
    clients: Vec<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the statement cannot be signed, or a server refuses it.
pub(super) fn run(args: &SuspendArgs) -> Result<(), CommandError> {
    let key = read_signing_key(&args.key)
        .map_err(|error| CommandError::new(error, "name your own private key to sign with"))?;
    let signed = signed(args, &key)?;
    if let Some(out) = &args.out {
        crate::cli::inputs::write_new(out, &signed)?;
        return print(format_args!("{}: signed by {}", out.display(), args.kid));
    }
    let clients = clients(args)?;
    let what = if args.lift {
        "is let in again"
    } else {
        "is refused from its next request on"
    };
    let changes = format!("{} {what}, at {}.", args.id, places(&clients));
    let lost = "The audit log keeps it.";
    if args.lift {
        args.assent.obtain(&Irreversible { changes, lost })?;
    } else {
        // A lift undoes it, and a script of the night must not wait for a person.
        let question = format!("{changes}\n{lost}\nGo on?");
        args.assent.obtain_at_terminal(&question)?;
    }
    if let Some(keep) = &args.keep {
        crate::cli::inputs::write_new(keep, &signed)?;
    }
    at_each(&clients, |client| bring(args, client, &signed, what))
}

/// Brings the statement to one server. One that has it already is no failure: so the same command
/// with the same statement can be given again.
fn bring(
    args: &SuspendArgs,
    client: &Client,
    signed: &str,
    what: &str,
) -> Result<(), CommandError> {
    let url = &client.config().url;
    let asked = SuspensionText {
        statement: signed.to_owned(),
    };
    let answer: SuspensionAnswer = match client.post_json("/v1/suspensions", &asked) {
        Ok(answer) => answer,
        Err(error) => {
            let error = CommandError::from(error);
            return match error.code() {
                Some(code)
                    if code == Code::RequestReplayed.as_str() && args.statement.is_some() =>
                {
                    print(format_args!("{url}: has this statement already"))
                }
                _ => Err(error),
            };
        }
    };
    if args.json {
        return print_json(&answer);
    }
    let now: Vec<_> = (answer.suspended.iter())
        .map(|row| row.entry.as_str())
        .collect();
    let now = if now.is_empty() {
        "nobody".to_owned()
    } else {
        now.join(", ")
    };
    print(format_args!(
        "{url}: {} {what}; suspended now: {now}",
        args.id
    ))
}

/// The statement with this person's signature; as it is, if they have signed it.
fn signed(args: &SuspendArgs, key: &SigningKey) -> Result<String, CommandError> {
    let draft = match &args.statement {
        Some(file) => checked(args, read_text(file)?.trim_end().to_owned())?,
        None => payload(args)?.draft().map_err(unusable)?,
    };
    let known = jws::parse(&draft, SuspensionPayload::TYP);
    if known.is_ok_and(|known| known.signers().any(|kid| kid == args.kid.as_str())) {
        return Ok(draft);
    }
    statement::sign::<SuspensionPayload>(&draft, args.kid.as_str(), key).map_err(unusable)
}

/// The client files to bring it with.
fn clients(args: &SuspendArgs) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = args.clients.clone();
    if files.is_empty() {
        files.extend(usual_client());
    }
    if files.is_empty() {
        return Err(CommandError::usage(
            "the signed statement has no destination",
            "give --client FILE to bring it, or --out FILE",
        ));
    }
    Ok(files)
}

fn places(clients: &[PathBuf]) -> String {
    let files = clients.iter().map(|file| file.display().to_string());
    format!("the servers of {}", files.collect::<Vec<_>>().join(", "))
}

fn payload(args: &SuspendArgs) -> Result<SuspensionPayload, CommandError> {
    let register = read_register(&args.register)?;
    if !register.has_caller(&args.id) {
        return Err(CommandError::new(
            format_args!(
                "{} has no entry `{}` with a certificate's key",
                args.register.display(),
                args.id
            ),
            "`cloison register show` lists them",
        ));
    }
    let now = SystemClock.now();
    Ok(SuspensionPayload {
        aud: register.deployment.clone(),
        id: crate::clock::random_uuid(),
        act: act(args),
        entry: args.id.clone(),
        reason: args.reason.clone(),
        time: jiff::Timestamp::from_second(now.as_second()).unwrap_or(now),
    })
}

fn act(args: &SuspendArgs) -> SuspensionAct {
    if args.lift {
        SuspensionAct::Lift
    } else {
        SuspensionAct::Suspend
    }
}

/// A statement of others that says what the command line says.
fn checked(args: &SuspendArgs, text: String) -> Result<String, CommandError> {
    let says: SuspensionPayload = statement::read_unverified(&text).map_err(unusable)?;
    if (says.act, &says.entry, &says.reason) == (act(args), &args.id, &args.reason) {
        Ok(text)
    } else {
        Err(CommandError::new(
            format_args!(
                "the statement says: {} {} ({})",
                says.act.as_str(),
                says.entry,
                says.reason
            ),
            "name the same entry, act and reason, if you want to sign that",
        ))
    }
}

fn unusable(refusal: crate::refusal::Refusal) -> CommandError {
    CommandError::new(refusal, "`cloison client suspend --help` has examples")
}
