//! `cloison epoch`: the generations of a sector's pseudonyms, seen and advanced by operations.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::assent::{Assent, Irreversible};
use super::remote::{self, ClientFile};
use super::{Error, print, print_json, statement};
use crate::client::{self, Client};
use crate::epoch::Advance as Call;

/// See or advance the epochs of a sector
#[derive(clap::Subcommand)]
pub enum Command {
    /// List a sector's epochs
    #[command(after_long_help = "Example:\n  cloison epoch list --sector health --client clients/operator.toml")]
    List(Which),
    /// Begin a new epoch: from now on the sector gets new pseudonyms
    #[command(after_long_help = "Examples:\n  \
        cloison epoch advance --sector health --from 1 --client clients/operator.toml\n  \
        cloison epoch advance --sector health --from 2 --end-overlap 1 --client clients/operator.toml\n  \
        cloison epoch advance --sector health.chu-rabat.study-42 --from 1 --own-secret --statement statement.jws \\\n    \
        --client clients/operator.toml\n\n\
        There is no way back. --from says where the sector stands (`cloison epoch list`), so that the command does nothing when \
        it is sent twice. With --own-secret a sector that stores no mappings takes a statement of two operators (`cloison \
        statement new`). During the overlap that the register declares, clients can ask for the previous epoch's \
        pseudonyms too (`cloison client tokenize --previous`) and move their tables. Mappings of all epochs still \
        re-identify.")]
    Advance(Advance),
}

/// Which sector, and how to show it.
#[derive(clap::Args)]
pub struct Which {
    /// The sector
    #[arg(long)]
    sector: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// The same, to advance.
#[derive(clap::Args)]
pub struct Advance {
    #[command(flatten)]
    which: Which,
    /// The epoch at which the sector stands now
    #[arg(long, value_name = "EPOCH")]
    from: u32,
    /// End the overlap of this epoch, which clients still get beside the present one
    #[arg(long, value_name = "EPOCH")]
    end_overlap: Option<u32>,
    /// Derive the epoch from a secret of its own, so that the epoch can be destroyed by destroying the secret
    #[arg(long)]
    own_secret: bool,
    /// The statement that two operators signed, for --own-secret in a sector that stores no mappings
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
}

/// A sector's epochs, as the vault lists them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Epochs {
    pub(super) sector: String,
    pub(super) epochs: Vec<Epoch>,
}

/// One of them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Epoch {
    pub(super) epoch: u32,
    pub(super) state: String,
    opened_at: String,
    overlap_until: Option<String>,
    secret_version: u32,
    own_secret: bool,
}

/// Runs the command.
///
/// # Errors
/// When the vault cannot be reached or refuses.
pub fn run(command: Command) -> Result<(), Error> {
    let (which, epochs) = match command {
        Command::List(which) => {
            let epochs = list(&which.client.open()?, &which.sector)?;
            (which, epochs)
        }
        Command::Advance(args) => {
            let epochs = args.run()?;
            (args.which, epochs)
        }
    };
    if which.json { print_json(&epochs) } else { print(epochs.table()) }
}

/// Asks the vault for a sector's epochs.
pub(super) fn list(client: &Client, sector: &str) -> Result<Epochs, Error> {
    client.get_json(&path(sector)).map_err(|error| remote::failed(&error))
}

/// Has the vault begin a new epoch.
pub(super) fn advance(client: &Client, sector: &str, how: &Call) -> Result<Epochs, Error> {
    client.post_json(&path(sector), how).map_err(|error| remote::failed(&error))
}

impl Advance {
    fn run(&self) -> Result<Epochs, Error> {
        let statement = statement::bring(self.statement.as_deref())?;
        let (from, end_overlap) = (self.from, self.end_overlap);
        let overlap =
            end_overlap.map(|epoch| format!(" Epoch {epoch} is no longer answered beside it.")).unwrap_or_default();
        let changes = format!("Sector {} leaves epoch {from}: all its pseudonyms change.{overlap}", self.which.sector);
        let lost = "An epoch that was left does not become the present one again.";
        self.assent.obtain(&Irreversible { changes, lost })?;
        let how = Call { from, end_overlap, own_secret: self.own_secret, statement };
        advance(&self.which.client.open()?, &self.which.sector, &how)
    }
}

fn path(sector: &str) -> String {
    client::path(&["v1", "sectors", sector, "epochs"])
}

impl Epochs {
    /// The epoch in which new answers are given.
    pub(super) fn current(&self) -> u32 {
        self.epochs.iter().map(|epoch| epoch.epoch).max().unwrap_or_default()
    }

    fn table(&self) -> String {
        let mut table = format!("{:<6} {:<10} {:<21} {:<21} SECRET", "EPOCH", "STATE", "OPENED", "OVERLAP UNTIL");
        for epoch in &self.epochs {
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
        table
    }
}
