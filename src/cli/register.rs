//! `cloison register`: sign the register, verify it with one's own copy, show what it says.

mod change;
mod server;
mod show;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::civil::Date;

use super::assent::Assent;
use super::check::summary;
use super::inputs::{list_faults, parse_id};
use super::signed_file::SignedFile;
use crate::config::{RegisterFiles, SideConfig};
use crate::jws;
use crate::keys::file::{read_signing_key, write_public};
use crate::register::sign::{self, RegisterSignError, TYP};
use crate::register::{
    self, Id, PinnedKey, Register, RegisterOpenError, RegisterPins, WrittenRegister,
};
use crate::terminal::{CommandError, print, print_json};

/// Sign, verify or show the register
#[derive(clap::Subcommand)]
pub enum RegisterCommand {
    /// Add a signature to a register that has no fault
    #[command(after_long_help = "Example:\n  \
    cloison register sign register.toml --as operations --key secrets/register/operations.pem \\\n    \
    --config vault.toml\n\n\
        With --config the command refuses an id or a key that the configuration does not pin. Each holder of a \
        register key runs this in turn, on the same register.toml, and hands on register.jws. Signatures over another \
        text, such as the version before, are set aside in a file beside it.")]
    Sign(RegisterSignArgs),
    /// Verify the signatures: by the keys that a configuration pins, or by keys that you name
    #[command(after_long_help = "Examples:\n  \
    cloison register verify --config vault.toml\n  \
    cloison register verify register.toml --deployment cloison --commission cndp --quorum 2 \\\n    \
    --pin operations:operations:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c \\\n    \
    --pin commission:cndp:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")]
    Verify(RegisterVerifyArgs),
    /// Show what the register says (not who signed it)
    #[command(
        after_long_help = "Examples:\n  cloison register show register.toml\n  cloison register show --json | jq .sectors"
    )]
    Show(RegisterShowArgs),
    /// Have a vault or a node read its register again, and put it in force
    #[command(after_long_help = "Examples:\n  \
        cloison register reload --client clients/operator.toml\n  \
        cloison register reload --client clients/officer-1.toml\n\n\
        The server reads the files that its configuration names ([register]) and checks them as at a start: signatures, pins, version, \
        frozen facts, terms. With any fault it keeps the register before and says every fault. Requests under way end under the register \
        that they began with. Vault and node each have their own copy: reload both. An operator may ask for it at the vault, an officer or \
        a custodian at the node; SIGHUP does the same.")]
    Reload(server::RegisterReloadArgs),
    /// List every register that was in force at a vault or a node
    #[command(
        after_long_help = "Example:\n  cloison register history --client clients/operator.toml"
    )]
    History(server::RegisterHistoryArgs),
    /// Merge blocks, as `cloison client request` writes them, into the register
    #[command(
        after_long_help = "Example:\n  cloison register add chu-fes/request.toml\n\n\
        Comments and order stay; new sectors get a UUID; the version is raised once. The command shows what changes, and refuses an id that \
        exists, a key that is another's, and blocks with anything else in them. Removals and everything else are made by editor."
    )]
    Add(change::RegisterAddArgs),
    /// Say what changed from one register to another, and what that means
    #[command(after_long_help = "Example:\n  cloison register diff register.v1.toml register.toml")]
    Diff(change::RegisterDiffArgs),
    /// Print the fingerprint of a key: what the register calls `certificate`
    #[command(after_long_help = "Example:\n  cloison register fingerprint chu-fes/client.pem")]
    Fingerprint(change::FingerprintArgs),
}

/// The arguments of `sign`.
#[derive(clap::Args)]
pub struct RegisterSignArgs {
    #[command(flatten)]
    files: RegisterFileArgs,
    /// The id of the register key, as the configurations pin it
    #[arg(long = "as", value_name = "ID", value_parser = parse_id)]
    kid: Id,
    /// The private register key: Ed25519, PKCS#8 PEM, readable by you alone
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Configuration of a vault or a node, to check the id and the key against those that it pins
    /// before signing
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The register that is in force, against which to show what changed [default: the newest one
    /// beside it that was signed by enough]
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
}

/// The arguments of `verify`.
#[derive(clap::Args)]
pub struct RegisterVerifyArgs {
    #[command(flatten)]
    files: RegisterFileArgs,
    /// Configuration of a vault or a node: its pinned keys count, and its register is meant unless
    /// one is named
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pins", "deployment", "commission", "quorum"])]
    config: Option<PathBuf>,
    /// A register key: its id, the body that holds it, and the Ed25519 public key as 64 hexadecimal
    /// digits (repeatable)
    #[arg(long = "pin", value_name = "ID:BODY:HEX", value_parser = pin, required_unless_present = "config")]
    pins: Vec<PinnedKey>,
    /// The deployment that the register must be for
    #[arg(long, value_name = "ID", value_parser = parse_id, required_unless_present = "config")]
    deployment: Option<Id>,
    /// The body that must have signed
    #[arg(long, value_name = "BODY", value_parser = parse_id, required_unless_present = "config")]
    commission: Option<Id>,
    /// How many register keys must have signed
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=32))]
    quorum: u8,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The arguments of `show`.
#[derive(clap::Args)]
pub struct RegisterShowArgs {
    /// The register
    #[arg(
        value_name = "FILE",
        default_value = "register.toml",
        conflicts_with = "at"
    )]
    file: PathBuf,
    /// Show the register that was in force at the end of that day (UTC), as a server kept it
    #[arg(long, value_name = "DAY")]
    at: Option<Date>,
    /// With --at: the client file of an operator or an auditor [default: that of CLOISON_CLIENT]
    #[arg(long, value_name = "FILE", requires = "at")]
    client: Option<PathBuf>,
    /// With --at: print the register's own text
    #[arg(long, requires = "at", conflicts_with = "json")]
    text: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A register and the file with its signatures.
#[derive(clap::Args)]
pub struct RegisterFileArgs {
    /// The register [default: register.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Its signatures [default: the same path, ending in .jws]
    #[arg(long, value_name = "FILE")]
    signatures: Option<PathBuf>,
}

impl RegisterFileArgs {
    fn register(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| "register.toml".into())
    }

    fn signatures(&self) -> PathBuf {
        self.signatures
            .clone()
            .unwrap_or_else(|| self.register().with_extension("jws"))
    }
}

fn pin(text: &str) -> Result<PinnedKey, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [kid, body, key] = parts[..] else {
        return Err("ID:BODY:HEX, as in operations:vault-agency:5c12…".into());
    };
    Ok(PinnedKey {
        id: parse_id(kid)?,
        body: parse_id(body)?,
        key: register::public_key(key).map_err(|fault| format!("the key {fault}"))?,
    })
}

/// Runs the command.
///
/// # Errors
/// When the register has a fault or is not validly signed, or a file cannot be read or written.
pub fn run(command: RegisterCommand) -> Result<(), CommandError> {
    match command {
        RegisterCommand::Sign(args) => sign(&args),
        RegisterCommand::Verify(args) => verify(&args),
        RegisterCommand::Show(args) => show(&args),
        RegisterCommand::Reload(args) => server::reload(&args),
        RegisterCommand::History(args) => server::history(&args),
        RegisterCommand::Add(args) => change::add(&args),
        RegisterCommand::Diff(args) => change::diff(&args),
        RegisterCommand::Fingerprint(args) => change::print_fingerprint(&args),
    }
}

fn show(args: &RegisterShowArgs) -> Result<(), CommandError> {
    let text = match args.at {
        Some(day) => server::at(day, args.client.clone())?.text,
        None => read(&args.file)?,
    };
    if args.text {
        return print(text.trim_end());
    }
    let register = register::parse(&text).map_err(|faults| faulty(&args.file, &faults))?;
    if args.json {
        print_json(&show::json(&register))
    } else {
        print(show::text(&register))
    }
}

fn sign(args: &RegisterSignArgs) -> Result<(), CommandError> {
    let (file, signatures) = (args.files.register(), args.files.signatures());
    let text = read(&file)?;
    let written = WrittenRegister::parse(text.clone()).map_err(|faults| faulty(&file, &faults))?;
    let register = &written.register;
    let key = read_signing_key(&args.key).map_err(|error| {
        CommandError::new(
            error,
            "name the private register key: PKCS#8 PEM, mode 0600, owned by you",
        )
    })?;
    let config = args.config.as_deref().map(pinned_by).transpose()?;
    let pins = config.as_ref().map(|config| &config.pins);
    if let Some(pins) = pins {
        pinned(&args.kid, &key, pins)?;
    }
    let digest = HEXLOWER.encode(&register.digest);
    refuse_reused_version(&args.files, register)?;
    // Each signer sees it, whoever signed before, also where nobody is asked.
    let _ = writeln!(
        io::stderr(),
        "{}",
        difference(args, &written, config.as_ref())?
    );
    args.assent.obtain_at_terminal(&format!(
        "{}: {}\nsha256 {digest}\nSign this?",
        file.display(),
        summary(register)
    ))?;
    // The lock lasts from reading to replacing, so that no other signature is lost.
    let held = match fs::exists(&signatures) {
        Ok(true) => Some(SignedFile::open(&signatures)?),
        Ok(false) => None,
        Err(error) => return Err(CommandError::file(&signatures, &error)),
    };
    let before = held.as_ref().map(|held| held.text().to_owned());
    let signed =
        sign::sign(&text, before.as_deref(), &args.kid, &key).map_err(|error| match error {
            RegisterSignError::Faults(faults) => faulty(&file, &faults),
            RegisterSignError::Jws(jws::JwsError::DuplicateSigner) => CommandError::new(
                format_args!(
                    "{}: `{}` has signed this register already",
                    signatures.display(),
                    args.kid
                ),
                "there is nothing to do; to sign with another key, name it with --as and --key",
            ),
            RegisterSignError::Jws(error) => CommandError::new(
                format_args!("{}: {error}", signatures.display()),
                "move the file away to begin anew, or name another with --signatures",
            ),
        })?;
    if let Some(before) = before.filter(|before| payload(before) != payload(&signed)) {
        set_aside(&signatures, &before)?;
    }
    match held {
        Some(held) => held.replace(&signed)?,
        // The first signature makes the file; a second first one fails and is made again.
        None => write_public(&signatures, format!("{signed}\n").as_bytes()).map_err(|error| {
            CommandError::new(
                error,
                "another person has just signed: run the command again",
            )
        })?,
    }
    change::keep(&file, &text, register.version)?;
    let missing = pins.map(|pins| missing(pins, &signers(&signed)));
    print(format_args!(
        "{}: signed by {}{}",
        signatures.display(),
        signers(&signed).join(", "),
        missing.unwrap_or_default()
    ))
}

/// Refuses another text under a version that was signed.
fn refuse_reused_version(
    files: &RegisterFileArgs,
    register: &Register,
) -> Result<(), CommandError> {
    let Some(before) = files.signed() else {
        return Ok(());
    };
    let other = before.digest != register.digest && before.deployment == register.deployment;
    if other && register.version <= before.version {
        let next = before.version + 1;
        return Err(CommandError::new(
            format_args!(
                "{}: the text was changed, and version {} was signed already: no server takes another text under that version",
                files.register().display(),
                before.version
            ),
            format_args!("write version = {next} into it"),
        ));
    }
    Ok(())
}

/// What changes of the register that was last in force, for the person who signs.
fn difference(
    args: &RegisterSignArgs,
    written: &WrittenRegister,
    config: Option<&RegisterFiles>,
) -> Result<String, CommandError> {
    let base = match &args.since {
        Some(file) => {
            let known = WrittenRegister::parse(read(file)?);
            let known = known.map_err(|faults| faulty(file, &faults))?;
            let from = format!("version {}, {}", known.register.version, file.display());
            Some(change::RegisterBase {
                written: known,
                from,
            })
        }
        None => change::base_of(&args.files, &written.register, config),
    };
    Ok(match base {
        Some(base) => {
            let changes = base.written.difference(written);
            let words = change::words(&base.written.register, &written.register, &changes);
            format!("changes since {}:\n{words}", base.from)
        }
        None => "no earlier register is beside it to say what changed: `cloison register show` says what it is; \
                 name the one in force with --since FILE"
            .to_owned(),
    })
}

/// Who of the pinned keys did not sign yet, and whether enough did.
fn missing(pins: &RegisterPins, signed: &[String]) -> String {
    let by = |pinned: &&PinnedKey| signed.iter().any(|kid| kid == pinned.id.as_str());
    let (have, others): (Vec<_>, Vec<_>) = pins.keys.iter().partition(by);
    let bodies: BTreeSet<_> = have.iter().map(|pinned| &pinned.body).collect();
    let lacks_commission = !bodies.contains(&pins.commission);
    if have.len() >= pins.quorum && !lacks_commission && bodies.len() > 1 {
        return "\nsigned by enough. Next: `cloison register reload` at the vault and at each node"
            .to_owned();
    }
    let others: Vec<_> = others
        .iter()
        .map(|pinned| format!("{} ({})", pinned.id, pinned.body))
        .collect();
    let commission = if lacks_commission {
        format!(", one of them by {}", pins.commission)
    } else {
        String::new()
    };
    format!(
        "\n{} of {} signatures{commission}; missing could be: {}",
        have.len(),
        pins.quorum,
        others.join(", ")
    )
}

/// Keeps signatures over another text beside the new ones: they may be the only ones of the
/// register that is in force.
fn set_aside(signatures: &Path, before: &str) -> Result<(), CommandError> {
    let mut name = signatures.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{}",
        &HEXLOWER.encode(&sign::digest_of(before.as_bytes()))[..16]
    ));
    let aside = signatures.with_file_name(name);
    // A file of this name has the same content.
    if !aside.exists() {
        let kept = write_public(&aside, before.as_bytes());
        kept.map_err(|error| {
            CommandError::new(
                error,
                "the signatures must be kept before they are replaced",
            )
        })?;
    }
    let who = signers(before).join(", ");
    let _ = writeln!(
        io::stderr(),
        "set aside: signatures over another text by {who}, in {}",
        aside.display()
    );
    Ok(())
}

/// Refuses an id that is not pinned, and a key that is pinned under another one.
fn pinned(kid: &Id, key: &SigningKey, pins: &RegisterPins) -> Result<(), CommandError> {
    let ids: Vec<&str> = pins.keys.iter().map(|pinned| pinned.id.as_str()).collect();
    match pins.keys.iter().find(|pinned| pinned.id == *kid) {
        Some(pinned) if pinned.key == key.verifying_key() => Ok(()),
        Some(_) => Err(CommandError::new(
            format_args!("the key is not the one that is pinned as `{kid}`"),
            "check --as and --key",
        )),
        None => Err(CommandError::new(
            format_args!("no key is pinned as `{kid}`"),
            format_args!("one of {}", ids.join(", ")),
        )),
    }
}

fn payload(text: &str) -> Option<Vec<u8>> {
    jws::parse(text, TYP).ok().map(|jws| jws.payload().to_vec())
}

fn signers(text: &str) -> Vec<String> {
    jws::parse(text, TYP)
        .map(|jws| jws.signers().map(str::to_owned).collect())
        .unwrap_or_default()
}

fn verify(args: &RegisterVerifyArgs) -> Result<(), CommandError> {
    let (file, signatures, pins) = match &args.config {
        Some(config) => {
            let files = pinned_by(config)?;
            let file = args.files.file.clone().unwrap_or(files.file);
            let named = args.files.signatures.clone().or_else(|| {
                args.files
                    .file
                    .is_some()
                    .then(|| file.with_extension("jws"))
            });
            (file, named.unwrap_or(files.signatures), files.pins)
        }
        None => {
            let (Some(deployment), Some(commission)) =
                (args.deployment.clone(), args.commission.clone())
            else {
                return Err(CommandError::usage(
                    "the keys to verify with are not named",
                    "give --config, or --deployment, --commission and --pin",
                ));
            };
            let pins = RegisterPins {
                deployment,
                keys: args.pins.clone(),
                quorum: args.quorum.into(),
                commission,
            };
            (args.files.register(), args.files.signatures(), pins)
        }
    };
    let register = register::open(&file, &signatures, &pins).map_err(|error| match error {
        RegisterOpenError::Faults { faults, .. } => faulty(&file, &faults),
        RegisterOpenError::Read { .. } => CommandError::new(error, "check the path"),
        RegisterOpenError::Signatures { .. } => CommandError::new(
            error,
            "have the holders of register keys sign this register.toml: `cloison register sign --help`",
        ),
    })?;
    let signed_by: Vec<&PinnedKey> = {
        let kids = signers(&read(&signatures)?);
        pins.keys
            .iter()
            .filter(|pinned| kids.iter().any(|kid| kid == pinned.id.as_str()))
            .collect()
    };
    if args.json {
        return print_json(&serde_json::json!({
            "deployment": register.deployment,
            "version": register.version,
            "sha256": HEXLOWER.encode(&register.digest),
            "signed_by": signed_by.iter().map(|pinned| serde_json::json!({"id": pinned.id, "body": pinned.body})).collect::<Vec<_>>(),
        }));
    }
    let who: Vec<String> = signed_by
        .iter()
        .map(|pinned| format!("{} ({})", pinned.id, pinned.body))
        .collect();
    print(format_args!(
        "{}: valid: {}\nsigned by {}\nsha256 {}",
        file.display(),
        summary(&register),
        who.join(", "),
        HEXLOWER.encode(&register.digest)
    ))
}

/// The `[register]` section of a side's configuration.
fn pinned_by(config: &Path) -> Result<RegisterFiles, CommandError> {
    SideConfig::load(config)
        .map(|config| config.register().clone())
        .map_err(|error| CommandError::new(error, "`cloison check` lists every fault of the file"))
}

fn read(path: &Path) -> Result<String, CommandError> {
    sign::read_text(path).map_err(|error| match error {
        RegisterOpenError::Read { path, source } => CommandError::file(&path, &source),
        other => CommandError::new(other, "check the path"),
    })
}

fn faulty(file: &Path, faults: &[register::Fault]) -> CommandError {
    let _ = writeln!(io::stderr(), "{}", list_faults(file, faults));
    CommandError::new(
        format_args!("{}: the register has faults", file.display()),
        "correct what is listed above",
    )
}
