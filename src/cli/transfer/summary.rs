//! The closing summary of a transfer, on standard error: what became of the items, by code, with
//! the first lines and what the scheme wants.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use indicatif::HumanCount;
use serde_json::json;

use crate::code::Code;
use crate::http::problem;
use crate::identifier::{CheckDigit, LetterCase, SchemeRules};
use crate::terminal::{CommandError, is_quiet, voice};
use crate::transfer::TransferTotals;

/// What a scheme wants, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct SchemeWants(pub(in crate::cli) String);

/// What a scheme wants, in words.
pub(in crate::cli) fn wants(rules: &SchemeRules) -> SchemeWants {
    let mut words = format!("{} wants {}", rules.id, rules.pattern);
    let removed: Vec<String> = rules
        .separators
        .chars()
        .filter(|separator| *separator != ' ')
        .map(String::from)
        .collect();
    words += match rules.case {
        LetterCase::Fold => ", in capitals or not",
        LetterCase::Keep => ", in exactly this case",
    };
    // Writing to a String cannot fail.
    let _ = match removed.join(" ") {
        none if none.is_empty() => write!(words, ", after spaces are removed"),
        removed => write!(words, ", after spaces and {removed} are removed"),
    };
    if rules.check != CheckDigit::None {
        let _ = write!(words, ", with a check digit ({})", rules.check.as_str());
    }
    SchemeWants(words)
}

/// Says what became of the items; exit code 3 if some were rejected.
///
/// # Errors
/// [`CommandError::rejected`]
pub(super) fn close(
    totals: &TransferTotals,
    wants: Option<&SchemeWants>,
) -> Result<(), CommandError> {
    say(totals, wants);
    match totals.rejections() {
        0 => Ok(()),
        rejected => Err(CommandError::rejected(
            format_args!(
                "{} of {} lines were rejected",
                HumanCount(rejected),
                HumanCount(totals.items)
            ),
            "in the answers they have '!' and the code that says why; `cloison client explain` says more",
        )),
    }
}

/// Says what became of the items, unless it is to be quiet.
pub(super) fn say(totals: &TransferTotals, wants: Option<&SchemeWants>) {
    if is_quiet() {
        return;
    }
    let text = if voice().json {
        as_json(totals).to_string()
    } else {
        as_text(totals, wants)
    };
    // Standard error may be closed; the exit code tells all the same.
    let _ = writeln!(io::stderr(), "{text}");
}

fn as_json(totals: &TransferTotals) -> serde_json::Value {
    json!({
        "items": totals.items,
        "accepted": totals.accepted(),
        "rejected": totals.rejected,
        "seconds": totals.elapsed.as_secs_f64(),
    })
}

fn as_text(totals: &TransferTotals, wants: Option<&SchemeWants>) -> String {
    let seconds = totals.elapsed.as_secs_f64();
    let mut text = format!("{} answered", HumanCount(totals.items));
    if totals.rejections() > 0 {
        let (accepted, rejected) = (totals.accepted(), totals.rejections());
        text += &format!(
            ": {} accepted, {} rejected",
            HumanCount(accepted),
            HumanCount(rejected)
        );
    }
    if seconds > 0.0 {
        let rate = totals.this_run as f64 / seconds;
        text += &format!("; {} a second", HumanCount(rate as u64));
    }
    for (code, items) in &totals.rejected {
        let mut lines: Vec<String> = items.lines.iter().map(ToString::to_string).collect();
        if items.count > items.lines.len() as u64 {
            lines.push("…".to_owned());
        }
        let line = if items.count == 1 { "line" } else { "lines" };
        let title = Code::ALL
            .iter()
            .find(|known| known.as_str() == code)
            .map(|code| problem::title(*code));
        text += &format!(
            "\n  {:>9}  {code}: {}; {line} {}",
            HumanCount(items.count).to_string(),
            title.unwrap_or("rejected"),
            lines.join(", ")
        );
    }
    if let Some(SchemeWants(wants)) = wants
        && totals
            .rejected
            .keys()
            .any(|code| code.starts_with("identifier-"))
    {
        text += &format!("\n  {wants}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Id;

    #[test]
    fn what_a_scheme_wants_is_said_in_words() {
        let rules = SchemeRules {
            id: Id::parse("cnie").unwrap(),
            pattern: "[A-Z]{1,2}[0-9]{1,6}".into(),
            separators: " -".into(),
            check: CheckDigit::None,
            case: LetterCase::Fold,
        };
        assert_eq!(
            wants(&rules).0,
            "cnie wants [A-Z]{1,2}[0-9]{1,6}, in capitals or not, after spaces and - are removed"
        );
        let rules = SchemeRules {
            separators: String::new(),
            check: CheckDigit::Luhn,
            case: LetterCase::Keep,
            ..rules
        };
        assert!(wants(&rules).0.ends_with(
            ", in exactly this case, after spaces are removed, with a check digit (luhn)"
        ));
    }
}
