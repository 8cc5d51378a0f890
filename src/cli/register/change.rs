//! `cloison register add`, `diff` and `fingerprint`: what changes in a register, before it is
//! signed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{RegisterFileArgs, RegisterSignArgs, faulty, read};
use crate::cli::assent::Assent;
use crate::cli::inputs::parse_id;
use crate::config::RegisterFiles;
use crate::http::tls::spki_digest_of_file;
use crate::joining::{self, JoiningFault, fingerprint};
use crate::register::{
    self, Id, LEAST_BODIES, Register, RegisterChange, RegisterPins, WrittenRegister,
};
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
    /// With --as: configuration of a vault or a node, to check id and key against those that it
    /// pins
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
    let faults = |faults: Vec<register::Fault>| faulty(&args.register, &faults);
    let was = WrittenRegister::parse(text.clone()).map_err(faults)?;
    let will_be = WrittenRegister::parse(merged.text.clone()).map_err(faults)?;
    let changes = was.difference(&will_be);
    let shown = words(&was.register, &will_be.register, &changes);
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
        since: None,
        kid: kid.clone(),
        key: key.clone(),
        config: args.config.clone(),
        assent: Assent::GIVEN,
    })
}

/// Says what changed from one register to another.
pub(super) fn diff(args: &RegisterDiffArgs) -> Result<(), CommandError> {
    let parsed =
        |file: &Path| WrittenRegister::parse(read(file)?).map_err(|faults| faulty(file, &faults));
    let (before, after) = (parsed(&args.before)?, parsed(&args.after)?);
    let changes = before.difference(&after);
    if args.json {
        return print_json(&serde_json::json!({
            "before": before.register.version,
            "after": after.register.version,
            "changes": changes,
        }));
    }
    print(words(&before.register, &after.register, &changes))
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
    for RegisterChange { what, says, means } in changes {
        let _ = write!(text, "\n  {what}");
        for line in says {
            let _ = write!(text, "\n      {line}");
        }
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

/// The register against which a signer is shown what changed.
pub(super) struct RegisterBase {
    /// What it said.
    pub(super) written: WrittenRegister,
    /// Where it was found, and whether it was signed by enough.
    pub(super) from: String,
}

/// The newest earlier register that was signed by enough, among those kept beside this one and the
/// one that a configuration names; else the newest earlier one at all. Without a configuration, two
/// signatures are taken for enough.
pub(super) fn base_of(
    files: &RegisterFileArgs,
    register: &Register,
    config: Option<&RegisterFiles>,
) -> Option<RegisterBase> {
    let (file, signatures) = (files.register(), files.signatures());
    let mut candidates = beside(&file, "toml");
    candidates.extend(config.map(|config| config.file.clone()));
    let mut signed = beside(&signatures, "");
    signed.push(signatures);
    signed.extend(config.map(|config| config.signatures.clone()));
    let signed: Vec<_> = signed.iter().filter_map(|path| read(path).ok()).collect();
    let mut known: Vec<(bool, RegisterBase)> = candidates
        .into_iter()
        .filter_map(|path| {
            let written = WrittenRegister::parse(read(&path).ok()?).ok()?;
            let earlier = written.register.deployment == register.deployment
                && written.register.version < register.version;
            if !earlier {
                return None;
            }
            let pins = config.map(|config| &config.pins);
            let whole = signed.iter().any(|jws| is_whole(&written, jws, pins));
            let lack = if whole {
                ""
            } else {
                ", which is not signed by enough: name the one in force with --since"
            };
            let from = format!(
                "version {}, {}{lack}",
                written.register.version,
                path.display()
            );
            Some((whole, RegisterBase { written, from }))
        })
        .collect();
    known.sort_by_key(|(whole, base)| (*whole, base.written.register.version));
    known.pop().map(|(_, base)| base)
}

fn is_whole(written: &WrittenRegister, signatures: &str, pins: Option<&RegisterPins>) -> bool {
    let text = written.text.as_bytes();
    match pins {
        Some(pins) => register::sign::verify(text, signatures, pins).is_ok(),
        None => {
            let stated = register::sign::stated(signatures);
            stated.is_some_and(|stated| stated.digest == written.register.digest)
                && super::signers(signatures).len() >= LEAST_BODIES
        }
    }
}

/// The files beside this one whose names begin with its stem (or, for no ending, its name).
fn beside(file: &Path, ending: &str) -> Vec<PathBuf> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = if ending.is_empty() {
        file.file_name()
    } else {
        file.file_stem()
    };
    let start = format!("{}.", name.unwrap_or_default().to_string_lossy());
    let listed = std::fs::read_dir(folder.unwrap_or(Path::new(".")));
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&start) && name.ends_with(ending)
    };
    let paths = listed
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths.filter(fits).collect()
}

impl RegisterFileArgs {
    /// What is signed already in the file with the signatures, if it can be read.
    pub(super) fn signed(&self) -> Option<register::sign::RegisterStatement> {
        let text = std::fs::read_to_string(self.signatures()).ok()?;
        register::sign::stated(&text)
    }
}
