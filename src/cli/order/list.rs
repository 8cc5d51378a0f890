//! `cloison order list`: the orders that the vault or a node knows, their states, and the acts upon
//! them.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::client_file::ClientFile;
use crate::cli::inputs::order_payload;
use crate::order::life::{OrderLife, OrderState, OrderView, Orders};
use crate::order::{OrderPayload, Signer};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// The arguments of `order list`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison order list --client clients/officer.toml   # what the authority node knows\n  \
    cloison order list --client clients/operator.toml --json   # what the vault knows\n  \
    cloison order list --client clients/officer.toml --review-due\n  \
    cloison order list --client clients/officer.toml --folder orders\n\n\
    States: drafted (an unused file in --folder), active, suspended, exhausted (all pseudonyms that it allows were asked for), \
    expired, revoked. The vault's count of pseudonyms is the one that binds.")]
pub struct OrderListArgs {
    /// Only orders under force majeure whose review is not closed
    #[arg(long)]
    review_due: bool,
    /// Also the order files (*.jws) of this folder that the server has not seen
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// When the server does not answer, or refuses.
pub(super) fn run(args: &OrderListArgs) -> Result<(), CommandError> {
    let known: Orders = args.client.open()?.get_json("/v1/orders")?;
    let mut orders = known.orders;
    if let Some(folder) = &args.folder {
        let drafts = drafts(folder)?;
        let seen: Vec<_> = orders
            .iter()
            .map(|order| (order.authority.clone(), order.id))
            .collect();
        orders.extend(
            drafts
                .into_iter()
                .filter(|draft| !seen.contains(&(draft.authority.clone(), draft.id))),
        );
    }
    orders.retain(|order| !args.review_due || order.review_due);
    if args.json {
        return print_json(&Orders {
            orders,
            more: known.more,
        });
    }
    print(text(&orders).trim_end())?;
    match known.more {
        0 => Ok(()),
        more => print(format_args!("{more} older orders are not shown.")),
    }
}

/// The order files of a folder, as unused orders.
fn drafts(folder: &Path) -> Result<Vec<OrderView>, CommandError> {
    let failed = |error: std::io::Error| CommandError::file(folder, &error);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|end| end == "jws"));
    files.sort();
    let orders = files
        .iter()
        .map(|file| order_payload(file, &read_text(file)?));
    // An act, say: not an order, and nothing to list.
    Ok(orders.filter_map(Result::ok).map(draft).collect())
}

fn draft(payload: OrderPayload) -> OrderView {
    let (id, authority) = (payload.id, payload.authority);
    OrderView {
        id,
        authority,
        state: OrderState::Drafted,
        review_due: false,
        life: None,
        acts: vec![],
    }
}

/// Orders as people read them.
pub(super) fn text(orders: &[OrderView]) -> String {
    if orders.is_empty() {
        return "No orders.\n".to_owned();
    }
    let mut page = String::new();
    for order in orders {
        // Writing to a String cannot fail.
        let _ = one_order(&mut page, order);
    }
    page
}

fn one_order(page: &mut String, order: &OrderView) -> fmt::Result {
    let state = order.state.as_str();
    write!(page, "{}  {state:<9}  {}", order.id, order.authority)?;
    match &order.life {
        Some(life) => one_life(page, life)?,
        None => writeln!(page)?,
    }
    for entered in &order.acts {
        let (act, by) = (entered.act.as_str(), with_bodies(&entered.by));
        let (received, reason, digest) = (entered.received, &entered.reason, &entered.digest);
        writeln!(page, "  {act} {received:.0} by {by}: {reason}  {digest}")?;
    }
    if order.review_due {
        let opened = order.life.as_ref().and_then(|life| life.review);
        let since = opened.map(|time| format!(", open since {time:.0}"));
        writeln!(
            page,
            "  REVIEW DUE{}: a second body closes it with `cloison order review --close`",
            since.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// What an order says that was used, and what was done with it.
fn one_life(page: &mut String, life: &OrderLife) -> fmt::Result {
    let detail = life.basis_detail.as_ref();
    let detail = detail.map(|detail| format!(" ({detail})"));
    writeln!(
        page,
        "  {}  {}{}",
        life.case,
        life.basis,
        detail.unwrap_or_default()
    )?;
    writeln!(
        page,
        "  {} of {} pseudonyms in {}; valid {} to {}",
        life.used,
        life.limit,
        life.sectors.join(", "),
        life.not_before,
        life.not_after
    )?;
    writeln!(page, "  signed by {}", with_bodies(&life.signers))?;
    let (first, last) = (&life.first, &life.last);
    writeln!(
        page,
        "  first used {:.0} by {}, last {:.0} by {}",
        first.time, first.officer, last.time, last.officer
    )?;
    match life.exhausted {
        Some(time) => writeln!(page, "  exhausted {time:.0}"),
        None => Ok(()),
    }
}

fn with_bodies(signers: &[Signer]) -> String {
    let named = signers
        .iter()
        .map(|signer| format!("{} ({})", signer.id, signer.body));
    named.collect::<Vec<_>>().join(", ")
}
