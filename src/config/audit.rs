//! `[audit]`: who watches over the log. The section is optional; the log is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use super::value::{Count, Place};
use super::witness::LogName;
use super::{ClientConfig, client, optional_section};
use crate::register::read::{At, Faults, TomlTable};

/// `[audit]` of a vault or a node.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A folder on another disk than the store's that holds the log and its last checkpoint.
    pub second: Option<PathBuf>,
    /// Whether that folder lies on another machine, so that it counts among `places`.
    pub second_elsewhere: bool,
    /// How many places off this machine must hold an act before it counts as safe. Default 1, or 0
    /// where none could.
    pub places: usize,
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
            second_elsewhere: false,
            places: 0,
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
    let elsewhere = table.or("second-elsewhere", false, faults);
    let places = places(table, second.is_some(), elsewhere.as_ref(), faults);
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
        second_elsewhere: elsewhere?.value,
        places: places?,
        cosigned: cosigned.map(|place| place.within(folder)),
        required: required.map_or(0, |required| required.value.0),
        within: Duration::from_secs(within?.value.0 as u64),
        witnesses,
    })
}

/// `places`: no more than could hold the log.
fn places(
    table: &mut TomlTable<'_, '_>,
    has_second: bool,
    elsewhere: Option<&At<bool>>,
    faults: &mut Faults,
) -> Option<usize> {
    let stated = table.optional::<Count>("places", faults);
    let elsewhere = elsewhere?;
    if elsewhere.value && !has_second {
        let what = "`second-elsewhere` says where `second` lies, and there is no `second`";
        faults.push(elsewhere.line, what, "second = \"FOLDER\"");
        return None;
    }
    let able = usize::from(elsewhere.value);
    let Some(stated) = stated else {
        return Some(able.min(1));
    };
    if stated.value.0 > able {
        let what = format!(
            "`places` is {}, and {able} could hold the log off this machine",
            stated.value.0
        );
        let instead = "`second-elsewhere = true` where `second` lies on another machine, or fewer";
        faults.push(stated.line, what, instead);
    }
    Some(stated.value.0)
}
