//! `cloison statement`: makes, signs and checks the statements by which operators allow an act that
//! destroys. None of this talks to a vault; the command that destroys brings the statement with
//! `--statement`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use serde_json::json;

use super::assent::Assent;
use super::inputs::{present_second, read_person_key, read_register, write_new};
use super::signed_file;
use crate::clock::{Clock as _, SystemClock};
use crate::epoch::statement::{Destruction, DestructionPayload, check as check_statement};
use crate::id::Id;
use crate::refusal::Refusal;
use crate::register::Register;
use crate::statement::{self, Statement as _, UnverifiedStatement};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_beside, print_either, voice};

/// Make, sign and check the statements by which operators allow destruction
#[derive(clap::Subcommand)]
pub enum StatementCommand {
    /// Write an unsigned statement, for operators to sign
    New(Box<StatementNewArgs>),
    /// Add an operator's signature to the file of a statement
    Sign(StatementSignArgs),
    /// Say what a statement allows, who signed it, and whether that is enough
    Check(StatementCheckArgs),
}

/// The arguments of `statement new`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison statement new --register register.toml --retire-secret 1 --out statement.jws\n  \
    cloison statement new --register register.toml --own-secret health.chu-rabat.study-42:1 --out \\\n    \
    statement.jws\n  \
    cloison statement new --register register.toml --retire-epoch health:1 --out statement.jws\n  \
    cloison statement new --register register.toml --lower-clock-mark vault:2036-11-20T12:00:00Z \\\n    \
    --out statement.jws\n  \
    cloison statement new --register register.toml \\\n    \
    --restore-without-places vault:20261128T081500Z-1f3a9c07 --case OPS/2026-17 --out statement.jws\n\n\
    A statement allows one act, for seven days. Next: `cloison statement sign`, then --statement of the command that acts (`cloison restore`: --without-places).")]
pub struct StatementNewArgs {
    /// The register: gives the deployment's id
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    #[command(flatten)]
    act: StatementActArgs,
    /// With --restore-without-places and --resume-from-copy: the reference of the case in which
    /// that was decided
    #[arg(long, value_name = "REFERENCE", requires = "loss")]
    case: Option<String>,
    /// Where to write it; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct StatementActArgs {
    /// Allow `cloison secrets retire` of this version; two operators sign
    #[arg(long, value_name = "VERSION")]
    retire_secret: Option<u32>,
    /// Allow `cloison epoch advance --own-secret` of a sector without mappings, from this epoch;
    /// two operators sign
    #[arg(long, value_name = "SECTOR:FROM", value_parser = at_epoch)]
    own_secret: Option<(String, u32)>,
    /// Allow `cloison client retire-epoch`; one operator signs, and the sector's client brings it
    #[arg(long, value_name = "SECTOR:EPOCH", value_parser = at_epoch)]
    retire_epoch: Option<(String, u32)>,
    /// Allow `cloison clock lower` at `vault`, `node/AUTHORITY` or `identity/ID` from this mark,
    /// which its /readyz names; two operators sign
    #[arg(long, value_name = "ENTITY:TIME", value_parser = at_mark)]
    lower_clock_mark: Option<(String, Timestamp)>,
    /// Allow `cloison restore --without-places` of the store of `vault`, `node/AUTHORITY` or
    /// `identity/ID` from this backup; two operators sign
    #[arg(long, value_name = "ENTITY:BACKUP", value_parser = of_entity, requires = "case", group = "loss")]
    restore_without_places: Option<(String, String)>,
    /// Allow `cloison audit resume --after-restore` of the log of `vault`, `node/AUTHORITY` or
    /// `identity/ID` from a copy that ends there, as that command says; two operators sign
    #[arg(long, value_name = "ENTITY:KEPT", value_parser = of_entity, requires = "case", group = "loss")]
    resume_from_copy: Option<(String, String)>,
    /// After such a restore: a sector is answered in this epoch again; two operators sign
    #[arg(long, value_name = "SECTOR:EPOCH", value_parser = at_epoch)]
    confirm_epoch: Option<(String, u32)>,
    /// After such a restore: lost erasures were lodged again at `vault` or `node/AUTHORITY`; two
    /// operators sign
    #[arg(long, value_name = "ENTITY")]
    erasures_lodged: Option<String>,
}

/// The arguments of `statement sign`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison statement sign --key secrets/people/operator.pem --kid operator --register register.toml \\\n    \
    statement.jws\n\n\
    Prints what is signed before it signs, and asks when it runs at a terminal.")]
pub struct StatementSignArgs {
    /// The operator's own private key: Ed25519, PKCS#8 PEM, mode 0600
    #[arg(long, value_name = "FILE", env = "CLOISON_OPERATOR_KEY")]
    key: PathBuf,
    /// The operator's id in the register
    #[arg(long, value_name = "ID")]
    kid: String,
    /// The register, to check the statement and the key against before signing
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    #[command(flatten)]
    assent: Assent,
    /// The statement
    #[arg(value_name = "STATEMENTFILE")]
    statement: PathBuf,
}

/// The arguments of `statement check`.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison statement check statement.jws --register register.toml\n\n\
    Only the vault knows whether the statement was used already. Exit codes: 0 the statement is valid; 1 it is not."
)]
pub struct StatementCheckArgs {
    /// The statement
    #[arg(value_name = "STATEMENTFILE")]
    statement: PathBuf,
    /// The register
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
}

/// A sector and its epoch, `health:1`.
fn at_epoch(text: &str) -> Result<(String, u32), String> {
    let read = || {
        text.rsplit_once(':')
            .and_then(|(sector, epoch)| Some((sector.to_owned(), epoch.parse().ok()?)))
    };
    read().ok_or_else(|| "write a sector and its epoch as health:1".to_owned())
}

fn of_entity(text: &str) -> Result<(String, String), String> {
    let split = text.split_once(':');
    let split = split.map(|(entity, backup)| (entity.to_owned(), backup.to_owned()));
    split.ok_or_else(|| {
        "write the entity, a colon, and the backup's id or the copy's end: vault:20261128T081500Z-1f3a9c07".to_owned()
    })
}

fn at_mark(text: &str) -> Result<(String, Timestamp), String> {
    let read = || {
        text.split_once(':')
            .and_then(|(entity, mark)| Some((entity.to_owned(), mark.parse().ok()?)))
    };
    read().ok_or_else(|| "write the entity and its mark as vault:2036-11-20T12:00:00Z".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When an input is not valid.
pub fn run(command: StatementCommand) -> Result<(), CommandError> {
    match command {
        StatementCommand::New(args) => new(*args),
        StatementCommand::Sign(args) => sign(&args),
        StatementCommand::Check(args) => check(&args),
    }
}

/// The text of a statement's file, for the command that brings it.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::cli) fn bring(file: Option<&Path>) -> Result<Option<String>, CommandError> {
    file.map(|file| Ok(read_text(file)?.trim_end().to_owned()))
        .transpose()
}

fn new(args: StatementNewArgs) -> Result<(), CommandError> {
    let register = read_register(&args.register)?;
    let payload = DestructionPayload {
        aud: register.deployment.clone(),
        id: crate::clock::random_uuid(),
        destruction: args.act.destruction(&register, args.case)?,
        time: present_second()?,
    };
    let draft = payload.draft().map_err(unusable)?;
    write_new(&args.out, &draft)?;
    let said = format!(
        "{}{}: operators sign it with `cloison statement sign`",
        shown(&payload),
        args.out.display()
    );
    print_either(said, || json!({"id": payload.id, "statement": args.out}))
}

impl StatementActArgs {
    fn destruction(
        self,
        register: &Register,
        case: Option<String>,
    ) -> Result<Destruction, CommandError> {
        let known = |sector: &str| {
            let unknown = || {
                CommandError::usage(
                    "the register has no such sector",
                    "`cloison register show` lists them",
                )
            };
            register.sector(sector).ok_or_else(unknown)
        };
        if let Some((sector, epoch)) = self.retire_epoch {
            known(&sector)?;
            return Ok(Destruction::Epoch { sector, epoch });
        }
        if let Some((sector, from)) = self.own_secret {
            if known(&sector)?.reversible {
                return Err(CommandError::usage(
                    format_args!(
                        "sector {sector} stores mappings: --own-secret takes no statement there"
                    ),
                    "`cloison epoch advance --own-secret`",
                ));
            }
            return Ok(Destruction::OwnSecret { sector, from });
        }
        if let Some((sector, epoch)) = self.confirm_epoch {
            known(&sector)?;
            return Ok(Destruction::ConfirmEpoch { sector, epoch });
        }
        if let Some(entity) = self.erasures_lodged {
            return Ok(Destruction::ErasuresLodged { entity });
        }
        if let Some((entity, backup)) = self.restore_without_places {
            return Ok(Destruction::RestoreWithoutPlaces {
                entity,
                backup,
                // clap sees to it that it is given.
                case: case.unwrap_or_default(),
            });
        }
        if let Some((entity, kept)) = self.resume_from_copy {
            return Ok(Destruction::ResumeFromCopy {
                entity,
                kept,
                case: case.unwrap_or_default(),
            });
        }
        if let Some((entity, mark)) = self.lower_clock_mark {
            let whole = Timestamp::from_second(mark.as_second());
            return Ok(Destruction::ClockMark {
                entity,
                mark: whole.map_err(|error| CommandError::usage(error, "name another time"))?,
            });
        }
        // clap sees to it that one of them is given.
        Ok(Destruction::Secret {
            version: self.retire_secret.unwrap_or_default(),
        })
    }
}

fn sign(args: &StatementSignArgs) -> Result<(), CommandError> {
    let text = read_text(&args.statement)?;
    let register = read_register(&args.register)?;
    let payload = read(&text)?.into_says();
    if payload.aud != register.deployment {
        return Err(CommandError::new(
            "the statement is for another deployment",
            "check --register",
        ));
    }
    let key = read_person_key(&args.key, "operator")?;
    match register
        .operators
        .values()
        .find(|operator| operator.id.as_str() == args.kid)
        .map(|operator| operator.key)
    {
        Some(Some(known)) if known == key.verifying_key() => {}
        Some(Some(_)) => {
            return Err(CommandError::new(
                "the key is not the operator's",
                "check --key and --kid",
            ));
        }
        Some(None) => {
            return Err(CommandError::new(
                "the register has no `key` for this operator",
                "have the register enter one, and have it signed",
            ));
        }
        None => {
            return Err(CommandError::new(
                "the register knows no such operator",
                "check --kid: `cloison register show`",
            ));
        }
    }
    let summary = format!("This is what is signed:\n{}", shown(&payload).trim_end());
    let signed = signed_file::countersign::<DestructionPayload>(
        &args.statement,
        &text,
        &summary,
        args.assent,
        |text| {
            statement::sign::<DestructionPayload>(text, &args.kid, &key).map_err(|refused| {
                CommandError::new(
                    refused,
                    "each operator signs once; `cloison statement check` says which signature is missing",
                )
            })
        },
    )?;
    let refused = check_statement(&signed, &register, SystemClock.now()).err();
    let state = refused.as_ref().map_or_else(
        || {
            let flag = payload.destruction.flag();
            format!(
                "No signature is missing: {flag} {} brings it.",
                args.statement.display()
            )
        },
        |refused| format!("Not enough yet: {refused}"),
    );
    let (kid, statement) = (&args.kid, args.statement.display());
    print_either(
        format_args!("Signed by {kid}: {statement}\n{state}"),
        || json!({"signed-by": kid.as_str(), "statement": args.statement, "complete": refused.is_none()}),
    )
}

fn check(args: &StatementCheckArgs) -> Result<(), CommandError> {
    let text = read_text(&args.statement)?;
    let register = read_register(&args.register)?;
    let claimed = read(&text)?;
    let payload = claimed.says();
    if !voice().json {
        print(shown(payload).trim_end())?;
    }
    match check_statement(&text, &register, SystemClock.now()) {
        Ok(signed) => {
            let signers: Vec<_> = signed.persons.iter().map(Id::as_str).collect();
            let said = format!(
                "Signed by {}: it allows this once, until {}.",
                signers.join(", "),
                payload.until()
            );
            print_either(
                said,
                || json!({"valid": true, "signers": signers, "until": payload.until()}),
            )
        }
        Err(refused) => {
            let claimed: Vec<_> = claimed.claimed_signers().collect();
            match claimed.as_slice() {
                [] => print_beside("  signed by    nobody")?,
                claimed => print_beside(format_args!(
                    "  signed by    {}, as the file claims",
                    claimed.join(", ")
                ))?,
            }
            Err(CommandError::new(
                format_args!(
                    "{}: the statement allows nothing: {refused}",
                    args.statement.display()
                ),
                "`cloison statement new` makes one, `cloison statement sign` signs it",
            ))
        }
    }
}

fn read(text: &str) -> Result<UnverifiedStatement<DestructionPayload>, CommandError> {
    UnverifiedStatement::read(text).map_err(unusable)
}

/// Shows people what a statement says.
fn shown(payload: &DestructionPayload) -> String {
    format!(
        "  statement    {}\n  deployment   {}\n  allows to    {}\n  cannot be    undone\n  written      {}\n  good until   {}\n",
        payload.id,
        payload.aud,
        payload.destruction,
        payload.time,
        payload.until()
    )
}

fn unusable(refusal: Refusal) -> CommandError {
    CommandError::new(refusal, "`cloison statement new --help` has examples")
}
