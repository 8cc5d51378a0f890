//! `cloison bench --split`: the split form beside the embedded one, their rounds in turn, so that
//! what else the machine does meets both alike.

use super::deployment;
use super::outcome::BenchOutcome;
use super::vault::RunningVault;
use super::{BenchArgs, LocalDeployment};
use crate::terminal::{CommandError, print, print_json};

/// The results of both forms.
#[derive(Debug, serde::Serialize)]
struct SplitOutcome {
    /// The identity secret lies with an identity source: figures of vault and source together.
    split: BenchOutcome,
    /// The vault has it.
    embedded: BenchOutcome,
}

/// Runs the bench.
///
/// # Errors
/// When a process cannot be started or does not answer everything.
pub(super) fn run(local: &LocalDeployment, args: &BenchArgs) -> Result<(), CommandError> {
    local.make_folder("logs")?;
    let start = |name: &str, is_split: bool| {
        let folder = local.folder().join(name);
        let health = deployment::make(&folder, is_split)?;
        RunningVault::start(local, &folder, health)
    };
    let forms = [start("split", true)?, start("embedded", false)?];
    forms.iter().try_for_each(|form| form.prepare(args))?;
    let mut rounds = [vec![], vec![]];
    for round in 0..args.rounds {
        for (form, rounds) in forms.iter().zip(&mut rounds) {
            rounds.push(form.measure(args, round)?);
        }
    }
    let [split, embedded] = rounds.map(BenchOutcome::medians);
    if args.json {
        return print_json(&SplitOutcome { split, embedded });
    }
    print(format_args!(
        "{}\nthe identity secret lies with an identity source:\n{}\nthe vault has it:\n{}",
        split.title(),
        split.figures(args),
        embedded.figures(args)
    ))
}
