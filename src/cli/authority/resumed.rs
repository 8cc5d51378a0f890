//! `cloison authority acknowledge-resume`: the vault was restored, and its log says what was lost.

use crate::cli::client_file::ClientFile;
use crate::resumption::{ResumeAcknowledgement, ResumedLogs};
use crate::terminal::{CommandError, print, print_json};

/// The arguments of `authority acknowledge-resume`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison authority acknowledge-resume --client clients/officer.toml   # what was lost\n  \
    cloison authority acknowledge-resume --client clients/officer.toml --entry DIGEST   \\\n    \
    # acknowledge it\n\n\
    Any officer and any custodian may; it is logged with their name. Ask the vault's administration first why it was restored, \
    and tell the commission: counts against orders and revocations that only the vault had are gone (docs/operations.md). \
    What the node remembers of the lost entries is kept: do not delete it.")]
pub struct AcknowledgeResumeArgs {
    /// The digest of the entry to acknowledge, as it is shown without this option
    #[arg(long, value_name = "DIGEST")]
    entry: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFile,
}

/// Runs the command.
///
/// # Errors
/// When the node or the vault does not answer, or shows no such entry.
pub(super) fn run(args: &AcknowledgeResumeArgs) -> Result<(), CommandError> {
    let client = args.client.open()?;
    let mut resumed: ResumedLogs = client.get_json("/v1/resumes")?;
    if let Some(entry) = &args.entry {
        if resumed.resumed.iter().all(|log| log.entry != *entry) {
            let hint =
                "copy it from what `cloison authority acknowledge-resume` lists without --entry";
            return Err(CommandError::new(
                "no log of the vault goes on with that entry",
                hint,
            ));
        }
        resumed = client.post_json(
            "/v1/resumes",
            &ResumeAcknowledgement {
                entry: entry.clone(),
            },
        )?;
    }
    if args.json {
        return print_json(&resumed);
    }
    if resumed.resumed.is_empty() {
        return print("No log of the vault has fewer entries than this node has seen.");
    }
    let mut text = String::new();
    for log in &resumed.resumed {
        let state = if log.acknowledged {
            "acknowledged"
        } else {
            "NOT ACKNOWLEDGED: nothing is opened"
        };
        text += &format!(
            "{}: {} of {} entries are left; it goes on as {} since {}\n  entry  {}\n  {state}\n",
            log.lost_log, log.kept_entries, log.lost_entries, log.log, log.time, log.entry
        );
    }
    print(text.trim_end())
}
