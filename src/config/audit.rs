//! `[audit]`: who watches over the log. The section is optional; the log is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use super::value::{Count, Place};
use super::witness::LogName;
use super::{ClientConfig, client, optional_section};
use crate::register::read::{Faults, TomlTable};

/// `[audit]` of a vault or a node.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A file on another disk than the store's that always holds the last checkpoint.
    pub second: Option<PathBuf>,
    /// Folder in which the last cosigned checkpoints of the other side's log are remembered; beside
    /// the store unless named.
    pub cosigned: Option<PathBuf>,
    /// How many of the witnesses must have cosigned recently. Default 0.
    pub required: usize,
    /// How long ago that may be. Default 60 seconds.
    pub within: Duration,
    /// Those who are asked to cosign.
    pub witnesses: Vec<WatcherConfig>,
}

/// `[[audit.witness]]`
#[derive(Debug, Clone)]
pub struct WatcherConfig {
    /// The name in its cosignatures.
    pub name: String,
    /// Its key.
    pub public: VerifyingKey,
    /// How it is reached.
    pub client: ClientConfig,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            second: None,
            cosigned: None,
            required: 0,
            within: Duration::from_secs(60),
            witnesses: vec![],
        }
    }
}

/// Reads the section. Without it, every field has its default.
pub(super) fn read(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<LogConfig> {
    let log = optional_section(root, "audit", faults, |table, faults| {
        log(table, folder, faults)
    })?;
    Some(log.unwrap_or_default())
}

fn log(table: &mut TomlTable<'_, '_>, folder: &Path, faults: &mut Faults) -> Option<LogConfig> {
    let second = table.optional::<Place>("second", faults);
    let cosigned = table.optional::<Place>("cosigned", faults);
    let required = table.optional::<Count>("required", faults);
    let within = table.or("within-seconds", Count(60), faults);
    let mut witnesses: Vec<WatcherConfig> = vec![];
    for mut entry in table.tables("witness", "name", faults) {
        let name = entry.required::<LogName>("name", faults);
        let public = entry.required::<VerifyingKey>("public", faults);
        let client = client(&mut entry, folder, faults);
        entry.finish(faults);
        let (Some(name), Some(public), Some(client)) = (name, public, client) else {
            continue;
        };
        if witnesses
            .iter()
            .any(|known| known.name == name.value.0 || known.public == public.value)
        {
            faults.push(
                name.line,
                "a second witness has that name or that key",
                "a name and a key of its own",
            );
        }
        witnesses.push(WatcherConfig {
            name: name.value.0,
            public: public.value,
            client,
        });
    }
    if let Some(required) = required
        .as_ref()
        .filter(|required| required.value.0 > witnesses.len())
    {
        let what = format!(
            "`required` is {}, and there are {} witnesses",
            required.value.0,
            witnesses.len()
        );
        faults.push(required.line, what, "[[audit.witness]] for each, or fewer");
    }
    Some(LogConfig {
        second: second.map(|place| place.within(folder)),
        cosigned: cosigned.map(|place| place.within(folder)),
        required: required.map_or(0, |required| required.value.0),
        within: Duration::from_secs(within?.value.0 as u64),
        witnesses,
    })
}
