//! `cloison secrets versions`, `rotate`, `confirm` and `retire`: the versions of a running vault's
//! sector secret. No secret is ever shown, and none passes through here.

use std::path::PathBuf;

use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::ClientFile;
use crate::cli::statement;
use crate::cli::waiting::waiting_for_places;
use crate::epoch::confirm::ConfirmSecretRequest;
use crate::epoch::secrets::SectorSecrets;
use crate::epoch::secrets::{RetireSecretRequest, RetiredSecret, SecretNeed, SecretView};
use crate::terminal::{CommandError, print, print_json};

/// List the versions of the sector secret, and what needs each
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison secrets versions --client clients/operator.toml")]
pub struct SecretsVersionsArgs {
    #[command(flatten)]
    at: SecretsCallArgs,
}

/// Make a new version of the sector secret, which the next epochs take
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison secrets rotate --client clients/operator.toml\n\n\
    No pseudonym changes yet: an epoch keeps the version that it was opened with. Back the new version up \
    (`cloison secrets split`), say so (`cloison secrets confirm`), and advance the sectors' epochs one by one \
    (`cloison epoch advance`)."
)]
pub struct SecretsRotateArgs {
    #[command(flatten)]
    at: SecretsCallArgs,
}

/// Confirm that a version's custody holds it off the vault's machine
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  cloison secrets confirm 2 --client clients/operator.toml\n\n\
    No epoch is opened on a version before that: what is lost with the machine takes its pseudonyms along. Have the version \
    split (`cloison secrets split`) or copied off the machine first, and read back (`cloison secrets drill`). The log says who confirmed it."
)]
pub struct SecretsConfirmArgs {
    /// The version
    version: u32,
    #[command(flatten)]
    at: SecretsCallArgs,
}

/// Destroy a version of the sector secret that no epoch needs
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison secrets retire 1 --dry-run --client clients/operator.toml\n  \
    cloison statement new --register register.toml --retire-secret 1 --out statement.jws\n  \
    cloison secrets retire 1 --statement statement.jws --client clients/operator.toml\n\n\
    Two operators sign the statement (`cloison statement sign`). The vault refuses while an epoch needs the version: a current one, \
    an overlapping one, a closed one whose mappings are kept, or the next ones. This cannot be undone: the pseudonyms of its \
    epochs can never be made again. Destroy the copies, too: backups, shares, and old blocks on disks.")]
pub struct SecretsRetireArgs {
    /// The version
    version: u32,
    /// Only say whether it may be retired
    #[arg(long)]
    dry_run: bool,
    /// The statement that two operators signed
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    at: SecretsCallArgs,
}

/// Where to ask, and how to show it.
#[derive(clap::Args)]
struct SecretsCallArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Lists versions.
///
/// # Errors
/// When the vault cannot be reached or refuses.
pub fn versions(args: &SecretsVersionsArgs) -> Result<(), CommandError> {
    let secrets = args.at.client.open()?.get_json("/v1/secrets");
    show(&args.at, &secrets?)
}

/// Makes a version.
///
/// # Errors
/// When the vault cannot be reached or refuses.
pub fn rotate(args: &SecretsRotateArgs) -> Result<(), CommandError> {
    let secrets = args
        .at
        .client
        .open()?
        .post_json("/v1/secrets", &serde_json::json!({}));
    show(&args.at, &secrets?)
}

/// Confirms a version.
///
/// # Errors
/// When the vault cannot be reached or refuses.
pub fn confirm(args: &SecretsConfirmArgs) -> Result<(), CommandError> {
    let request = ConfirmSecretRequest {
        version: args.version,
    };
    let client = args.at.client.open()?;
    let secrets = client.post_json("/v1/secrets/confirm", &request);
    show(&args.at, &secrets?)
}

/// Retires a version.
///
/// # Errors
/// When the vault cannot be reached or refuses, or could not destroy what it has forgotten.
pub fn retire(args: &SecretsRetireArgs) -> Result<(), CommandError> {
    let statement = statement::bring(args.statement.as_deref())?;
    if !args.dry_run {
        let changes = format!(
            "Version {} of the sector secret is destroyed.",
            args.version
        );
        let lost = "The pseudonyms of its epochs can never be made again.";
        args.assent.obtain(&Irreversible { changes, lost })?;
    }
    let request = RetireSecretRequest {
        version: args.version,
        dry_run: args.dry_run,
        statement,
    };
    let retired: RetiredSecret = args
        .at
        .client
        .open()?
        .post_json("/v1/secrets/retire", &request)?;
    let RetiredSecret {
        version,
        destroyed,
        remains,
        ..
    } = &retired;
    match (args.at.json, args.dry_run, destroyed) {
        (true, ..) => print_json(&retired)?,
        (false, true, _) => print(format_args!(
            "Nothing needs version {version}: it may be retired."
        ))?,
        (false, false, true) => print(format_args!("Version {version} is retired and destroyed."))?,
        (false, false, false) => print(format_args!(
            "Version {version} is retired: the vault has forgotten it."
        ))?,
    }
    match remains {
        Some(place) => Err(CommandError::new(
            format_args!("the vault cannot destroy {place}"),
            "destroy it by hand with all its copies; for a credential, remove it from the unit and delete its file",
        )),
        None => Ok(()),
    }
}

fn show(at: &SecretsCallArgs, secrets: &SectorSecrets) -> Result<(), CommandError> {
    if at.json {
        return print_json(secrets);
    }
    let mut table = format!("{:<8} {:<11} NEEDED BY", "VERSION", "STATE");
    for SecretView {
        version,
        state,
        own,
        needed_by,
    } in &secrets.versions
    {
        let needs: Vec<String> = needed_by.iter().map(SecretNeed::to_string).collect();
        let needs = if needs.is_empty() {
            "nothing".to_owned()
        } else {
            needs.join(", ")
        };
        let own = if *own { " (one epoch's own)" } else { "" };
        table += &format!("\n{version:<8} {state:<11} {needs}{own}");
    }
    if !secrets.journal.is_empty() {
        let journal: Vec<_> = secrets.journal.iter().map(u32::to_string).collect();
        table += &format!(
            "\n\nSide records of the log need these versions of the journal secret: {}",
            journal.join(", ")
        );
    }
    print(table + &waiting_for_places(&secrets.waiting))
}
