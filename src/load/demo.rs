//! `cloison demo`: shows the main use in one command, with real processes, TLS and files on
//! loopback.

mod cards;
mod steps;

use std::path::PathBuf;

use self::steps::Demo;
use crate::terminal::{CommandError, print, print_json};

/// Show cloison at work: a vault, an authority node, three sectors and one order
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison demo\n  \
    cloison demo --persons 1000000\n  \
    cloison demo --split               # the identity secret with a process of its own\n  \
    cloison demo --keep /tmp/demo      # then go on by hand with the commands that it prints\n\n\
    Starts a vault and an authority node (with --split an identity source, too) as processes of their own, with fresh keys and certificates in a temporary folder, \
    and takes them down again at the end. All persons are made up.")]
pub struct DemoArgs {
    /// How many persons to make up
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=cards::MOST))]
    persons: u64,
    /// Give the identity secret to an identity source, a third process under an administrator of
    /// its own
    #[arg(long)]
    split: bool,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Keep everything in this folder, which must be absent or empty, and print how to go on by
    /// hand
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The results.
#[derive(Debug, serde::Serialize)]
struct DemoOutcome {
    /// How many persons were made up.
    persons: u64,
    /// In how many sectors each of them got a pseudonym.
    sectors: usize,
    /// How many pseudonyms that made.
    tokens: u64,
    /// How long the making took: requests sent until the last answer, all durable.
    seconds: f64,
    tokens_per_second: f64,
    /// The same batches again gave the same pseudonyms, every one of them.
    repeat_identical: bool,
    /// How many pseudonyms occur in more than one sector.
    cross_sector_collisions: u64,
    /// Under the order, the pseudonym led back to the person.
    reidentified: bool,
    /// The codes with which the attempts that must fail were refused.
    refused: Vec<String>,
    epoch_before: u32,
    epoch_after: u32,
    /// After the epoch was advanced, a pseudonym of the old one still led back to the person.
    old_epoch_resolved: bool,
}

/// Runs the command.
///
/// # Errors
/// When a step fails or its result is not what it must be.
pub fn run(args: DemoArgs) -> Result<(), CommandError> {
    let kept = args.keep.is_some();
    let demo = Demo::set_up(args.persons, args.keep, args.split, args.json)?;
    let outcome = demo.play()?;
    let by_hand = demo.by_hand();
    drop(demo);
    if args.json {
        return print_json(&outcome);
    }
    print(format_args!(
        "\n{} pseudonyms in {:.2} s: {} a second, each stored and logged on disk before it was answered.",
        outcome.tokens, outcome.seconds, outcome.tokens_per_second as u64
    ))?;
    if kept {
        print(by_hand)
    } else {
        print(
            "What to look at next:\n  \
             cloison demo --keep DIR     the same, and the folder to look into: register, orders, logs\n  \
             cloison init DIR            a deployment of your own\n  \
             docs/spec.md                how a pseudonym is made, so that you can make it too\n  \
             docs/threat-model.md        what each stolen part is worth",
        )
    }
}
