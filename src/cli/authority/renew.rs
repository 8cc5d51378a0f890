//! `cloison authority renew`: stored segments are sealed to the keys that the register lists now.

use indicatif::HumanCount;
use serde::Serialize;

use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::ClientFile;
use crate::client::Client;
use crate::renewal::{DropReport, DropRequest, RenewalRequest, RenewalStep, RenewalTask};
use crate::terminal::{CommandError, print, print_json, progress};

/// Seal stored segments to the keys that the register lists now, and prove that they open
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison authority renew --client clients/officer.toml   # to the new keys\n  \
    cloison authority renew --drop-old --client clients/officer.toml   # at the node; or at the vault:\n  \
    cloison authority renew --drop-old --client clients/operator.toml\n\n\
    To change from one key to another, also of the other suite:\n  \
    1. make the new one: `cloison authority keygen` or `cloison secrets new authority`\n  \
    2. list it in the register beside the old one (a second [[authority.key]]), have that signed, give it to both sides\n  \
    3. name it in node.toml ([[key]]) beside the old one, restart both, unseal both keys\n  \
    4. `cloison authority renew`: every stored segment is sealed to the new key too, read back and proved to open with it\n  \
    5. take the old key out of the register and of node.toml, restart both, `cloison authority renew --drop-old`\n\n\
    The same adds a second authority to a sector (4 at the first one's node, then at the second's) and removes one (5). Mappings \
    are not touched and no pseudonym changes. It may be stopped and repeated at any time: what was done stays done. \
    Any custodian or officer may run it; only the signed register decides to which keys segments are sealed.")]
pub struct RenewArgs {
    /// Take keys that the register no longer lists out of stored segments, where a listed key was
    /// proved
    #[arg(long)]
    drop_old: bool,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// What came of all pages.
#[derive(Debug, Default, Serialize)]
struct RenewalTotals {
    segments: u64,
    added: u64,
    proved: u64,
    beyond: u64,
    sealed: u64,
    discarded: u64,
    unprovable: u64,
    refused: u64,
}

/// The same of dropping.
#[derive(Debug, Default, Serialize)]
struct DropTotals {
    segments: u64,
    dropped: u64,
    unproved: u64,
    refused: u64,
}

/// Runs the command.
///
/// # Errors
/// When the server refuses, or segments are left that need attention.
pub fn run(args: &RenewArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    if args.drop_old {
        drop_old(args, &client)
    } else {
        renew(args, &client)
    }
}

fn renew(args: &RenewArgs, client: &Client) -> Result<(), CommandError> {
    let mut all = RenewalTotals::default();
    for (task, verb) in [
        (RenewalTask::Rewrap, "sealed"),
        (RenewalTask::Prove, "proved"),
    ] {
        let mut request = RenewalRequest { task, after: None };
        let mut examined = 0;
        pages(verb, |bar| {
            let step: RenewalStep = client
                .post_json("/v1/renewal", &request)
                .map_err(|error| stopped(error.into()))?;
            examined += step.examined;
            match task {
                RenewalTask::Rewrap => all.added += step.recipients,
                RenewalTask::Prove => all.proved += step.recipients,
            }
            all.beyond += step.beyond;
            all.sealed += step.sealed;
            all.discarded += step.discarded;
            all.unprovable += step.unprovable;
            // Both passes refuse the same segments, so they are counted once.
            all.refused += if task == RenewalTask::Rewrap {
                step.refused
            } else {
                0
            };
            bar(step.total, examined);
            request.after = step.next;
            Ok(request.after.is_some())
        })?;
        all.segments = examined;
    }
    if args.json {
        print_json(&all)?;
    } else {
        print(format_args!(
            "{} segments: {} recipients added, {} proved to open.",
            HumanCount(all.segments),
            HumanCount(all.added),
            HumanCount(all.proved)
        ))?;
    }
    all.left()
}

impl RenewalTotals {
    /// Reports what needs attention, the worst first.
    fn left(&self) -> Result<(), CommandError> {
        let left = |count: u64, what: &str, hint: &str| match count {
            0 => Ok(()),
            _ => Err(CommandError::new(
                format_args!("{} {what}", HumanCount(count)),
                hint,
            )),
        };
        left(
            self.refused,
            "segments are not signed by a key that both sides know",
            "list earlier keys of the vault as [[segment-key]] in vault.toml and node.toml; if there are none, someone has \
             changed the store",
        )?;
        left(
            self.sealed,
            "segments open with none of the keys that the node holds",
            "unseal the authority's other keys and run this again",
        )?;
        left(
            self.discarded,
            "recipients did not open and were taken out",
            "run this again, also at the node of the other authority: they are made anew",
        )?;
        left(
            self.beyond,
            "segments lack a key and are sealed to none of this authority",
            "run this at the node of an authority that can open them, then here again",
        )?;
        left(
            self.unprovable,
            "segments of an earlier version cannot be proved, and keep every recipient",
            "keep the old key: their mappings open with it, and `--drop-old` leaves it in them",
        )
    }
}

fn drop_old(args: &RenewArgs, client: &Client) -> Result<(), CommandError> {
    args.assent.obtain(&Irreversible {
        changes: "Keys that the register no longer lists go out of all stored segments.".to_owned(),
        lost: "Mappings of those segments do not open with these keys any more.",
    })?;
    let mut all = DropTotals::default();
    let mut request = DropRequest::default();
    pages("looked at", |bar| {
        let page: DropReport = client
            .post_json("/v1/segments/drop", &request)
            .map_err(|error| stopped(error.into()))?;
        all.segments += page.examined;
        all.dropped += page.recipients;
        all.unproved += page.unproved;
        all.refused += page.refused;
        bar(page.total, all.segments);
        request.after = page.next;
        Ok(request.after.is_some())
    })?;
    if args.json {
        print_json(&all)?;
    } else {
        print(format_args!(
            "{} segments: {} recipients dropped that the register no longer lists.",
            HumanCount(all.segments),
            HumanCount(all.dropped)
        ))?;
    }
    if all.unproved > 0 {
        let what = format!(
            "{} segments keep an old key: no key that the register lists was proved",
            all.unproved
        );
        return Err(CommandError::new(
            what,
            "run `cloison authority renew` at the node of an authority that the register lists",
        ));
    }
    match all.refused {
        0 => Ok(()),
        refused => Err(CommandError::new(
            format_args!("{refused} segments are not signed by this vault"),
            "list its earlier keys as [[segment-key]] in vault.toml; if there are none, someone has changed the store",
        )),
    }
}

/// Goes through pages until there are no more, with a bar on standard error. `page` tells the bar
/// of the total (when it is known) and of what was looked at, and says whether another page
/// follows.
fn pages(
    verb: &str,
    mut page: impl FnMut(&dyn Fn(Option<u64>, u64)) -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let bar = progress(Some(0));
    let tell = |total: Option<u64>, examined: u64| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(examined);
        bar.set_message(format!("{} segments {verb}", HumanCount(examined)));
    };
    while page(&tell)? {}
    bar.finish_and_clear();
    Ok(())
}

/// The failure, with a hint that running the command again is safe.
fn stopped(error: CommandError) -> CommandError {
    let hint = format!(
        "{}; then run this again: what was done stays done",
        error.hint()
    );
    CommandError::new(error.message(), hint)
}
