//! `cloison register add`, `diff` and `fingerprint`: what changes in a register, before it is signed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::assent::Assent;
use super::super::inputs::parse_id;
use super::{RegisterFileArgs, RegisterSignArgs, faulty, read};
use crate::http::tls::spki_digest_of_file;
use crate::joining::{self, JoiningFault, fingerprint};
use crate::register::{self, Id, Register, RegisterChange};
use crate::terminal::files::{read_text, replace_file};
use crate::terminal::{CommandError, print, print_json};

/// The arguments of `add`.
#[derive(clap::Args)]
pub struct RegisterAddArgs {
    /// Files with blocks, as `cloison client request` writes them
    #[arg(value_name = "FILE", required = true)]
    blocks: Vec<PathBuf>,
    /// The register
    #[arg(long, value_name = "FILE", default_value = "register.toml")]
    register: PathBuf,
    /// Sign at once, with the register key of this id
    #[arg(long = "as", value_name = "ID", value_parser = parse_id, requires = "key")]
    kid: Option<Id>,
    /// With --as: the private register key
    #[arg(long, value_name = "FILE", requires = "kid")]
    key: Option<PathBuf>,
    /// With --as: configuration of a vault or a node, to check id and key against those that it pins
    #[arg(long, value_name = "FILE", requires = "kid")]
    config: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The arguments of `diff`.
#[derive(clap::Args)]
pub struct RegisterDiffArgs {
    /// The register before
    #[arg(value_name = "OLD")]
    before: PathBuf,
    /// The register after
    #[arg(value_name = "NEW", default_value = "register.toml")]
    after: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The arguments of `fingerprint`.
#[derive(clap::Args)]
pub struct FingerprintArgs {
    /// A certificate or a public key, PEM
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Merges blocks into a register.
pub(super) fn add(args: &RegisterAddArgs) -> Result<(), CommandError> {
    let text = read(&args.register)?;
    let named = |path: &PathBuf| Ok((path.display().to_string(), read_text(path)?));
    let blocks: Vec<_> = args
        .blocks
        .iter()
        .map(named)
        .collect::<Result<_, CommandError>>()?;
    let merged = joining::merge(&text, &blocks).map_err(|fault| match fault {
        JoiningFault::Register(faults) => faulty(&args.register, &faults),
        fault => CommandError::new(fault, "correct the block; nothing was written"),
    })?;
    let changes = merged.before.difference(&merged.register);
    let shown = words(&merged.before, &merged.register, &changes);
    args.assent.obtain_at_terminal(&format!(
        "{shown}\nWrite this to {}?",
        args.register.display()
    ))?;
    keep(&args.register, &text, merged.before.version)?;
    // Another person may have edited it meanwhile.
    if read(&args.register)? != text {
        return Err(CommandError::new(
            format_args!("{} was changed meanwhile", args.register.display()),
            "nothing was written; run the command again",
        ));
    }
    replace_file(&args.register, merged.text.as_bytes())?;
    if args.json {
        return print_json(&serde_json::json!({
            "register": args.register,
            "version": merged.register.version,
            "changes": changes,
        }));
    }
    let written = format!("{shown}\n{}: written", args.register.display());
    let (Some(kid), Some(key)) = (&args.kid, &args.key) else {
        return print(format_args!(
            "{written}. Next: `cloison register sign`, by each holder of a register key"
        ));
    };
    print(written)?;
    // The person has just seen the difference and agreed.
    super::sign(&RegisterSignArgs {
        files: RegisterFileArgs {
            file: Some(args.register.clone()),
            signatures: None,
        },
        kid: kid.clone(),
        key: key.clone(),
        config: args.config.clone(),
        assent: Assent::GIVEN,
    })
}

/// Says what changed from one register to another.
pub(super) fn diff(args: &RegisterDiffArgs) -> Result<(), CommandError> {
    let parsed =
        |file: &Path| register::parse(&read(file)?).map_err(|faults| faulty(file, &faults));
    let (before, after) = (parsed(&args.before)?, parsed(&args.after)?);
    let changes = before.difference(&after);
    if args.json {
        return print_json(&serde_json::json!({
            "before": before.version,
            "after": after.version,
            "changes": changes,
        }));
    }
    print(words(&before, &after, &changes))
}

/// Prints the digest by which the register names a key.
pub(super) fn print_fingerprint(args: &FingerprintArgs) -> Result<(), CommandError> {
    let hint = "name a certificate or a public key, PEM: `openssl` is not needed, `cloison client request` makes both";
    let spki = spki_digest_of_file(&args.file).map_err(|error| CommandError::new(error, hint))?;
    let hex = data_encoding::HEXLOWER.encode(&spki.0);
    if args.json {
        return print_json(&serde_json::json!({"sha256": hex}));
    }
    print(format_args!(
        "certificate = \"{hex}\"\nto compare by telephone: {}",
        fingerprint(&spki.0)
    ))
}

/// The difference between two registers, for people.
pub(super) fn words(before: &Register, after: &Register, changes: &[RegisterChange]) -> String {
    let mut text = format!("version {} → {}", before.version, after.version);
    if after.version < before.version {
        text += " (older: every server that had the other one refuses it)";
    } else if after.version == before.version && after.digest != before.digest {
        text += " (the same version with another text: every server refuses it)";
    }
    if changes.is_empty() {
        text += "\n  nothing that a server reads changed";
    }
    for RegisterChange { what, means } in changes {
        let _ = write!(text, "\n  {what}");
        if let Some(means) = means {
            let _ = write!(text, "\n      {means}");
        }
    }
    text
}

/// Where the text of a version is kept beside the register: `register.v7.toml`.
pub(super) fn kept_path(register: &Path, version: u64) -> PathBuf {
    let stem = register.file_stem().unwrap_or_default().to_string_lossy();
    register.with_file_name(format!("{stem}.v{version}.toml"))
}

/// Keeps a text, so that a later change can be shown against it.
pub(super) fn keep(register: &Path, text: &str, version: u64) -> Result<(), CommandError> {
    let kept = kept_path(register, version);
    if read(&kept).is_ok_and(|there| there == text) {
        return Ok(());
    }
    replace_file(&kept, text.as_bytes())
}

/// The register whose text these signatures are over, if it was kept beside the register.
pub(super) fn signed_before(register: &Path, version: u64, digest: &[u8; 32]) -> Option<Register> {
    let text = read(&kept_path(register, version)).ok()?;
    register::parse(&text)
        .ok()
        .filter(|register| register.digest == *digest)
}

impl RegisterFileArgs {
    /// What is signed already in the file with the signatures, if it can be read.
    pub(super) fn signed(&self) -> Option<register::sign::RegisterStatement> {
        let text = std::fs::read_to_string(self.signatures()).ok()?;
        register::sign::stated(&text)
    }
}
