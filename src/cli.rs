//! The command line: reads the arguments, calls one room, prints the result.
//!
//! Every command lives in its own file with its arguments and one function `run`. All of them fail
//! with the one [`CommandError`], which always says what to do next.
//! Results go to standard output, everything else to standard error, so that any command can stand
//! in a pipe.
//!
//! Exit codes: 0 done; 1 refused or failed; 2 the command line itself is wrong; 3 done, but some
//! items were rejected; 4 an auditor's copy and the log contradict each other; 75 a server could
//! not start for a reason that may pass by itself.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::load::{bench, demo};
use crate::terminal::{CommandError, Voice, log, set_voice};

mod assent;
pub mod audit;
pub mod authority;
pub mod backup;
pub mod check;
pub mod client;
mod client_file;
pub mod clock;
mod custodians;
pub mod delivery;
pub mod doctor;
pub mod epoch;
mod help;
pub mod identity;
pub mod init;
mod inputs;
mod list;
mod manual;
pub mod migrate;
pub mod order;
mod passphrases;
pub mod ready;
pub mod register;
pub mod reidentify;
pub mod restore;
pub mod rights;
pub mod secrets;
pub mod serve;
mod signed_file;
pub mod spec;
pub mod statement;
pub mod status;
pub mod store;
mod transfer;
mod waiting;
pub mod witness;

/// A pseudonym of its own for every sector, and a way back only under a signed order.
#[derive(Parser)]
#[command(
    name = "cloison",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_long_help = "`cloison COMMAND --help` has examples. Errors say what to do next; with --json they are JSON, too.\n\
                       Exit codes: 0 done; 1 refused or failed; 2 wrong command line; 3 done, some items rejected;\n            \
                       4 copy and log contradict each other; 75 a server that may start later"
)]
struct Cli {
    /// Print the result as JSON, and errors too; servers log JSON lines
    #[arg(long, global = true, display_order = 899)]
    json: bool,
    /// Say only results, errors and warnings: no progress, no summaries
    #[arg(long, short, global = true, display_order = 900)]
    quiet: bool,
    /// Say on standard error what is done; twice: every step. Never identifiers or secrets
    #[arg(long, short, global = true, action = clap::ArgAction::Count, display_order = 901)]
    verbose: u8,
    #[command(subcommand)]
    command: CloisonCommand,
}

/// In the order in which a newcomer meets them.
#[derive(Subcommand)]
enum CloisonCommand {
    Demo(demo::DemoArgs),
    Bench(Box<bench::BenchArgs>),
    #[command(hide = true)]
    Load(Box<bench::LoadArgs>),
    Init(init::InitArgs),
    Status(status::StatusArgs),
    Ready(ready::ReadyArgs),
    Check(check::CheckArgs),
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    #[command(subcommand)]
    Client(client::ClientCommand),
    #[command(subcommand)]
    Order(order::OrderCommand),
    Reidentify(reidentify::ReidentifyArgs),
    Migrate(migrate::MigrateArgs),
    #[command(subcommand)]
    Delivery(delivery::DeliveryCommand),
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    #[command(subcommand)]
    Register(register::RegisterCommand),
    #[command(subcommand)]
    Rights(rights::RightsCommand),
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    Restore(restore::RestoreArgs),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    Doctor(doctor::DoctorArgs),
    #[command(hide = true)]
    Manual(manual::ManualArgs),
    /// Check an implementation of the specification
    #[command(subcommand)]
    Spec(spec::SpecCommand),
}

/// The command line with its help; `commit` is that which the program was built from.
fn command(commit: Option<&str>) -> clap::Command {
    let command = help::grouped(Cli::command());
    match commit {
        // It lives as long as the process.
        Some(commit) => {
            command.version(&*format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak())
        }
        None => command,
    }
}

/// Reads and runs the command line, and reports an error. `commit` is that which the program was
/// built from. Only `main` calls it.
pub fn main(commit: Option<&'static str>) -> ExitCode {
    let matches = match command(commit).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return not_read(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return not_read(&error),
    };
    set_voice(Voice {
        quiet: cli.quiet,
        verbose: cli.verbose,
        json: cli.json || asks_for_json(&matches),
    });
    if cli.verbose > 0 {
        log::start();
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Whether the command that was named has `--json`.
fn asks_for_json(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>("json").ok().flatten();
    here.copied().unwrap_or(false)
        || matches
            .subcommand()
            .is_some_and(|(_, inner)| asks_for_json(inner))
}

/// Reports a command line that cannot be read, or prints the help that it asks for.
fn not_read(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if !(json && error.use_stderr()) {
        error.exit();
    }
    set_voice(Voice {
        json,
        ..Voice::default()
    });
    let text = error.to_string();
    // The usage and the tips that follow are for people.
    let message = text.split("\n\n").next().unwrap_or(&text);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    CommandError::usage(message, "see --help for what the command takes").report()
}

fn run(command: CloisonCommand) -> Result<(), CommandError> {
    match command {
        CloisonCommand::Demo(args) => demo::run(args),
        CloisonCommand::Bench(args) => bench::run(*args),
        CloisonCommand::Load(args) => bench::run_load(*args),
        CloisonCommand::Init(args) => init::run(args),
        CloisonCommand::Status(args) => status::run(&args),
        CloisonCommand::Ready(args) => ready::run(&args),
        CloisonCommand::Check(args) => check::run(args),
        CloisonCommand::Serve(args) => serve::run(args),
        CloisonCommand::Authority(command) => authority::run(command),
        CloisonCommand::Identity(command) => identity::run(command),
        CloisonCommand::Client(command) => client::run(command),
        CloisonCommand::Order(command) => order::run(command),
        CloisonCommand::Reidentify(args) => reidentify::run(args),
        CloisonCommand::Migrate(args) => migrate::run(args),
        CloisonCommand::Delivery(command) => delivery::run(command),
        CloisonCommand::Epoch(command) => epoch::run(command),
        CloisonCommand::Spec(command) => spec::run(command),
        CloisonCommand::Statement(command) => statement::run(command),
        CloisonCommand::Clock(command) => clock::run(command),
        CloisonCommand::Register(command) => register::run(command),
        CloisonCommand::Rights(command) => rights::run(command),
        CloisonCommand::Secrets(command) => secrets::run(command),
        CloisonCommand::Store(command) => store::run(command),
        CloisonCommand::Backup(command) => backup::run(command),
        CloisonCommand::Restore(args) => restore::run(&args),
        CloisonCommand::Audit(command) => audit::run(command),
        CloisonCommand::Witness(command) => witness::run(command),
        CloisonCommand::Doctor(args) => doctor::run(args),
        CloisonCommand::Manual(args) => manual::run(&args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// What would be ignored is refused.
    #[test]
    fn an_option_that_means_nothing_beside_others_is_refused() {
        let reads = |line: &str| {
            let words = line.split_whitespace();
            Cli::command().try_get_matches_from(words).is_ok()
        };
        let new = "cloison statement new --register r.toml --out s.jws";
        for (act, takes_case) in [
            ("--retire-secret 1", false),
            ("--own-secret health:1", false),
            ("--retire-epoch health:1", false),
            ("--lower-clock-mark vault:2036-11-20T12:00:00Z", false),
            ("--confirm-epoch health:1", false),
            ("--erasures-lodged vault", false),
            ("--restore-without-places vault:x", true),
            ("--resume-from-copy vault:x", true),
        ] {
            assert_eq!(reads(&format!("{new} {act} --case X")), takes_case, "{act}");
            assert_eq!(reads(&format!("{new} {act}")), !takes_case, "{act}");
        }
        for (line, with) in [
            ("cloison register show", " --client c.toml"),
            ("cloison register show --at 2026-11-28", ""),
            ("cloison audit show copy", " --client c.toml"),
            (
                "cloison backup list --repository r --register r.toml",
                " --client c.toml",
            ),
            (
                "cloison backup list --config vault.toml",
                " --client c.toml",
            ),
            (
                "cloison client explain --scheme cnie --register r.toml",
                " --client c.toml",
            ),
        ] {
            assert!(reads(line), "{line}");
            assert!(
                with.is_empty() || !reads(&format!("{line}{with}")),
                "{line}"
            );
        }
        assert!(reads(
            "cloison register show --at 2026-11-28 --client c.toml"
        ));
        assert!(reads("cloison audit show --client c.toml"));
    }

    #[test]
    fn the_command_line_is_well_formed_and_every_command_is_explained() {
        let mut command = help::grouped(Cli::command());
        command.clone().debug_assert();
        fn explained(command: &clap::Command) {
            assert!(
                command.get_about().is_some(),
                "{} has no help",
                command.get_name()
            );
            let example = command
                .get_after_long_help()
                .is_some_and(|help| help.to_string().contains("Example"));
            let needs_one = !command.has_subcommands() && !command.is_hide_set();
            assert!(
                example || !needs_one,
                "{} has no example",
                command.get_name()
            );
            command
                .get_subcommands()
                .filter(|command| command.get_name() != "help")
                .for_each(explained);
            for argument in command
                .get_arguments()
                .filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
            {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
        command.build();
        command
            .get_subcommands()
            .filter(|c| c.get_name() != "help")
            .for_each(explained);
    }
}
