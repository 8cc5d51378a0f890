//! The command line: reads what was asked, calls one room, prints what came of it.
//!
//! Every command lives in its own file with `Args` (or `Command`, where it has subcommands) and one function `run`. All of
//! them fail with the one [`Error`], which always says what to do next. Results go to standard output, everything else
//! to standard error, so that any command can stand in a pipe.
//!
//! Exit codes: 0 done; 1 refused or failed; 2 the command line itself is wrong; 3 done, but some items were rejected; 4 an
//! auditor's copy and the log contradict each other; 75 a server could not start for a reason that may pass by itself.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod assent;
pub mod audit;
pub mod authority;
pub mod bench;
pub mod check;
pub mod client;
pub mod clock;
mod custodians;
pub mod delivery;
pub mod demo;
pub mod doctor;
pub mod epoch;
pub mod init;
mod list;
mod log;
pub mod migrate;
pub mod order;
pub mod register;
pub mod reidentify;
mod remote;
mod replace;
pub mod rights;
pub mod secrets;
pub mod serve;
mod signed_file;
pub mod spec;
pub mod statement;
pub mod witness;

/// A pseudonym of its own for every sector, and a way back only under a signed order.
#[derive(Parser)]
#[command(
    name = "cloison",
    version,
    propagate_version = true,
    max_term_width = 110,
    after_long_help = "See it work:           cloison demo\n\
                       Start a deployment:    cloison init DIR\n\
                       Exit codes: 0 done; 1 refused or failed; 2 wrong command line; 3 done, some items rejected;\n                       \
                       4 copy and log contradict each other; 75 a server that may start later"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// In the order in which somebody new would meet them.
#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Bench(Box<bench::Args>),
    #[command(hide = true)]
    Load(Box<bench::LoadArgs>),
    Init(init::Args),
    Check(check::Args),
    Serve(serve::Args),
    #[command(subcommand)]
    Authority(authority::Command),
    #[command(subcommand)]
    Client(client::Command),
    #[command(subcommand)]
    Order(order::Command),
    Reidentify(reidentify::Args),
    Migrate(migrate::Args),
    #[command(subcommand)]
    Delivery(delivery::Command),
    #[command(subcommand)]
    Epoch(epoch::Command),
    #[command(subcommand)]
    Statement(statement::Command),
    #[command(subcommand)]
    Clock(clock::Command),
    #[command(subcommand)]
    Register(register::Command),
    #[command(subcommand)]
    Rights(rights::Command),
    #[command(subcommand)]
    Secrets(secrets::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Witness(witness::Command),
    Doctor(doctor::Args),
    /// Check an implementation of the specification
    #[command(subcommand)]
    Spec(spec::Command),
}

/// Reads the command line, runs it and says what went wrong. Called by `main` and by nothing else.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(*args),
        Command::Load(args) => bench::run_load(*args),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Authority(command) => authority::run(command),
        Command::Client(command) => client::run(command),
        Command::Order(command) => order::run(command),
        Command::Reidentify(args) => reidentify::run(args),
        Command::Migrate(args) => migrate::run(args),
        Command::Delivery(command) => delivery::run(command),
        Command::Epoch(command) => epoch::run(command),
        Command::Spec(command) => spec::run(command),
        Command::Statement(command) => statement::run(command),
        Command::Clock(command) => clock::run(command),
        Command::Register(command) => register::run(command),
        Command::Rights(command) => rights::run(command),
        Command::Secrets(command) => secrets::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Witness(command) => witness::run(command),
        Command::Doctor(args) => doctor::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: String,
    exit: u8,
}

impl Error {
    /// A failure (exit code 1): what is wrong, without an identifier or a secret, and what to do next.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Self { message: message.to_string(), hint: hint.to_string(), exit: 1 }
    }

    /// The same for a wrong command line (exit code 2).
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self { exit: 2, ..Self::new(message, hint) }
    }

    /// The work is done, but some items were rejected (exit code 3).
    pub fn rejected(message: impl Display, hint: impl Display) -> Self {
        Self { exit: 3, ..Self::new(message, hint) }
    }

    /// Two copies of one log contradict each other (exit code 4): scripts must not take it for a failure like any other.
    pub fn contradiction(message: impl Display, hint: impl Display) -> Self {
        Self { exit: 4, ..Self::new(message, hint) }
    }

    /// A server could not start for a reason that may pass by itself (exit code 75, `EX_TEMPFAIL`): the units start it again.
    pub fn temporary(message: impl Display, hint: impl Display) -> Self {
        Self { exit: 75, ..Self::new(message, hint) }
    }

    /// Whoever read our output has gone (`… | head`): nothing to say, and nobody to say it to.
    fn unheard() -> Self {
        Self { message: String::new(), hint: String::new(), exit: 1 }
    }

    /// A file that could not be read or written, named, with a hint that fits the reason.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "run the command as the user who owns it, or choose another path",
            io::ErrorKind::AlreadyExists => "nothing is overwritten: choose another path, or move it away first",
            io::ErrorKind::StorageFull => "make room on the disk and try again",
            _ => "check the path and the disk",
        };
        Self::new(format_args!("{}: {error}", path.display()), hint)
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            // Standard error may be closed, too; then the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {}\n hint: {}", self.message, self.hint);
        }
        ExitCode::from(self.exit)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)
    }
}

/// Reads a text file of at most 2 MiB; a byte order mark is no part of it.
///
/// # Errors
/// When it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &std::path::Path) -> Result<String, Error> {
    use std::io::Read as _;
    const MOST: u64 = 2 << 20;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Error::file(path, &error))?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| Error::file(path, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(Error::new(format_args!("{}: is longer than 2 MiB", path.display()), "check the path"));
    }
    crate::lines::text(bytes)
        .map_err(|fault| Error::new(format_args!("{}: {fault}", path.display()), "save it as UTF-8, or check the path"))
}

/// Writes a result to standard output, with a line end. Commands use this and not `println!`, which panics when the
/// reader has gone.
///
/// # Errors
/// When standard output takes no more.
pub fn print(text: impl Display) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| output_error(&error))
}

/// Writes a result to standard output as indented JSON.
///
/// # Errors
/// When standard output takes no more.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        Error::new(format_args!("the result is no JSON: {error}"), "report this as a fault of cloison")
    })?;
    print(text)
}

/// What a failed write to standard output means.
pub fn output_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::unheard(),
        _ => Error::new(format_args!("standard output: {error}"), "check where the output goes"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_is_explained() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        fn explained(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            let example = command.get_after_long_help().is_some_and(|help| help.to_string().contains("Example"));
            let needs_one = !command.has_subcommands() && !command.is_hide_set();
            assert!(example || !needs_one, "{} has no example", command.get_name());
            command.get_subcommands().filter(|command| command.get_name() != "help").for_each(explained);
            for argument in command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version")) {
                assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
            }
        }
        command.build();
        command.get_subcommands().filter(|c| c.get_name() != "help").for_each(explained);
    }
}
