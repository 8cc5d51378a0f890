//! `cloison epoch`: operators list and advance the epochs of a sector.

use std::path::PathBuf;

use super::assent::{Assent, Irreversible};
use super::statement;
use crate::cli::client_file::ClientFile;
use crate::cli::waiting::waiting_for_places;
use crate::client::epochs::SectorEpochs;
use crate::terminal::{CommandError, print, print_json};

/// See or advance the epochs of a sector
#[derive(clap::Subcommand)]
pub enum EpochCommand {
    /// List a sector's epochs
    #[command(
        after_long_help = "Example:\n  cloison epoch list --sector health --client clients/operator.toml"
    )]
    List(SectorEpochArgs),
    /// Begin a new epoch: from now on the sector gets new pseudonyms
    #[command(after_long_help = "Examples:\n  \
    cloison epoch advance --sector health --from 1 --client clients/operator.toml\n  \
    cloison epoch advance --sector health --from 2 --end-overlap 1 --client clients/operator.toml\n  \
    cloison epoch advance --sector health.chu-rabat.study-42 --from 1 --own-secret \\\n    \
    --statement statement.jws --client clients/operator.toml\n\n\
        This cannot be undone. --from names the epoch at which the sector stands (`cloison epoch list`), so that sending the command \
        twice advances once. In a sector that stores no mappings, --own-secret needs a statement of two operators (`cloison \
        statement new`). During the overlap that the register declares, clients can ask for the previous epoch's \
        pseudonyms too (`cloison client tokenize --previous`) and move their tables. Mappings of all epochs still \
        re-identify.")]
    Advance(EpochAdvanceArgs),
}

/// Which sector, and how to show it.
#[derive(clap::Args)]
pub struct SectorEpochArgs {
    /// The sector
    #[arg(long)]
    sector: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// How to advance.
#[derive(clap::Args)]
pub struct EpochAdvanceArgs {
    #[command(flatten)]
    which: SectorEpochArgs,
    /// The epoch at which the sector stands now
    #[arg(long, value_name = "EPOCH")]
    from: u32,
    /// End the overlap of this epoch, whose pseudonyms clients still get beside the current ones
    #[arg(long, value_name = "EPOCH")]
    end_overlap: Option<u32>,
    /// Derive the epoch from a secret of its own, so that the epoch can be destroyed by destroying
    /// the secret
    #[arg(long)]
    own_secret: bool,
    /// The statement that two operators signed, for --own-secret in a sector that stores no
    /// mappings
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
}

/// Runs the command.
///
/// # Errors
/// When the vault cannot be reached or refuses.
pub fn run(command: EpochCommand) -> Result<(), CommandError> {
    let (which, epochs) = match command {
        EpochCommand::List(which) => {
            let epochs = which.client.open()?.epochs(&which.sector)?;
            (which, epochs)
        }
        EpochCommand::Advance(args) => {
            let epochs = args.run()?;
            (args.which, epochs)
        }
    };
    if which.json {
        print_json(&epochs)
    } else {
        print(table(&epochs))
    }
}

impl EpochAdvanceArgs {
    fn run(&self) -> Result<SectorEpochs, CommandError> {
        let statement = statement::bring(self.statement.as_deref())?;
        let (from, end_overlap) = (self.from, self.end_overlap);
        let overlap = end_overlap
            .map(|epoch| format!(" Epoch {epoch} is no longer answered beside it."))
            .unwrap_or_default();
        let changes = format!(
            "Sector {} leaves epoch {from}: all its pseudonyms change.{overlap}",
            self.which.sector
        );
        let lost = "An epoch that was left does not become current again.";
        self.assent.obtain(&Irreversible { changes, lost })?;
        let how = crate::epoch::AdvanceEpochRequest {
            from,
            end_overlap,
            own_secret: self.own_secret,
            statement,
        };
        Ok(self
            .which
            .client
            .open()?
            .advance_epoch(&self.which.sector, &how)?)
    }
}

fn table(epochs: &SectorEpochs) -> String {
    let mut table = format!(
        "{:<6} {:<10} {:<21} {:<21} SECRET",
        "EPOCH", "STATE", "OPENED", "OVERLAP UNTIL"
    );
    for epoch in &epochs.epochs {
        let own = if epoch.own_secret { " (own)" } else { "" };
        table += &format!(
            "\n{:<6} {:<10} {:<21} {:<21} {}{own}",
            epoch.epoch,
            epoch.state,
            epoch.opened_at,
            epoch.overlap_until.as_deref().unwrap_or("-"),
            epoch.secret_version
        );
    }
    table + &waiting_for_places(&epochs.waiting)
}
