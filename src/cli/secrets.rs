//! `cloison secrets`: makes root secrets, moves them between kinds of custody, splits them between
//! custodians, tests shares and recovers from them.

mod rotate;
mod shares;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;

use serde_json::json;

use super::authority::keygen;
use crate::config::{Openers, SideConfig};
use crate::keys::custody::{Custody, Deposit, Keyring, is_credential_name};
use crate::keys::file::{SecretKind, public_key_text};
use crate::keys::{AuthoritySecret, Key, memory};
use crate::register::Suite;
use crate::seal::segment::AuthorityPrivateKey;
use crate::terminal::{CommandError, print_either};

/// Make, move, split and recover root secrets
#[derive(clap::Subcommand)]
pub enum SecretsCommand {
    /// Make a new secret
    New(SecretsNewArgs),
    /// Copy a secret into another custody, and read it back from there
    Move(SecretsMoveArgs),
    /// Make the AES key with which a token wraps secrets; it never leaves the token
    TokenKey(TokenKeyArgs),
    /// Split the vault's root secrets between custodians, as their last backup
    Split(shares::SecretsSplitArgs),
    /// Prove that shares recover the vault's root secrets, and write nothing
    Drill(shares::SecretsDrillArgs),
    /// Recover secrets from shares, into a new folder
    Recover(shares::SecretsRecoverArgs),
    /// List the versions of the sector secret, and what needs each
    Versions(rotate::SecretsVersionsArgs),
    /// Make a new version of the sector secret, which the next epochs take
    Rotate(rotate::SecretsRotateArgs),
    /// Confirm that a version's custody holds it off the vault's machine, so that epochs may name
    /// it
    Confirm(rotate::SecretsConfirmArgs),
    /// Destroy a version of the sector secret that no epoch needs
    Retire(rotate::SecretsRetireArgs),
}

/// Make a new secret
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison secrets new audit file:audit.secret\n  \
    cloison secrets new authority token:court-2027.secret --id court-2027 --config node.toml\n\n\
    Kinds: identity, sector, store, audit, journal, authority, segment, checkpoint. A place is file:PATH, passphrase:PATH or token:PATH; \
    --config says where the passphrase comes from and which token it is. Nothing is overwritten.")]
pub struct SecretsNewArgs {
    /// What the secret is for
    #[arg(value_parser = kind)]
    kind: SecretKind,
    /// Where it goes
    #[arg(value_name = "CUSTODY:PATH", value_parser = deposit)]
    to: Deposit,
    /// For an authority's secret: its id in the register, to print the public key with
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// For an authority's secret: the key's suite, x25519 (1) or x-wing (2)
    #[arg(long, value_name = "SUITE", default_value = "x25519", requires = "id", value_parser = keygen::suite)]
    suite: Suite,
    #[command(flatten)]
    openers: OpenersArgs,
}

/// Copy a secret into another custody, and read it back from there
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison secrets move identity file:secrets/vault/identity.secret \\\n    \
    token:secrets/vault/identity.wrapped --config vault.toml\n  \
    cloison secrets move audit credential:audit file:audit.secret\n\n\
    The old place is unchanged: change the configuration, start the vault, and destroy the old secret when the vault serves.")]
pub struct SecretsMoveArgs {
    /// What the secret is for
    #[arg(value_parser = kind)]
    kind: SecretKind,
    /// Where it is
    #[arg(value_name = "CUSTODY:PATH", value_parser = deposit)]
    from: Deposit,
    /// Where it goes
    #[arg(value_name = "CUSTODY:PATH", value_parser = deposit)]
    to: Deposit,
    #[command(flatten)]
    openers: OpenersArgs,
}

/// Make the AES key with which a token wraps secrets; it never leaves the token
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison secrets token-key --config vault.toml\n\n\
    The section [token] names the library, the token and the key. Back the token up by its maker's means before anything \
    depends on it: only this key opens what it wrapped."
)]
pub struct TokenKeyArgs {
    #[command(flatten)]
    openers: OpenersArgs,
}

/// Whose passphrase and token are used.
#[derive(clap::Args)]
pub struct OpenersArgs {
    /// A vault's or node's configuration, for its token and for where its passphrase comes from
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much work guards a passphrase: scrypt's N = 2^WORK (15 to 22); without it, about a
    /// second on this machine
    #[arg(long, value_name = "WORK", value_parser = clap::value_parser!(u8).range(15..=22))]
    work: Option<u8>,
}

impl OpenersArgs {
    fn keyring(&self) -> Result<Keyring, CommandError> {
        let openers = self
            .config
            .as_deref()
            .map(openers)
            .transpose()?
            .unwrap_or_default();
        Ok(openers.keyring().with_work(self.work))
    }
}

/// What a side's configuration says about passphrase and token.
fn openers(path: &std::path::Path) -> Result<Openers, CommandError> {
    SideConfig::load(path)
        .map(|config| config.openers().clone())
        .map_err(|error| CommandError::new(error, "correct the file: `cloison check`"))
}

fn kind(text: &str) -> Result<SecretKind, String> {
    let known: Vec<_> = SecretKind::ALL.iter().map(|kind| kind.as_str()).collect();
    SecretKind::parse(text).ok_or_else(|| format!("one of {}", known.join(", ")))
}

fn deposit(text: &str) -> Result<Deposit, String> {
    let (custody, at) = text
        .split_once(':')
        .ok_or("write a custody, `:`, and a path")?;
    let custody =
        Custody::parse(custody).ok_or("the custody is file, passphrase, credential or token")?;
    if custody == Custody::Credential && !is_credential_name(at) || at.is_empty() {
        Err("write a path or a credential's name after the custody".into())
    } else {
        Ok(Deposit {
            custody,
            at: at.into(),
        })
    }
}

/// Runs the command.
///
/// # Errors
/// Those of the command.
pub fn run(command: SecretsCommand) -> Result<(), CommandError> {
    memory::protect(true);
    match command {
        SecretsCommand::New(args) => new(&args),
        SecretsCommand::Move(args) => move_secret(&args),
        SecretsCommand::TokenKey(args) => {
            let made = args.openers.keyring()?.make_token_key();
            made.map_err(|error| {
                CommandError::new(
                    error,
                    "check [token] in the configuration given with --config",
                )
            })?;
            print_either(
                "The token has a wrapping key now.",
                || json!({"made": true}),
            )
        }
        SecretsCommand::Split(args) => shares::split_secrets(&args),
        SecretsCommand::Drill(args) => shares::drill(&args),
        SecretsCommand::Recover(args) => shares::recover(&args),
        SecretsCommand::Versions(args) => rotate::versions(&args),
        SecretsCommand::Rotate(args) => rotate::rotate(&args),
        SecretsCommand::Confirm(args) => rotate::confirm(&args),
        SecretsCommand::Retire(args) => rotate::retire(&args),
    }
}

fn new(args: &SecretsNewArgs) -> Result<(), CommandError> {
    let secret = Key::random();
    let written = args.openers.keyring()?.write(&args.to, args.kind, &secret);
    written.map_err(|error| {
        CommandError::new(
            error,
            "choose another place; name the configuration of token and passphrase with --config",
        )
    })?;
    let at = args.to.at.display();
    match (args.kind, &args.id) {
        (SecretKind::Authority, Some(id)) => {
            let key = AuthorityPrivateKey::derive(&AuthoritySecret(secret), id, args.suite);
            let (suite, public) = (args.suite.number(), HEXLOWER.encode(key.public()));
            print_either(
                format_args!(
                    "{at}: a new authority secret; as {id} (suite {suite}) its public key is {public}"
                ),
                || json!({"secret": args.to.at, "kind": "authority", "id": id, "suite": suite, "public": public}),
            )
        }
        (kind @ (SecretKind::Segment | SecretKind::Checkpoint), _) => {
            let public = public_key_text(&SigningKey::from_bytes(secret.expose()).verifying_key());
            print_either(
                format_args!("{at}: a new {kind} key; its public key is {public}"),
                || json!({"secret": args.to.at, "kind": kind.to_string(), "public": public}),
            )
        }
        (kind, _) => print_either(
            format_args!("{at}: a new secret of kind {kind}"),
            || json!({"secret": args.to.at, "kind": kind.to_string()}),
        ),
    }
}

fn move_secret(args: &SecretsMoveArgs) -> Result<(), CommandError> {
    let keyring = args.openers.keyring()?;
    let hint = "check the place, and name the configuration of token and passphrase with --config";
    let unmoved = |error: crate::keys::file::FileError| CommandError::new(error, hint);
    let secret = match args.kind {
        kind @ (SecretKind::Segment | SecretKind::Checkpoint) => {
            let key = keyring
                .read_signing_key(&args.from, kind)
                .map_err(unmoved)?;
            Key::take(&mut key.to_bytes())
        }
        kind => keyring.read(&args.from, kind).map_err(unmoved)?,
    };
    keyring
        .write(&args.to, args.kind, &secret)
        .map_err(unmoved)?;
    let back = keyring.read(&args.to, args.kind).map_err(unmoved)?;
    if back.expose() != secret.expose() {
        return Err(CommandError::new(
            "the secret that was read back differs from the one written",
            "do not use the new place: its token or disk is broken",
        ));
    }
    let (from, to, custody) = (
        args.from.at.display(),
        args.to.at.display(),
        args.to.custody.as_str(),
    );
    print_either(
        format_args!(
            "{to}: the secret is here now, in custody `{custody}`, and was read back.\n{from} is unchanged."
        ),
        || json!({"from": args.from.at, "to": args.to.at, "custody": custody}),
    )
}
