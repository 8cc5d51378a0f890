//! `cloison authority unseal` and `drill`: a custodian brings their share to the node, or all
//! custodians test their shares on one machine.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::client_file::ClientFile;
use crate::cli::custodians::ShareOpeningArgs;
use crate::config::{KeyPlace, NodeConfig};
use crate::keys::file::SecretKind;
use crate::keys::shares::{ShareError, ShareText};
use crate::keys::{AuthoritySecret, memory};
use crate::register::Suite;
use crate::seal::segment::AuthorityPrivateKey;
use crate::serve::{open_register, read_set};
use crate::terminal::{CommandError, open_client, print, print_json};
use crate::unseal::UnsealProgress;

/// Bring a custodian's share to the node; with the last one needed, the node opens
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison authority unseal --client clients/custodian-2.toml --share custodian-2.share\n  \
    cloison authority unseal --client clients/custodian-2.toml --share custodian-2.share \\\n    \
    --identity custodian-2.key\n\n\
    Each custodian does this on their own machine, with their own certificate, in any order. The share is decrypted here, and \
    only the node sees it. A share that is brought twice counts once; the node forgets shares when the others do not come in time.")]
pub struct UnsealArgs {
    /// The custodian's share file
    #[arg(long, value_name = "FILE")]
    share: PathBuf,
    #[command(flatten)]
    opening: ShareOpeningArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Prove that shares make the key that the register states, and unseal nothing
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison authority drill --client clients/custodian-2.toml --share custodian-2.share\n  \
    cloison authority drill --config node.toml --share a.share --share b.share --share c.share\n\n\
    With --client a custodian brings their share to the node, as for unsealing; when enough have come, the node makes the key, \
    compares its public half, forgets it and stays as it was. With --config all shares are tried on this machine, which \
    should never have had a network. Practise every half year: a share that does not open is worth nothing.")]
pub struct AuthorityDrillArgs {
    /// A share file; with --config as many as the threshold (repeatable)
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    #[command(flatten)]
    opening: ShareOpeningArgs,
    /// The client file of the custodian who brings their share to the node
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    client: Option<PathBuf>,
    /// The node's configuration, to try shares against on this machine
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Brings a share.
///
/// # Errors
/// When the share does not open, or it is refused.
pub fn unseal(args: &UnsealArgs) -> Result<(), CommandError> {
    let progress = args.bring("/v1/shares")?;
    if args.json {
        return print_json(&progress);
    }
    let UnsealProgress {
        key,
        shares,
        threshold,
        done,
    } = progress;
    if done {
        print(format_args!("{key}: unsealed"))
    } else {
        print(format_args!(
            "{key}: {shares} of {threshold} shares are there"
        ))
    }
}

/// Brings a share for a drill.
///
/// # Errors
/// As [`unseal`].
pub fn drill_at(args: &UnsealArgs) -> Result<(), CommandError> {
    show_drill(&args.bring("/v1/drills")?, args.json)
}

impl UnsealArgs {
    fn bring(&self, path: &str) -> Result<UnsealProgress, CommandError> {
        memory::protect(true);
        let share = std::slice::from_ref(&self.share);
        let file = self.opening.open(share)?.remove(0);
        let client = self.client.open()?;
        Ok(client.post_json(path, &ShareText::from(file.share))?)
    }
}

/// Tries shares.
///
/// # Errors
/// When a share does not open or is refused, or the shares do not make the key.
pub fn drill(args: &AuthorityDrillArgs) -> Result<(), CommandError> {
    memory::protect(true);
    match (&args.client, &args.config) {
        (Some(client), _) => at_node(args, client),
        (None, Some(config)) => here(args, config),
        (None, None) => Err(CommandError::usage(
            "neither a node nor a configuration is named",
            "add --client or --config",
        )),
    }
}

fn at_node(args: &AuthorityDrillArgs, client: &std::path::Path) -> Result<(), CommandError> {
    let [share] = args.share.as_slice() else {
        return Err(CommandError::usage(
            "a custodian brings one share, their own",
            "name one --share, or try all with --config",
        ));
    };
    let file = args.opening.open(std::slice::from_ref(share))?.remove(0);
    let client = open_client(client)?;
    let progress: UnsealProgress = client.post_json("/v1/drills", &ShareText::from(file.share))?;
    show_drill(&progress, args.json)
}

fn show_drill(progress: &UnsealProgress, json: bool) -> Result<(), CommandError> {
    if json {
        return print_json(progress);
    }
    let UnsealProgress {
        key,
        shares,
        threshold,
        done,
    } = progress;
    if *done {
        print(format_args!(
            "{key}: proved; {threshold} shares make what is stated"
        ))
    } else {
        print(format_args!(
            "{key}: the drill has {shares} of {threshold} shares"
        ))
    }
}

fn here(args: &AuthorityDrillArgs, config: &std::path::Path) -> Result<(), CommandError> {
    let config = NodeConfig::load(config)?;
    let register = open_register(&config.register)?;
    let files = args.opening.open(&args.share)?;
    let digest = *files[0].share.set();
    let mut pinned = None;
    for entry in &config.keys {
        if let KeyPlace::Shares(path) = &entry.place {
            let set = read_set(path)?;
            if set.digest() == digest {
                pinned = Some((entry.id.clone(), set));
            }
        }
    }
    let foreign = || {
        CommandError::new(
            ShareError::Foreign,
            "bring the shares of a key that node.toml names, all of one splitting",
        )
    };
    let (id, set) = pinned.ok_or_else(foreign)?;
    let shares: Vec<_> = files.iter().map(|file| &file.share).collect();
    let mut secrets = set.recover(&shares).map_err(|error| {
        CommandError::new(
            error,
            "bring shares from as many custodians as the threshold",
        )
    })?;
    let made = secrets
        .pop()
        .filter(|_| set.secrets[0].kind == SecretKind::Authority)
        .map(AuthoritySecret);
    let suite = Suite::of_public(&set.secrets[0].public).ok_or_else(foreign)?;
    let made = made
        .map(|scalar| AuthorityPrivateKey::derive(&scalar, id.as_str(), suite))
        .ok_or_else(foreign)?;
    let stated = register
        .authorities
        .get(&config.authority)
        .into_iter()
        .flat_map(|authority| &authority.keys);
    if !stated
        .into_iter()
        .any(|key| key.id == id && key.public == made.public())
    {
        let what = format!("the shares make another key than the register states for {id}");
        return Err(CommandError::new(
            what,
            "seal nothing to it: the register or the set is wrong",
        ));
    }
    let custodians: Vec<_> = shares
        .iter()
        .map(|share| share.custodian().to_string())
        .collect();
    if args.json {
        print_json(
            &json!({"key": id, "done": true, "threshold": set.threshold, "custodians": custodians}),
        )
    } else {
        print(format_args!(
            "{id}: proved; the shares of {} make the key that the register states",
            custodians.join(", ")
        ))
    }
}
