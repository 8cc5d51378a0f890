//! `witness.toml`: what `cloison witness serve` runs on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use jiff::civil::Date;
use toml::de::DeValue;

use super::value::{ListenAddress, LoopbackAddress, Place};
use super::{
    ConfigError, FileKind, LimitConfig, TlsFiles, apart, audit, distinct_addresses, limits,
    listener, load, optional_section, parse, section, tls_files,
};
use crate::register::read::{Faults, TomlField, TomlTable, wrong_type};
use crate::register::{Fault, SpkiDigest};

/// The configuration of a witness, which cosigns the logs of others.
#[derive(Debug, Clone)]
pub struct WitnessConfig {
    /// The name in its cosignatures: its id in the register.
    pub name: String,
    /// Listener for logs.
    pub control: SocketAddr,
    /// Listener for health and metrics, without TLS, on loopback.
    pub health: SocketAddr,
    /// The server's certificate, and its key.
    pub tls: TlsFiles,
    /// The folder with the last cosigned checkpoint of each log. It must not be lost.
    pub state: PathBuf,
    /// The Ed25519 key that cosigns (PKCS#8 PEM).
    pub key: PathBuf,
    /// `[follow]`: it keeps the logs that it watches, as far as their owners bring them; without
    /// it, it keeps none.
    pub follow: Option<FollowConfig>,
    /// The logs that it watches.
    pub logs: Vec<WatchedLog>,
    /// The callers that it lets in: certificate key → the last day (UTC) of the entry, if it has
    /// one. At least one.
    pub callers: BTreeMap<SpkiDigest, Option<Date>>,
    /// Limits of the listener.
    pub limits: LimitConfig,
}

/// `[follow]` of a witness.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// The folder of the logs.
    pub path: PathBuf,
    /// How many bytes of each log are taken in a day (UTC). Default 1 GiB.
    pub daily: u64,
}

/// `[[log]]` of a witness.
#[derive(Debug, Clone)]
pub struct WatchedLog {
    /// Whose log: `<deployment>/vault` or `<deployment>/node/<authority>`, in every year.
    pub owner: String,
    /// The key that signs its checkpoints.
    pub public: VerifyingKey,
}

/// The name of a cosigner or the owner of a log: a schemeless URL without spaces and plus signs.
pub(super) struct LogName(pub(super) String);

impl TomlField for LogName {
    const EXAMPLE: &'static str = "\"cndp\", without spaces and plus signs";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type(value, "a text in quotes"))?;
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if plain && (1..=255).contains(&text.len()) {
            Ok(LogName(text.into()))
        } else {
            Err("is not a name".into())
        }
    }
}

impl WitnessConfig {
    /// Reads `witness.toml`.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, FileKind::Witness, Self::parse)
    }

    /// Reads the text of a `witness.toml` that lies in `folder`. Reports every fault, not only the
    /// first.
    ///
    /// # Errors
    /// The faults, in the order of the file.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        parse(text, "the witness's configuration", |root, faults| {
            let name = root.required::<LogName>("name", faults);
            let control =
                listener::<ListenAddress>(root, "control", faults).map(|at| (at.line, at.value.0));
            let health =
                listener::<LoopbackAddress>(root, "health", faults).map(|at| (at.line, at.value.0));
            distinct_addresses(&[control, health], faults);
            let tls = tls_files(root, folder, faults);
            let state = section(root, "state", faults, |table, faults| {
                table.required::<Place>("path", faults)
            });
            let key = section(root, "secrets", faults, |table, faults| {
                table.required::<Place>("key", faults)
            });
            let follow = optional_section(root, "follow", faults, |table, faults| {
                let path = table.required::<Place>("path", faults);
                let daily = audit::daily("mib-a-day", table, faults);
                Some(FollowConfig {
                    path: path?.within(folder),
                    daily: daily?,
                })
            });
            let logs = logs(root, faults);
            let callers = callers(root, faults);
            let limits = limits(root, faults);
            let config = WitnessConfig {
                name: name?.value.0,
                control: control?.1,
                health: health?.1,
                tls: tls?,
                state: state?.within(folder),
                key: key?.within(folder),
                follow: follow?,
                logs,
                callers,
                limits: limits?,
            };
            let kept = config.follow.as_ref().map(|follow| &*follow.path);
            let written = [
                ("`[state] path`", Some(&*config.state)),
                ("`[follow] path`", kept),
            ];
            apart::check(&written, root.line, faults);
            Some(config)
        })
    }
}

fn logs(root: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Vec<WatchedLog> {
    let tables = root.tables("log", "owner", faults);
    if tables.is_empty() {
        faults.push(
            root.line,
            "the witness watches no log",
            "[[log]] with owner and public",
        );
    }
    let mut logs = Vec::new();
    for mut table in tables {
        let owner = table.required::<LogName>("owner", faults);
        let public = table.required::<VerifyingKey>("public", faults);
        table.finish(faults);
        let (Some(owner), Some(public)) = (owner, public) else {
            continue;
        };
        logs.push(WatchedLog {
            owner: owner.value.0,
            public: public.value,
        });
    }
    logs
}

/// `[[caller]]`: the keys of those who may bring checkpoints, and read them.
fn callers(
    root: &mut TomlTable<'_, '_>,
    faults: &mut Faults,
) -> BTreeMap<SpkiDigest, Option<Date>> {
    let before = faults.count();
    let mut callers = BTreeMap::new();
    for mut table in root.tables("caller", "certificate", faults) {
        let certificate = table.required::<SpkiDigest>("certificate", faults);
        let until = table.optional::<Date>("until", faults);
        table.finish(faults);
        let Some(certificate) = certificate else {
            continue;
        };
        let until = until.map(|until| until.value);
        if callers.insert(certificate.value, until).is_some() {
            faults.push(
                certificate.line,
                "a second caller has that `certificate`",
                "each certificate once",
            );
        }
    }
    if callers.is_empty() && faults.count() == before {
        faults.push(
            root.line,
            "the witness lets nobody in: it knows no caller",
            "[[caller]] with certificate = \"…\", the SHA-256 of the key in the certificate that a vault \
             or node shows here (`cloison register fingerprint FILE`)",
        );
    }
    callers
}
