//! `[identity]` of `vault.toml`: the identity sources, where the identity secret lies with them.

use std::path::{Path, PathBuf};

use super::custody::SecretsSection;
use super::value::{BaseUrl, Place};
use super::{optional_section, pinned_servers};
use crate::keys::custody::Deposit;
use crate::register::read::{Faults, TomlTable};

/// Where the identity secret is.
#[derive(Debug, Clone)]
pub enum IdentityPlace {
    /// With this vault.
    Embedded(Deposit),
    /// With identity sources, under an administrator of their own.
    Sources(IdentityLinkConfig),
}

/// How to reach the identity sources.
#[derive(Debug, Clone)]
pub struct IdentityLinkConfig {
    /// `https://host:port` of each, in the order in which to ask them; at least one.
    pub urls: Vec<String>,
    /// Certificates (PEM), at least one file: their keys are the only ones that the sources may
    /// have.
    pub server: Vec<PathBuf>,
    /// The vault's certificate chain (PEM), which it shows to them.
    pub certificate: PathBuf,
    /// Its private key (PEM), 0600.
    pub key: PathBuf,
}

/// `[identity]`, as it was read.
pub(super) enum IdentitySection {
    /// There is none.
    Absent,
    /// It has faults.
    Faulty,
    /// It is whole; it begins in this line.
    Whole(IdentityLinkConfig, usize),
}

/// Reads `[identity]`.
pub(super) fn read(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> IdentitySection {
    let section = optional_section(root, "identity", faults, |table, faults| {
        let line = table.line;
        let before = faults.count();
        let urls = table.list::<BaseUrl>("url", faults);
        for (n, url) in urls.iter().enumerate() {
            if urls[..n].iter().any(|before| before.value.0 == url.value.0) {
                let what = "[identity]: `url` names a source twice";
                faults.push(url.line, what, "each source once");
            }
        }
        if urls.is_empty() && faults.count() == before {
            let what = "[identity]: `url` names no identity source";
            faults.push(line, what, "url = [\"https://identity.example:8643\"]");
        }
        let server = pinned_servers(table, faults);
        let certificate = table.required::<Place>("certificate", faults);
        let key = table.required::<Place>("key", faults);
        let config = IdentityLinkConfig {
            urls: urls.into_iter().map(|url| url.value.0).collect(),
            server: server.iter().map(|pin| pin.0.within(folder)).collect(),
            certificate: certificate?.within(folder),
            key: key?.within(folder),
        };
        Some((config, line))
    });
    match section {
        Some(None) => IdentitySection::Absent,
        Some(Some((config, line))) => IdentitySection::Whole(config, line),
        None => IdentitySection::Faulty,
    }
}

/// Where the identity secret is: `identity` of `[secrets]` or `[identity]`, one or the other.
pub(super) fn place(
    secrets: &mut SecretsSection,
    table: &mut TomlTable<'_, '_>,
    link: IdentitySection,
    faults: &mut Faults,
) -> Option<IdentityPlace> {
    match link {
        IdentitySection::Absent => secrets
            .required("identity", table, faults)
            .map(IdentityPlace::Embedded),
        IdentitySection::Faulty => None,
        IdentitySection::Whole(config, line) => {
            if secrets.optional("identity", table, faults).is_some() {
                let what = "`identity` of [secrets] and [identity] exclude one another: the identity secret lies with \
                            this vault or with an identity source";
                faults.push(line, what, "only one of them");
                return None;
            }
            Some(IdentityPlace::Sources(config))
        }
    }
}
