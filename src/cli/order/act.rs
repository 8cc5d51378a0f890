//! `cloison order revoke`, `suspend`, `resume`, `review`, `lodge`: acts upon orders, signed by
//! approvers and brought to the vault or the authority node.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{OrderSignArgs, list};
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::{ClientFile, bringing_client};
use crate::cli::inputs::{
    id_of_option, order_payload, present_second, read_order_file, read_person_key, read_register,
    write_new,
};
use crate::cli::signed_file;
use crate::client::Client;
use crate::execution::step::{ActResponse, ActText};
use crate::order::act::{ActKind, ActPayload, check_act};
use crate::order::life::Orders;
use crate::order::life::suspensions;
use crate::refusal::Refusal;
use crate::register::{Id, Register};
use crate::reidentify::lodge::{LodgedOrder, OrderText};
use crate::statement::{self, Statement as _};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// The arguments of `order revoke` and `order suspend`, and in part of `resume` and `review`.
#[derive(clap::Args)]
pub struct OrderActArgs {
    /// The approver's own private key: Ed25519, PKCS#8 PEM, mode 0600
    #[arg(long, value_name = "FILE", env = "CLOISON_APPROVER_KEY")]
    key: PathBuf,
    /// The approver's id in the register
    #[arg(long, value_name = "ID")]
    kid: String,
    /// Why, as a code of a-z, 0-9 and '-' that names nobody
    #[arg(long, value_name = "CODE")]
    reason: String,
    /// The register, where the order's file is not at hand: gives the deployment's id
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// The order's authority, where its file is not at hand [default: the register's, where it has
    /// only one]
    #[arg(long, value_name = "ID")]
    authority: Option<String>,
    /// Write the signed act to this file, for others to sign or to bring; an existing file is never
    /// overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Bring it at once, as the client of this file: an officer's leads to the authority node, an
    /// operator's to the vault [default: that of CLOISON_CLIENT, without --out]
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    assent: Assent,
    /// The order: its file, or its id
    #[arg(value_name = "ORDER")]
    order: String,
}

/// The arguments of `order resume`.
#[derive(clap::Args)]
pub struct OrderResumeArgs {
    #[command(flatten)]
    act: OrderActArgs,
    /// The digest of a suspension to lift; may be given several times [default: with --client, all
    /// that are in force there]
    #[arg(long = "lift", value_name = "DIGEST")]
    lifts: Vec<String>,
}

/// The arguments of `order review`.
#[derive(clap::Args)]
pub struct OrderReviewArgs {
    /// Close the review
    #[arg(long, required = true)]
    close: bool,
    #[command(flatten)]
    act: OrderActArgs,
}

/// The arguments of `order lodge`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison order lodge revoke.jws --client clients/officer.toml     # at the authority's node\n  \
    cloison order lodge revoke.jws --client clients/operator.toml    # at the vault")]
pub struct OrderLodgeArgs {
    /// The act, signed
    #[arg(
        value_name = "ACTFILE",
        required_unless_present = "order",
        conflicts_with = "order"
    )]
    act: Option<PathBuf>,
    /// An order, in place of an act: shown to the vault before it is used, which copies what it
    /// lists
    #[arg(long, value_name = "ORDERFILE")]
    order: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    client: ClientFile,
}

/// `order revoke`
pub(super) fn revoke(args: &OrderActArgs) -> Result<(), CommandError> {
    run(args, ActKind::Revoke, |_, _, _| Ok(vec![]))
}

/// `order suspend`
pub(super) fn suspend(args: &OrderActArgs) -> Result<(), CommandError> {
    run(args, ActKind::Suspend, |_, _, _| Ok(vec![]))
}

/// `order review --close`
pub(super) fn review(args: &OrderReviewArgs) -> Result<(), CommandError> {
    debug_assert!(args.close, "clap requires it");
    run(&args.act, ActKind::CloseReview, |_, _, _| Ok(vec![]))
}

/// `order resume`
pub(super) fn resume(args: &OrderResumeArgs) -> Result<(), CommandError> {
    run(&args.act, ActKind::Resume, |authority, order, client| {
        let digest = |text: &String| {
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .ok()?
                .try_into()
                .ok()
        };
        let digests =
            |texts: &[String]| texts.iter().map(digest).collect::<Option<Vec<[u8; 32]>>>();
        let wrong = || {
            CommandError::usage(
                "--lift is not a digest",
                "write 64 hexadecimal digits, as `cloison order list` shows them",
            )
        };
        match (args.lifts.as_slice(), client) {
            ([], None) => Err(CommandError::usage(
                "no suspension is named",
                "name it with --lift, or give --client",
            )),
            ([], Some(client)) => {
                let known: Orders = client.get_json("/v1/orders")?;
                let view = known
                    .orders
                    .iter()
                    .find(|view| (&view.authority, view.id) == (authority, order));
                let found: Vec<String> = view
                    .iter()
                    .flat_map(|view| suspensions(&view.acts))
                    .map(|done| done.digest.clone())
                    .collect();
                match found.as_slice() {
                    [] => Err(CommandError::new(
                        "no suspension of this order is in force there",
                        "see `cloison order list`",
                    )),
                    found => digests(found).ok_or_else(wrong),
                }
            }
            (texts, _) => digests(texts).ok_or_else(wrong),
        }
    })
}

/// `order lodge`
pub(super) fn lodge(args: &OrderLodgeArgs) -> Result<(), CommandError> {
    if let Some(order) = &args.order {
        return bring_order(&args.client.open()?, order, args.json);
    }
    let asked = || {
        CommandError::usage(
            "neither an act nor an order is named",
            "name the act's file, or the order's with --order",
        )
    };
    let path = args.act.as_deref().ok_or_else(asked)?;
    let act = read_text(path)?;
    match statement::read_unverified::<ActPayload>(&act) {
        Ok(payload) => obtain(args.assent, payload.act, payload.order)?,
        Err(_) if order_payload(path, &act).is_ok() => {
            return Err(CommandError::usage(
                "this is an order and not an act upon one",
                "bring it with --order FILE",
            ));
        }
        // The server refuses it and says why.
        Err(_) => {}
    }
    bring(&args.client.open()?, &act, args.json)
}

/// Brings an order to the client's server.
fn bring_order(client: &Client, order: &Path, json: bool) -> Result<(), CommandError> {
    let text = OrderText {
        order: read_text(order)?.trim_end().to_owned(),
    };
    let lodged: LodgedOrder = client.post_json("/v1/orders", &text)?;
    if json {
        print_json(&lodged)
    } else {
        print(format_args!(
            "Order {} is lodged: it keeps its own copies of the mappings until it is over.",
            lodged.order
        ))
    }
}

/// Asks before an act that cannot be undone.
fn obtain(assent: Assent, act: ActKind, order: Uuid) -> Result<(), CommandError> {
    let (changes, lost) = match act {
        // Each undoes the other.
        ActKind::Suspend | ActKind::Resume => return Ok(()),
        ActKind::Revoke => {
            let changes =
                format!("Order {order} ends: nothing is released or opened under it any more.");
            (
                changes,
                "A revocation cannot be taken back: a new order has to be signed. The copies that were kept for this order are \
                 destroyed; what was erased or retired meanwhile cannot be opened under another order.",
            )
        }
        ActKind::CloseReview => {
            let changes = format!("The review of order {order} ends.");
            (changes, "A review that was closed cannot be opened again.")
        }
    };
    assent.obtain(&Irreversible { changes, lost })
}

fn run(
    args: &OrderActArgs,
    kind: ActKind,
    lifts: impl FnOnce(&Id, Uuid, Option<&Client>) -> Result<Vec<[u8; 32]>, CommandError>,
) -> Result<(), CommandError> {
    let client = bringing_client(args.client.as_deref(), args.out.as_deref(), "act")?;
    let (aud, authority, order) = whose(args)?;
    let lifts = lifts(&authority, order, client.as_ref())?;
    obtain(args.assent, kind, order)?;
    let payload = ActPayload {
        aud,
        act: kind,
        authority,
        order,
        reason: id_of_option("--reason", &args.reason)?,
        time: present_second()?,
        lifts,
    };
    let key = read_person_key(&args.key, "approver")?;
    let signed = payload
        .draft()
        .and_then(|draft| statement::sign::<ActPayload>(&draft, &args.kid, &key))
        .map_err(unusable)?;
    if let Some(out) = &args.out {
        write_new(out, &signed)?;
    }
    match client {
        Some(client) => bring(&client, &signed, args.json),
        None => print(format_args!(
            "{}Signed by {}. It is in force once it is brought: `cloison order lodge`",
            text(&payload),
            args.kid
        )),
    }
}

/// Deployment, authority and id of the order.
fn whose(args: &OrderActArgs) -> Result<(Id, Id, Uuid), CommandError> {
    if let Ok(id) = Uuid::try_parse(&args.order) {
        let Some(file) = &args.register else {
            return Err(CommandError::usage(
                "the order's deployment is not known from its id",
                "give the order's file, or --register",
            ));
        };
        let register = read_register(file)?;
        let authority = match (
            &args.authority,
            register.authorities.keys().collect::<Vec<_>>().as_slice(),
        ) {
            (Some(id), _) => id_of_option("--authority", id)?,
            (None, [only]) => (*only).clone(),
            (None, _) => {
                return Err(CommandError::usage(
                    "the register has several authorities",
                    "give --authority",
                ));
            }
        };
        return Ok((register.deployment, authority, id));
    }
    let path = Path::new(&args.order);
    let (_, order) = read_order_file(path)?;
    Ok((order.aud, order.authority, order.id))
}

fn unusable(refusal: Refusal) -> CommandError {
    CommandError::new(
        refusal,
        "`cloison order revoke --help` and its neighbours have examples",
    )
}

/// Brings an act to the client's server, and prints the result.
fn bring(client: &Client, act: &str, json: bool) -> Result<(), CommandError> {
    let lodged: ActResponse = client.post_json(
        "/v1/acts",
        &ActText {
            act: act.to_owned(),
        },
    )?;
    if json {
        print_json(&lodged)?;
    } else {
        print(list::text(std::slice::from_ref(&lodged.order)).trim_end())?;
        print(if lodged.both {
            "Vault and node both have it."
        } else {
            "This side has it; the other side gets it before anything more is released."
        })?;
    }
    Ok(())
}

/// Whether a text is an act, and not an order.
pub(super) fn is_act(text: &str) -> bool {
    statement::read_unverified::<ActPayload>(text).is_ok()
}

/// Adds a signature to an act's file.
pub(super) fn sign(
    args: &OrderSignArgs,
    shown: &str,
    key: &ed25519_dalek::SigningKey,
    register: Option<&Register>,
) -> Result<(), CommandError> {
    let payload: ActPayload = statement::read_unverified(shown).map_err(unusable)?;
    if let Some(register) = register {
        super::is_key_of_approver(args, key, &payload.authority, register)?;
    }
    let summary = format!("This is what is signed:\n{}", text(&payload).trim_end());
    let signed = signed_file::countersign::<ActPayload>(
        &args.order,
        shown,
        &summary,
        args.assent,
        |text| statement::sign::<ActPayload>(text, &args.kid, key).map_err(unusable),
    )?;
    print(format_args!(
        "Signed by {}: {}",
        args.kid,
        args.order.display()
    ))?;
    match register.map(|register| check_act(&signed, register)) {
        Some(Err(refusal)) => print(format_args!("Still missing: {refusal}")),
        Some(Ok(_)) => print(
            "No signature is missing. It is in force once it is brought: `cloison order lodge`",
        ),
        None => print(
            "With --register this command says which signatures are missing. `cloison order lodge` brings the act.",
        ),
    }
}

/// Shows people what an act says.
fn text(payload: &ActPayload) -> String {
    let lifts: String = payload
        .lifts
        .iter()
        .map(|digest| {
            format!(
                "  lifts        {}\n",
                data_encoding::HEXLOWER.encode(digest)
            )
        })
        .collect();
    format!(
        "  act          {}\n  order        {}\n  authority    {}\n  reason       {}\n  time         {}\n{lifts}",
        payload.act.as_str(),
        payload.order,
        payload.authority,
        payload.reason,
        payload.time
    )
}
