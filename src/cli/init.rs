//! `cloison init`: makes a working deployment in a new folder.

use std::path::{Path, PathBuf};

use super::inputs::parse_id;
use crate::deployment::{
    DeploymentPlan, FileHolder, ListenPlan, NewDeployment, make, register_text,
};
use crate::register::Id;
use crate::terminal::{CommandError, print, print_json};

/// Start a deployment: configuration, register, keys and certificates in a new folder
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison init ./pilot\n  \
    cloison init /etc/cloison --deployment ma-prod --vault-host vault.example.ma \\\n    \
    --authority-host node.example.ma\n  \
    cloison init ./split --identity-host localhost     # the identity secret with a process of its own\n\n\
    Nothing is overwritten. The folder holds everything; at the end the command prints who must hold which file.")]
pub struct InitArgs {
    /// The folder to fill; it must not exist yet, or be empty
    dir: PathBuf,
    /// The deployment's id: orders and registers of another deployment are refused
    #[arg(long, value_name = "ID", default_value = "cloison", value_parser = parse_id)]
    deployment: Id,
    /// A name or address under which sector systems reach the vault (repeatable); without one it
    /// listens on loopback
    #[arg(long, value_name = "HOST", value_parser = host)]
    vault_host: Vec<String>,
    /// A name or address under which officers reach the authority node (repeatable); without one it
    /// listens on loopback
    #[arg(long, value_name = "HOST", value_parser = host)]
    authority_host: Vec<String>,
    /// A name or address under which vault and node reach the commission's witness (repeatable);
    /// without one it listens on loopback
    #[arg(long, value_name = "HOST", value_parser = host)]
    witness_host: Vec<String>,
    /// Give the identity secret to an identity source, a process of another body than the vault's;
    /// a name or address under which the vault reaches it (repeatable)
    #[arg(long, value_name = "HOST", value_parser = host)]
    identity_host: Vec<String>,
    /// Split the authority's key between this many custodians; without it the key is a file at the
    /// authority node
    #[arg(long, value_name = "COUNT", requires = "threshold", value_parser = clap::value_parser!(u8).range(2..=32))]
    custodians: Option<u8>,
    /// How many custodians it takes to unseal the authority node
    #[arg(long, value_name = "COUNT", requires = "custodians", value_parser = clap::value_parser!(u8).range(2..=32))]
    threshold: Option<u8>,
    /// How many years the certificates of clients last (servers': at least ten)
    #[arg(long, value_name = "YEARS", default_value_t = 2, value_parser = clap::value_parser!(i16).range(1..=20))]
    years: i16,
    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
    /// Write `keys-example/`: the demo's register, a signed order and a list of all fingerprints
    #[arg(long, hide = true)]
    example: bool,
}

/// A name that clients can dial and a certificate can carry.
fn host(text: &str) -> Result<String, String> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(
            "a host is a DNS name such as vault.example.org, or an address such as 192.0.2.7"
                .to_owned(),
        ),
    }
}

/// Runs the command.
///
/// # Errors
/// When the folder is not empty or cannot be written; nothing is left behind then.
pub fn run(args: InitArgs) -> Result<(), CommandError> {
    let plan = DeploymentPlan {
        deployment: args.deployment.to_string(),
        facts: if args.example {
            &register_text::DEMO
        } else {
            &register_text::START
        },
        vault: ListenPlan::new(args.vault_host, [7443, 7444, 7445]),
        node: ListenPlan::new(args.authority_host, [7542, 7543, 7545]),
        years: args.years,
        witness: (!args.example).then(|| ListenPlan::new(args.witness_host, [7643, 7644, 7645])),
        identity: (!args.identity_host.is_empty())
            .then(|| ListenPlan::new(args.identity_host, [7742, 7743, 7745])),
        example: args.example,
        custodians: args
            .threshold
            .zip(args.custodians)
            .map(|(threshold, count)| (threshold.into(), count.into())),
    };
    let made = make(&args.dir, &plan)?;
    if args.json {
        print_json(&made)
    } else {
        print(report(&made, &args.dir))
    }
}

fn report(made: &NewDeployment, dir: &Path) -> String {
    let dir = dir.display();
    let NewDeployment {
        deployment,
        certificates_until,
        ..
    } = made;
    let witness = if made.holders.iter().any(|row| row.holder == "witness") {
        format!("cloison witness serve --config {dir}/witness.toml\n  ")
    } else {
        String::new()
    };
    let (identity, form) = match &made.identity_url {
        None => (
            String::new(),
            "the vault has the identity secret (`--identity-host` gives it to a process of its own)",
        ),
        Some(_) => (
            format!("cloison identity serve --config {dir}/identity.toml\n  "),
            "the identity source has the identity secret, and the vault has no copy of it",
        ),
    };
    format!(
        "Deployment {deployment:?} is ready in {dir}: {secrets} secrets, {clients} client files, clients' certificates until \
         {certificates_until}; {form}.\n\
         \n\
         Who must hold which files, each in the same place of a folder of their own. Give each row to its holder, no two\n\
         rows to one holder, and then delete {dir}. They need these files and nothing else:\n\
         \n\
         {holders}\n\
         {apart}, under another administrator than that of the store's backups.\n\
         orders/ and input/ are empty: for orders to be signed, and for identifiers that are sent.\n\
         \n\
         Next:\n  \
         {identity}cloison serve --config {dir}/vault.toml\n  \
         cloison authority serve --config {dir}/node.toml\n  \
         {witness}\
         or as services, each row on its own machine: docs/operations.md, \"As a service\"\n  \
         printf 'AB123456\\n' | cloison client tokenize --client {dir}/clients/cnss-health.toml \\\n      \
         --sector health --scheme cnie --purpose billing\n  \
         edit {dir}/register.toml, then: cloison check {dir}/register.toml\n  \
         and have it signed by both keys: cloison register sign --help",
        holders = holders(&made.holders),
        apart = match &made.identity_url {
            None => "secrets/vault/ needs a backup of its own",
            Some(_) => "secrets/vault/ and secrets/identity/ need backups of their own",
        },
        secrets = made.secrets.len(),
        clients = made.clients.len(),
    )
}

/// A row for each holder, its files in lines of at most 100 columns.
fn holders(rows: &[FileHolder]) -> String {
    const COLUMNS: usize = 100;
    let mut text = String::new();
    for FileHolder {
        holder,
        role,
        files,
    } in rows
    {
        let mut line = format!("  {holder:<13}{role:<25}");
        let indent = line.chars().count();
        for file in files {
            if line.chars().count() + 1 + file.len() > COLUMNS {
                text += line.trim_end();
                line = format!("\n{:indent$}", "");
            }
            line += " ";
            line += file;
        }
        text += &line;
        text += "\n";
    }
    text
}
