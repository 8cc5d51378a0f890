//! Splits the vault's root secrets into shares, tests shares, and recovers the secrets from them.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::cli::custodians::{CustodianArgs, ShareOpeningArgs};
use crate::config::{IdentityPlace, VaultConfig};
use crate::deployment::layout::{NewFolder, secret_file, unwritten};
use crate::keys::Key;
use crate::keys::file::{FileError, SecretKind, write_secret, write_signing_key};
use crate::keys::shares::{ShareFile, ShareSet, SharedSecret};
use crate::terminal::{CommandError, print, print_either, print_json};

/// Split the vault's root secrets between custodians, as their last backup
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison secrets split --config vault.toml --threshold 3 --shares 5 --out shares-2026-11\n  \
    cloison secrets split --config vault.toml --threshold 2 \\\n    \
    --custodian amina=age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p \\\n    \
    --custodian brahim --custodian driss --out shares-2026-11\n\n\
    Each custodian's file holds their share of every secret: identity, audit, segment, checkpoint, and all versions of sector and store. \
    After `epoch advance --own-secret` split again: older shares lack the new version.")]
pub struct SecretsSplitArgs {
    /// The vault's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    custodians: CustodianArgs,
    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prove that shares recover the vault's root secrets, and write nothing
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison secrets drill --share a.share --share b.share --share c.share\n  \
    cloison secrets drill --config vault.toml --share a.share --share b.share --share c.share\n\n\
    With --config the command compares the recovered secrets with those that the vault runs on.")]
pub struct SecretsDrillArgs {
    /// A share file (repeatable: name as many as the threshold)
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    #[command(flatten)]
    opening: ShareOpeningArgs,
    /// The vault's configuration, to compare with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Recover secrets from shares, into a new folder
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison secrets recover --share a.share --share b.share --share c.share --out recovered\n\n\
    The folder gets plain files (0600) under the names that `cloison init` gives them in secrets/vault: identity.secret, \
    segment.pem, sector/1.secret, … It can take that folder's place; or bring them into the vault's custody with `cloison \
    secrets move`, and destroy the folder.")]
pub struct SecretsRecoverArgs {
    /// A share file (repeatable: name as many as the threshold)
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    #[command(flatten)]
    opening: ShareOpeningArgs,
    /// The new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A root secret: what it is for, its version where it has any, and itself.
type RootSecret = (SecretKind, String, Key);

/// All root secrets of a vault, in a fixed order.
fn roots(config: &Path) -> Result<Vec<RootSecret>, CommandError> {
    let config = VaultConfig::load(config)?;
    let (places, keyring) = (&config.secrets, config.openers.keyring());
    let read = || {
        let mut roots = vec![];
        // Where it lies with an identity source, it is shared out there.
        if let IdentityPlace::Embedded(deposit) = &places.identity {
            let secret = keyring.read(deposit, SecretKind::Identity)?;
            roots.push((SecretKind::Identity, String::new(), secret));
        }
        let audit = keyring.read(&places.audit, SecretKind::Audit)?;
        roots.push((SecretKind::Audit, String::new(), audit));
        for (kind, place) in [
            (SecretKind::Segment, &places.segment),
            (SecretKind::Checkpoint, &places.checkpoint),
        ] {
            let mut seed = keyring.read_signing_key(place, kind)?.to_bytes();
            roots.push((kind, String::new(), Key::take(&mut seed)));
        }
        for (kind, place) in [
            (SecretKind::Sector, &places.sector),
            (SecretKind::Store, &places.store),
            (SecretKind::Journal, &places.journal),
        ] {
            let versions = keyring.read_versions(place, kind)?;
            roots.extend(
                versions
                    .into_iter()
                    .map(|(version, key)| (kind, version.to_string(), key)),
            );
        }
        Ok(roots)
    };
    read().map_err(|error: FileError| {
        CommandError::new(error, "check [secrets] in the configuration")
    })
}

/// What a secret is called: `identity`, `sector 1`.
fn called(kind: SecretKind, name: &str) -> String {
    if name.is_empty() {
        kind.to_string()
    } else {
        format!("{kind} {name}")
    }
}

/// Splits the root secrets.
///
/// # Errors
/// When one cannot be read, or the shares cannot be made or written.
pub fn split_secrets(args: &SecretsSplitArgs) -> Result<(), CommandError> {
    let roots = roots(&args.config)?;
    let (set, mut files) = args.custodians.split("vault", |custodians, threshold| {
        let secrets: Vec<_> = roots
            .iter()
            .map(|(kind, name, key)| (*kind, name.clone(), Vec::new(), key))
            .collect();
        let unsplit = |error| CommandError::usage(error, "choose --threshold and custodians anew");
        let (set, shares) =
            crate::keys::shares::split(&secrets, custodians, threshold).map_err(unsplit)?;
        let last: Vec<_> = shares[shares.len() - threshold..].iter().collect();
        let recovered = set.recover(&last).map_err(unsplit)?;
        let mut pairs = recovered.iter().zip(&roots);
        if pairs.all(|(found, (_, _, key))| same(found, key)) {
            Ok((set, shares))
        } else {
            Err(CommandError::bug(
                "the new shares do not recover the secrets",
            ))
        }
    })?;
    let shares = files.split_off(1);
    let names: Vec<_> = set
        .secrets
        .iter()
        .map(|shared| called(shared.kind, &shared.name))
        .collect();
    if args.json {
        let digest = data_encoding::HEXLOWER.encode(&set.digest());
        let (secrets, threshold) = (names, set.threshold);
        return print_json(
            &json!({"secrets": secrets, "threshold": threshold, "digest": digest, "shares": shares}),
        );
    }
    print(format_args!(
        "{} are split into {} shares, {} of which recover them all.\n\n\
         Shares, each to its custodian alone:\n  {}\n\n\
         Next: cloison secrets drill --config {}, with {} shares.",
        names.join(", "),
        shares.len(),
        set.threshold,
        shares
            .iter()
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join("\n  "),
        args.config.display(),
        set.threshold,
    ))
}

fn same(one: &Key, other: &Key) -> bool {
    one.expose().ct_eq(other.expose()).into()
}

/// Opens shares and recovers what was split.
fn recovered(
    opening: &ShareOpeningArgs,
    files: &[PathBuf],
) -> Result<(ShareSet, Vec<Key>), CommandError> {
    let files: Vec<ShareFile> = opening.open(files)?;
    let set = files[0].set.clone();
    let shares: Vec<_> = files.iter().map(|file| &file.share).collect();
    let keys = set.recover(&shares).map_err(|error| {
        CommandError::new(
            error,
            "bring shares of one splitting, from as many custodians as the threshold",
        )
    })?;
    Ok((set, keys))
}

/// Tries shares.
///
/// # Errors
/// When one does not open or is wrong, or they recover something else than the vault runs on.
pub fn drill(args: &SecretsDrillArgs) -> Result<(), CommandError> {
    let (set, keys) = recovered(&args.opening, &args.share)?;
    let present = args.config.as_deref().map(roots).transpose()?;
    let mut rows = Vec::new();
    let mut differs = Vec::new();
    for (SharedSecret { kind, name, .. }, key) in set.secrets.iter().zip(&keys) {
        let own = present.as_ref().map(|roots| {
            roots
                .iter()
                .find(|root| root.0 == *kind && root.1 == *name)
                .map(|root| same(&root.2, key))
        });
        let called = called(*kind, name);
        let state = match own {
            None => "recovered",
            Some(Some(true)) => "recovered; the vault runs on it",
            Some(Some(false)) => "recovered; the vault runs on ANOTHER one",
            Some(None) => "recovered; the vault has none",
        };
        if matches!(own, Some(Some(false))) {
            differs.push(called.clone());
        }
        rows.push((called, state));
    }
    let held = |root: &&RootSecret| {
        set.secrets
            .iter()
            .any(|shared| shared.kind == root.0 && shared.name == root.1)
    };
    let missing: Vec<_> = present
        .iter()
        .flatten()
        .filter(|root| !held(root))
        .map(|root| called(root.0, &root.1))
        .collect();
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(secret, state)| json!({"secret": secret, "state": state}))
            .collect();
        print_json(&json!({"secrets": rows, "missing": missing, "threshold": set.threshold}))?;
    } else {
        print(
            rows.iter()
                .map(|(secret, state)| format!("{secret:<12} {state}"))
                .collect::<Vec<_>>()
                .join("\n"),
        )?;
    }
    let hint = "split the vault's secrets again: `cloison secrets split`";
    if !differs.is_empty() {
        return Err(CommandError::new(
            format_args!("these shares are of other secrets: {}", differs.join(", ")),
            hint,
        ));
    }
    if !missing.is_empty() {
        return Err(CommandError::new(
            format_args!("no shares were made of {}", missing.join(", ")),
            hint,
        ));
    }
    Ok(())
}

/// Recovers secrets into a new folder.
///
/// # Errors
/// When a share does not open or is wrong, or the folder is not new.
pub fn recover(args: &SecretsRecoverArgs) -> Result<(), CommandError> {
    let (set, keys) = recovered(&args.opening, &args.share)?;
    let folder = NewFolder::create(&args.out)?;
    let mut paths = Vec::new();
    for (shared, key) in set.secrets.iter().zip(&keys) {
        let path = secret_file(shared.kind, &shared.name);
        let place = folder.place(&path)?;
        let written = match shared.kind {
            SecretKind::Segment | SecretKind::Checkpoint => {
                write_signing_key(&place, &SigningKey::from_bytes(key.expose()))
            }
            kind => write_secret(&place, kind, key),
        };
        written.map_err(|error| unwritten(&error))?;
        paths.push(path);
    }
    folder.finish()?;
    let said = format!("{}: recovered {}", args.out.display(), paths.join(", "));
    print_either(said, || json!({"folder": args.out, "recovered": paths}))
}
