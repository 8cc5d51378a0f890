//! `cloison order list`: the orders that a side knows, where they stand, and what was done upon
//! them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::client_file::ClientFile;
use crate::cli::inputs::order_payload;
use crate::order::OrderPayload;
use crate::order::life::Orders;
use crate::order::life::{OrderState, OrderView};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// What `order list` takes.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison order list --client clients/officer.toml              what the authority node knows\n  \
    cloison order list --client clients/operator.toml --json      what the vault knows, of all authorities\n  \
    cloison order list --client clients/officer.toml --review-due\n  \
    cloison order list --client clients/officer.toml --folder orders\n\n\
    States: drafted (a file in --folder that nobody has used), active, suspended, exhausted (all that it allows was asked \
    for), expired, revoked. The vault's count of what was asked for is the one that binds.")]
pub struct OrderListArgs {
    /// Only orders under force majeure whose review nobody has closed
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

/// The order files of a folder, as orders that nobody has used.
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
    let mut out = String::new();
    if orders.is_empty() {
        out.push_str("No orders.\n");
    }
    for order in orders {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{}  {:<9}  {}",
            order.id,
            order.state.as_str(),
            order.authority
        );
        if let Some(life) = &order.life {
            let detail = life
                .basis_detail
                .as_ref()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            let _ = writeln!(out, "  {}  {}{detail}", life.case, life.basis);
            let _ = writeln!(
                out,
                "  {} of {} pseudonyms in {}; valid {} to {}",
                life.used,
                life.limit,
                life.sectors.join(", "),
                life.not_before,
                life.not_after
            );
            let signers: Vec<_> = life
                .signers
                .iter()
                .map(|signer| format!("{} ({})", signer.id, signer.body))
                .collect();
            let _ = writeln!(out, "  signed by {}", signers.join(", "));
            let _ = writeln!(
                out,
                "  first used {:.0} by {}, last {:.0} by {}",
                life.first.time, life.first.officer, life.last.time, life.last.officer
            );
            if let Some(time) = life.exhausted {
                let _ = writeln!(out, "  exhausted {time:.0}");
            }
        } else {
            out.push('\n');
        }
        for done in &order.acts {
            let by: Vec<_> = done
                .by
                .iter()
                .map(|signer| format!("{} ({})", signer.id, signer.body))
                .collect();
            let _ = writeln!(
                out,
                "  {} {:.0} by {}: {}  {}",
                done.act.as_str(),
                done.received,
                by.join(", "),
                done.reason,
                done.digest
            );
        }
        if order.review_due {
            let opened = order.life.as_ref().and_then(|life| life.review);
            let opened = opened
                .map(|time| format!(", open since {time:.0}"))
                .unwrap_or_default();
            let _ = writeln!(
                out,
                "  REVIEW DUE{opened}: a second body closes it with `cloison order review --close`"
            );
        }
    }
    out
}
