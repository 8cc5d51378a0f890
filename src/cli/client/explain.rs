//! `cloison client explain`: why identifiers are rejected. They stay on this machine: the rules of
//! the scheme come to them.

use std::io;
use std::path::PathBuf;

use indicatif::HumanCount;
use serde_json::json;

use super::super::inputs::read_register;
use super::{SchemeWants, ask_status, scheme_of, wants};
use crate::cli::client_file::usual_client;
use crate::code::Code;
use crate::http::problem;
use crate::identifier::Scheme;
use crate::lines::LineReader;
use crate::register::Id;
use crate::terminal::{CommandError, open_client, print, print_json};

/// A longer line is cut here.
const MAX_LINE: usize = 4 * 1024;

/// Say why identifiers are rejected
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sed -n '17p;99p' cards.txt | cloison client explain --scheme cnie \\\n    \
    --client clients/cnss-health.toml\n  \
    cloison client explain --scheme cnie --register register.toml < cards.txt\n\n\
    Reads identifiers from standard input, one a line, and applies the scheme's rules to them here: no identifier is sent. \
    The rules come from the register file, or from the vault. A form shows A for a letter, 9 for a digit and ? for what no \
    identifier has.\n\n\
    Exit codes: 0 every line is an identifier of the scheme; 3 some are not.")]
pub struct ExplainArgs {
    /// The scheme of the identifiers: cnie, idcs, passport, …
    #[arg(long)]
    scheme: String,
    /// Take the scheme's rules from this register [default: from the vault]
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// The client file, to ask the vault for the scheme's rules [default: that of CLOISON_CLIENT,
    /// without --register]
    #[arg(long, value_name = "FILE", conflicts_with = "register")]
    client: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When there are no such rules; with exit code 3 when some lines are not identifiers.
pub(super) fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    let scheme = rules(args)?;
    let SchemeWants(wanted) = wants(scheme.rules());
    if !args.json {
        print(&wanted)?;
    }
    let mut lines = LineReader::new(io::stdin());
    let (mut all, mut number, mut rejected) = (vec![], 0_u64, 0_u64);
    loop {
        let mut line = zeroize::Zeroizing::new(vec![]);
        let read = lines.next_line(&mut line, MAX_LINE);
        let read = read.map_err(|error| {
            CommandError::new(format_args!("standard input: {error}"), "check the input")
        })?;
        if read.is_none() {
            break;
        }
        number += 1;
        let (code, form) = judge(&scheme, &line);
        rejected += u64::from(code.is_some());
        let title = code.map(problem::title);
        if args.json {
            all.push(json!({
                "line": number, "accepted": code.is_none(), "code": code.map(Code::as_str), "title": title, "form": form,
            }));
        } else {
            print(match code {
                None => format!("line {number}: accepted"),
                Some(code) => format!("line {number}: {}", in_words(code, &form)),
            })?;
        }
    }
    if args.json {
        print_json(&json!({"scheme": args.scheme, "wants": wanted, "lines": all}))?;
    }
    match rejected {
        0 => Ok(()),
        rejected => Err(CommandError::rejected(
            format_args!(
                "{} of {} lines are not identifiers of the scheme",
                HumanCount(rejected),
                HumanCount(number)
            ),
            "correct them where they come from",
        )),
    }
}

/// The scheme, by the register file or by the vault.
fn rules(args: &ExplainArgs) -> Result<Scheme, CommandError> {
    let unknown = || {
        CommandError::new(
            format_args!("there is no scheme `{}`", args.scheme),
            "`cloison register show` lists the schemes; the vault tells those that your sectors take",
        )
    };
    if let Some(path) = &args.register {
        let register = read_register(path)?;
        let id = Id::parse(&args.scheme).ok_or_else(unknown)?;
        let scheme = register.schemes.get(&id).ok_or_else(unknown)?;
        return Scheme::new(scheme.rules().clone()).map_err(CommandError::bug);
    }
    let client = args.client.clone().or_else(usual_client);
    let client = client.ok_or_else(|| {
        CommandError::usage(
            "nothing is named that has the scheme's rules",
            "name the register with --register FILE, or a server with --client FILE",
        )
    })?;
    let client = open_client(&client)?;
    let status = ask_status(&client)?.ok_or_else(|| {
        CommandError::new(
            "the vault does not tell its schemes' rules",
            "name the register with --register, or upgrade the vault",
        )
    })?;
    scheme_of(&status, &args.scheme).ok_or_else(unknown)
}

/// The code of a line that is rejected, and its form.
fn judge(scheme: &Scheme, line: &[u8]) -> (Option<Code>, String) {
    let Ok(text) = std::str::from_utf8(line) else {
        return (Some(Code::IdentifierNotUtf8), String::new());
    };
    let mut canonical = zeroize::Zeroizing::new(vec![]);
    let code = scheme.canonical(text, &mut canonical).err();
    (code, scheme.form(text))
}

fn in_words(code: Code, form: &str) -> String {
    let title = problem::title(code);
    match form {
        "" => format!("!{code}: {title}"),
        form => format!("!{code}: {title}; its form is {form}"),
    }
}

/// Why the vault rejected an identifier with a code.
pub(super) fn explanation(scheme: &Scheme, identifier: &str, code: &str) -> String {
    let SchemeWants(wanted) = wants(scheme.rules());
    let (found, form) = judge(scheme, identifier.as_bytes());
    match found {
        Some(found) if found.as_str() == code => {
            format!("{}; {wanted}; its form is {form}", problem::title(found))
        }
        _ => wanted,
    }
}
