//! `cloison audit`: an auditor reads, verifies and copies a log: a folder, a store or a server's.

mod copy;
mod derivations;
mod export;
mod filter;
mod follow;
mod halves;
mod inspection;
pub(crate) mod offline;
mod prove;
mod report;
mod resume;
mod show;
mod summary;
mod verify;

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::client_file::usual_client;
use super::inputs::read_register;
use crate::audit::origin::TrustedLogKey;
use crate::audit::source;
use crate::entity::Role;
use crate::journal::prune::is_place;
use crate::register;
use crate::terminal::{CommandError, open_client};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{SignatureKind, Verifier};
use crate::tlog::path::LogResource;
use crate::tlog::source::{LogSource, LogSourceError, read_or_wider, split_bundle};
use crate::tlog::tree::{TILE_WIDTH, TileId, width};

/// Verify, read and prove audit logs
#[derive(clap::Subcommand)]
pub enum AuditCommand {
    /// Check a whole log: signatures, tree, every entry, and that it contains what was seen before
    Verify(verify::AuditVerifyArgs),
    /// Copy a log into a folder, to be verified and kept there
    Copy(copy::AuditCopyArgs),
    /// Keep a log with its side records in a folder, sealed, as they come: a place for a restore
    Follow(follow::AuditFollowArgs),
    /// Show entries to people, a line each
    Show(show::AuditShowArgs),
    /// Export entries for programs: JSON lines or CSV
    Export(export::AuditExportArgs),
    /// Count what was done, by authority, client or sector
    Summary(summary::AuditSummaryArgs),
    /// Hold the vault's log against that of an authority's node, or of its identity sources
    Match(halves::AuditMatchArgs),
    /// Write a proof that an entry is in the log, or check one
    Prove(prove::AuditProveArgs),
    /// Enter, list and close inspections of the commission
    #[command(subcommand)]
    Inspection(inspection::InspectionCommand),
    /// Write the annex of an inspection's minutes, signed, or check one
    Report(report::AuditReportArgs),
    /// Let a log go on after its store was restored from a backup
    Resume(resume::AuditResumeArgs),
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read, or is not as it should be.
pub fn run(command: AuditCommand) -> Result<(), CommandError> {
    match command {
        AuditCommand::Verify(args) => verify::run(&args),
        AuditCommand::Copy(args) => copy::run(&args),
        AuditCommand::Follow(args) => follow::run(&args),
        AuditCommand::Show(args) => show::run(&args),
        AuditCommand::Export(args) => export::run(&args),
        AuditCommand::Summary(args) => summary::run(&args),
        AuditCommand::Match(args) => halves::run(&args),
        AuditCommand::Prove(args) => prove::run(&args),
        AuditCommand::Inspection(command) => inspection::run(command),
        AuditCommand::Report(args) => report::run(&args),
        AuditCommand::Resume(args) => resume::run(&args),
    }
}

/// Which log.
#[derive(clap::Args)]
pub struct LogArgs {
    /// A folder (a copied log, or a store: a backup, or the one in use) or a client file; without
    /// it `--client` says where the log is served
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,
    /// The auditor's client file: the control listener that serves the log, and the certificate and
    /// key to show there [default: that of CLOISON_CLIENT, without LOG]
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    client: Option<PathBuf>,
}

impl LogArgs {
    /// The log, opened.
    ///
    /// # Errors
    /// When no log was named, or there is none at the named place.
    pub fn open(&self) -> Result<Box<dyn LogSource>, CommandError> {
        let usual = || self.client.clone().or_else(usual_client);
        match (&self.log, usual()) {
            (Some(path), _) => open_log(path),
            (None, Some(file)) => Ok(Box::new(open_client(&file)?)),
            (None, None) => Err(CommandError::usage(
                "no log is named",
                "name a folder, or a server with --client FILE",
            )),
        }
    }
}

/// The log in a folder or store, or at the server that a client file leads to.
///
/// # Errors
/// When there is none, or the client file is not what it should be.
fn open_log(path: &Path) -> Result<Box<dyn LogSource>, CommandError> {
    if path.is_file() {
        return Ok(Box::new(open_client(path)?));
    }
    if is_place(path) {
        return Err(CommandError::new(
            format_args!(
                "{} is a place for a restore: it holds what a store lacks, and not the whole log",
                path.display()
            ),
            "make a copy of the log with `cloison audit copy`; `cloison restore --from` reads a place",
        ));
    }
    source::open(path).map_err(|error| unreadable(&error))
}

/// The keys by which a log is verified.
#[derive(clap::Args)]
pub struct LogKeyArgs {
    /// A public key of a log's checkpoints: 64 hexadecimal digits, or a verifier key
    /// (`name+id+key`); repeatable
    #[arg(long, value_name = "KEY", value_parser = trusted)]
    key: Vec<TrustedLogKey>,
    /// The register, as the auditor got it, which states the keys of all logs
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
}

impl LogKeyArgs {
    /// The keys.
    ///
    /// # Errors
    /// When there is none, or the register cannot be read or states none.
    pub fn keys(&self) -> Result<Vec<TrustedLogKey>, CommandError> {
        let mut keys = self.key.clone();
        if let Some(file) = &self.register {
            let of_register = of_register(file)?;
            if of_register.is_empty() {
                let what = format_args!("{} states no key of a log", file.display()).to_string();
                return Err(CommandError::new(
                    what,
                    "name the key with --key; `[vault] checkpoint-key` in the register states it",
                ));
            }
            keys.extend(of_register);
        }
        if keys.is_empty() {
            Err(CommandError::usage(
                "no key is named to verify the log with",
                "name the register with --register FILE, or the log's public key with --key",
            ))
        } else {
            Ok(keys)
        }
    }
}

impl LogKeyArgs {
    /// The witnesses that the register states, if one was named.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn witnesses(&self) -> Result<Vec<(String, ed25519_dalek::VerifyingKey)>, CommandError> {
        let Some(file) = &self.register else {
            return Ok(vec![]);
        };
        let register = read_register(file)?;
        Ok(register
            .witnesses
            .into_iter()
            .map(|(id, key)| (id.to_string(), key))
            .collect())
    }
}

fn trusted(text: &str) -> Result<TrustedLogKey, String> {
    if text.contains('+') {
        let key = Verifier::parse(text).map_err(|error| error.to_string())?;
        return match key.kind() {
            SignatureKind::Log => Ok(TrustedLogKey::Log(key)),
            SignatureKind::Cosigner | SignatureKind::Keeper => {
                Err("this is a cosigner's key and not a log's: name it with --witness".into())
            }
        };
    }
    register::public_key(text)
        .map(TrustedLogKey::Any)
        .map_err(|what| format!("the key {what}"))
}

/// The keys that a register states. Its signatures are not checked here: `cloison register verify`
/// does that.
fn of_register(file: &Path) -> Result<Vec<TrustedLogKey>, CommandError> {
    let register = read_register(file)?;
    let owned = |(role, key): (Role, VerifyingKey)| {
        TrustedLogKey::Owner(role.owner(&register.deployment), key)
    };
    Ok(Role::all(&register).map(owned).collect())
}

/// The shards of a source, or the one that was named.
fn shards(source: &dyn LogSource, named: Option<&str>) -> Result<Vec<String>, CommandError> {
    let shards = source.shards().map_err(|error| unreadable(&error))?;
    match named {
        None => Ok(shards),
        Some(name) if shards.iter().any(|shard| shard == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(CommandError::new(
            format_args!("there is no shard {name}"),
            format_args!("one of: {}", shards.join(", ")),
        )),
    }
}

/// Goes through the entries of a shard that its checkpoint covers. Nothing is verified: `audit
/// verify` does that.
fn each_entry(
    source: &dyn LogSource,
    shard: &str,
    size: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    for index in 0..size.div_ceil(TILE_WIDTH as u64) {
        let width = width(TileId { level: 0, index }, size);
        let resource = LogResource::Entries(index, width);
        let bundle = read_or_wider(source, shard, resource).map_err(|error| unreadable(&error))?;
        let entries = bundle
            .as_deref()
            .and_then(split_bundle)
            .ok_or_else(|| unreadable(&LogSourceError::Tile(resource.to_string())))?;
        for (index, entry) in (index * TILE_WIDTH as u64..).zip(entries) {
            each(index, entry)?;
        }
    }
    Ok(())
}

/// What a shard's checkpoint says, without verifying it.
fn head(source: &dyn LogSource, shard: &str) -> Result<Checkpoint, CommandError> {
    Ok(head_and_note(source, shard)?.0)
}

/// The same with the bytes of its note, because a second read may give another note.
fn head_and_note(
    source: &dyn LogSource,
    shard: &str,
) -> Result<(Checkpoint, Vec<u8>), CommandError> {
    let note = source
        .read(shard, LogResource::Checkpoint)
        .map_err(|error| unreadable(&error))?;
    let note = note.ok_or_else(|| {
        CommandError::new(
            "the log has no checkpoint",
            "`cloison audit verify` says what else it lacks",
        )
    })?;
    let checkpoint = Checkpoint::read(&note).map_err(|error| {
        CommandError::new(
            format_args!("the checkpoint: {error}"),
            "`cloison audit verify` says what else is wrong",
        )
    })?;
    Ok((checkpoint.0, note))
}

/// A log that cannot be read.
fn unreadable(error: &LogSourceError) -> CommandError {
    let hint = match error {
        LogSourceError::File(..) => "check the path and its permissions",
        LogSourceError::Store(_) => "name the folder that `[store] path` names, or a copy of it",
        LogSourceError::Server(_) => {
            "use an auditor's client file, of the side whose log is wanted, and check that the server runs"
        }
        LogSourceError::NoLog(_) => {
            "name a folder that `cloison audit copy` made, or a store's folder"
        }
        LogSourceError::Tile(_) => "`cloison audit verify` says what else is wrong",
    };
    CommandError::new(error, hint)
}
