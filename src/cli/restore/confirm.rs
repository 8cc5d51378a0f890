//! `cloison restore state` and `cloison restore confirm`: what holds at a side since it was
//! restored without places, and the statements that end it.

use std::path::PathBuf;

use super::next::suspend_again;
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::client_file::ClientFile;
use crate::cli::statement;
use crate::entity::LostSuspension;
use crate::losses::{ClosedEpoch, ClosedSector, ConfirmRestore, RestoreLossView, RestoreState};
use crate::terminal::{CommandError, print, print_json, voice};

/// The arguments of `restore state`.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison restore state --client clients/operator.toml")]
pub(super) struct RestoreStateArgs {
    #[command(flatten)]
    client: ClientFile,
}

/// The arguments of `restore confirm`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison statement new --register register.toml --confirm-epoch health:3 --out statement.jws\n  \
    cloison restore confirm --statement statement.jws --client clients/operator.toml\n  \
    cloison statement new --register register.toml --erasures-lodged vault --out statement.jws\n\n\
    Two operators sign each statement (`cloison statement sign`) after the restore. Confirm an epoch only where neither others' \
    copies of the log nor the clients know of a later one; where they do, advance the sector first.")]
pub(super) struct RestoreConfirmArgs {
    /// The statement that two operators signed
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    #[command(flatten)]
    assent: Assent,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs `restore state`.
///
/// # Errors
/// When the server does not answer or refuses.
pub(super) fn state(args: &RestoreStateArgs) -> Result<(), CommandError> {
    show(&args.client.open()?.get_json("/v1/restore")?)
}

/// Runs `restore confirm`.
///
/// # Errors
/// When the server does not answer or refuses.
pub(super) fn run(args: &RestoreConfirmArgs) -> Result<(), CommandError> {
    let statement = statement::bring(Some(&args.statement))?.unwrap_or_default();
    args.assent.obtain(&Irreversible {
        changes: "What the statement confirms is open again.".to_owned(),
        lost: "What is answered or released then stays so, even if the lost time had closed it.",
    })?;
    let asked = ConfirmRestore { statement };
    show(&args.client.open()?.post_json("/v1/restore", &asked)?)
}

fn show(state: &RestoreState) -> Result<(), CommandError> {
    if voice().json {
        return print_json(state);
    }
    let Some(loss) = &state.loss else {
        return print("This side was never restored without places.");
    };
    print(words(loss))
}

/// What holds, and what people have to do.
fn words(loss: &RestoreLossView) -> String {
    let from = loss.backup.as_deref().unwrap_or("a copy of its store");
    let mut lines = vec![
        format!("Restored without places at {}, from {from}.", loss.restored),
        "  orders       issued before are over: their authority signs new ones".to_owned(),
    ];
    let closed = |one: &ClosedSector| {
        format!(
            "  closed       sector {}, until its epoch is confirmed: {} or a later one",
            one.sector, one.least
        )
    };
    lines.extend(loss.closed.iter().map(closed));
    lines.push(if loss.erasures_missing {
        "  releases     wait until lost erasures were lodged again".to_owned()
    } else {
        "  releases     go on".to_owned()
    });
    lines.extend(loss.quotas_until.map(|until| {
        format!("  quotas       count as used: no client gets a pseudonym before {until}, and nothing lifts that")
    }));
    let to_do = to_do(loss);
    if !to_do.is_empty() {
        lines.push("Still to do by people; none of it takes effect by itself:".to_owned());
        lines.extend(to_do);
    }
    lines.join("\n")
}

fn to_do(loss: &RestoreLossView) -> Vec<String> {
    let suspend = |one: &LostSuspension| {
        format!(
            "  suspend      {} again: the other side's log has it suspended since {} ({})",
            one.entry,
            one.time,
            suspend_again(&one.entry, "FILE")
        )
    };
    let mut lines: Vec<_> = loss.suspend.iter().map(suspend).collect();
    if !loss.erasures_missing {
        return lines;
    }
    if loss.more_suspended {
        lines.push(
            "  suspend      more than these, which are all that the restore kept: `cloison restore report REPOSITORY --config FILE \
             --other-log LOG` lists every one"
                .to_owned(),
        );
    }
    if loss.other_side_unknown {
        lines.push(
            "  suspend      whom you suspended after the backup: the restore was not shown the other side's log, and nothing here \
             knows of them"
                .to_owned(),
        );
    } else {
        lines.push(
            "  suspend      whom you suspended at this side alone: the other side's log does not know of them".to_owned(),
        );
    }
    lines.push("  register     put the newest one there, and reload it".to_owned());
    let retire = |one: &ClosedEpoch| {
        format!(
            "  retire       epoch {} of {} again, if its sector retired it after the backup: its mappings are back",
            one.epoch, one.sector
        )
    };
    lines.extend(loss.retire.iter().map(retire));
    lines.push(
        "  erasures     lodge them again (`cloison restore report REPOSITORY --config FILE --other-log LOG` lists those that the \
         other side knows), then say so, where SIDE is vault or node/AUTHORITY: `cloison statement new --register register.toml \
         --erasures-lodged SIDE --out erasures.jws`"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::tests::faults_of_commands;

    #[test]
    fn what_is_to_do_is_whole_and_names_commands_of_this_version() {
        let mut loss = RestoreLossView {
            backup: None,
            restored: "2026-11-28T09:00:00Z".parse().unwrap(),
            closed: vec![],
            erasures_missing: true,
            quotas_until: None,
            suspend: vec![LostSuspension {
                time: "2026-11-28T08:30:00Z".to_owned(),
                act: "suspend".to_owned(),
                entry: "cnss-health".to_owned(),
            }],
            more_suspended: false,
            other_side_unknown: false,
            retire: vec![],
        };
        let said = to_do(&loss).join("\n");
        assert!(
            said.contains("`cloison client suspend cnss-health"),
            "{said}"
        );
        assert!(!said.contains("more than these"), "{said}");
        loss.more_suspended = true;
        let said = to_do(&loss).join("\n");
        assert!(said.contains("more than these"), "{said}");
        assert_eq!(faults_of_commands(&said), [""; 0]);
    }
}
