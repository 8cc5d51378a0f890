//! `cloison manual`: man pages and completions, for packages.

use std::fs;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use crate::terminal::{CommandError, print_either};

/// Write man pages and shell completions into a new folder
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison manual ./manual\n\n\
    `ops/package` puts them into the Debian package: man1/*.1, and completions for bash, zsh and fish.")]
pub struct ManualArgs {
    /// The folder, which must not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the folder exists or cannot be written.
pub fn run(args: &ManualArgs, command: Command) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::file(&args.dir, &error);
    fs::create_dir(&args.dir).map_err(failed)?;
    let (pages, completions) = (args.dir.join("man1"), args.dir.join("completions"));
    fs::create_dir(&pages).map_err(failed)?;
    fs::create_dir(&completions).map_err(failed)?;
    clap_mangen::generate_to(command.clone(), &pages).map_err(failed)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = command.clone();
        clap_complete::generate_to(shell, &mut command, "cloison", &completions).map_err(failed)?;
    }
    print_either(
        args.dir.display(),
        || serde_json::json!({"folder": args.dir}),
    )
}
