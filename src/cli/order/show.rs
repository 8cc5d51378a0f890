//! `cloison order show`: shows people what an order says.

use std::fmt::{Display, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::inputs::order_payload;
use crate::order::{LegalBasis, OrderPayload, PseudonymScope, SecuritySide};
use crate::register::Id;
use crate::statement::UnverifiedStatement;
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};

/// The arguments of `order show`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison order show orders/17.jws\n\n\
    This only reads the file: it checks neither signatures nor rules, and anyone could have written it. \
    `cloison order check` checks it.")]
pub struct OrderShowArgs {
    /// The order
    #[arg(value_name = "ORDERFILE")]
    order: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ShownOrder<'a> {
    /// Always false: a reader of this JSON must not take it for more than it is.
    verified: bool,
    digest: String,
    claimed_signers: Vec<String>,
    payload: &'a OrderPayload,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read or holds no order.
pub fn run(args: &OrderShowArgs) -> Result<(), CommandError> {
    let order = read_text(&args.order)?;
    let payload = order_payload(&args.order, &order)?;
    if args.json {
        print_json(&shown(&order, &payload)?)
    } else {
        print(text(&order, &payload)?.trim_end())
    }
}

fn shown<'a>(order: &str, payload: &'a OrderPayload) -> Result<ShownOrder<'a>, CommandError> {
    let order = UnverifiedStatement::<OrderPayload>::read(order)
        .map_err(|refusal| CommandError::new(refusal, "`cloison order new` makes an order"))?;
    Ok(ShownOrder {
        verified: false,
        digest: data_encoding::HEXLOWER.encode(&order.digest()),
        claimed_signers: order.claimed_signers().map(str::to_owned).collect(),
        payload,
    })
}

/// The order as people read it, one fact a line, with every pseudonym.
fn text(order: &str, payload: &OrderPayload) -> Result<String, CommandError> {
    let facts = facts(order, payload, usize::MAX)?;
    Ok(facts + "Nothing of this is verified here: `cloison order check` does that.\n")
}

/// The same on one screen, for the people who sign it: the first pseudonyms of each sector.
pub(super) fn summary(order: &str, payload: &OrderPayload) -> Result<String, CommandError> {
    const MOST_SHOWN: usize = 5;
    Ok(format!(
        "This is what is signed:\n{}",
        facts(order, payload, MOST_SHOWN)?.trim_end()
    ))
}

/// Facts about an order, one a line.
struct FactLines(String);

impl FactLines {
    fn add(&mut self, name: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "  {name:<12} {value}");
    }
}

/// One fact a line; of each sector `most` pseudonyms at most.
fn facts(order: &str, payload: &OrderPayload, most: usize) -> Result<String, CommandError> {
    let shown = shown(order, payload)?;
    let signers = match shown.claimed_signers.as_slice() {
        [] => "nobody yet".to_owned(),
        signers => format!("{}, as the file claims", signers.join(", ")),
    };
    let officers: Vec<&str> = payload.officers.iter().map(Id::as_str).collect();
    let sectors: Vec<String> = payload.sectors.iter().map(|sector| plain(sector)).collect();
    let valid = format!(
        "from {} until before {}, {}",
        payload.not_before,
        payload.not_after,
        hours(
            payload
                .not_after
                .duration_since(payload.not_before)
                .as_secs()
        )
    );
    let mut facts = FactLines(String::new());
    facts.add("order", payload.id);
    facts.add("deployment", &payload.aud);
    facts.add("authority", &payload.authority);
    facts.add("legal basis", basis(&payload.basis));
    facts.add("case", &payload.case);
    facts.add("purpose", &payload.purpose);
    facts.add("sectors", sectors.join(", "));
    scope(&mut facts, &payload.scope, most);
    facts.add("valid", valid);
    if let Some(issued) = payload.issued {
        facts.add("issued", issued);
    }
    facts.add("officers", officers.join(", "));
    if let Some(time) = payload.inform_after {
        facts.add(
            "notice",
            format_args!("the persons concerned are not told before {time}"),
        );
    }
    facts.add("digest", &shown.digest);
    facts.add("signed by", signers);
    Ok(facts.0)
}

fn basis(basis: &LegalBasis) -> String {
    match basis {
        LegalBasis::Statutory { article } => format!("statutory: {article}"),
        LegalBasis::ForceMajeure { security } => {
            let side = match security {
                SecuritySide::Internal => "inside",
                SecuritySide::External => "outside",
            };
            format!("force majeure, security {side} the State")
        }
        LegalBasis::Judicial => "judicial".to_owned(),
        LegalBasis::Continuity(epochs) => format!(
            "continuity: from epoch {} to epoch {}",
            epochs.from, epochs.to
        ),
    }
}

fn scope(facts: &mut FactLines, scope: &PseudonymScope, most: usize) {
    let lists = match scope {
        PseudonymScope::AtMost(limit) => {
            return facts.add(
                "pseudonyms",
                format_args!("any of these sectors, {limit} at most"),
            );
        }
        PseudonymScope::Listed(lists) => lists,
    };
    let all: usize = lists.values().map(Vec::len).sum();
    facts.add("pseudonyms", format_args!("these {all} and no other:"));
    for (sector, list) in lists {
        let sector = plain(sector);
        for pseudonym in list.iter().take(most) {
            facts.add("", format_args!("{sector}: {}", plain(pseudonym)));
        }
        if let more @ 1.. = list.len().saturating_sub(most) {
            facts.add(
                "",
                format_args!("{sector}: {more} more (`cloison order show` lists them all)"),
            );
        }
    }
}

fn hours(seconds: i64) -> String {
    match seconds % 3600 {
        0 => format!("{} hours", seconds / 3600),
        _ => format!(
            "{} hours {} minutes {} seconds",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ),
    }
}

/// Replaces every character that could move the reader's cursor or reverse the line: sector names
/// and pseudonyms were not checked and may be any text.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '\u{fffd}'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_paint_on_the_terminal() {
        assert_eq!(
            plain("he\u{1b}[2Jalth\u{202e}\n"),
            "he\u{fffd}[2Jalth\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn lengths_are_exact() {
        assert_eq!(hours(72 * 3600), "72 hours");
        assert_eq!(hours(3661), "1 hours 1 minutes 1 seconds");
    }
}
