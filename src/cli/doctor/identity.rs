//! Where the identity secret lies, and what that is worth.

use std::fmt::Display;

use super::{DoctorFinding, metric};
use crate::config::{IdentityPlace, KeyPlace, SideConfig};

/// The page that says how the secret comes under another administrator.
const PAGE: &str = "docs/operations.md, \"The identity secret under another administrator\"";

/// Says where the identity secret lies, if a side has to do with it.
pub(super) fn finding(called: &impl Display, config: &SideConfig) -> Option<DoctorFinding> {
    let what = format!("{called}: identity secret");
    match config {
        SideConfig::Node(_) => None,
        SideConfig::Identity(config) => Some(match &config.secret {
            KeyPlace::Shares(_) => DoctorFinding::good(
                what,
                "lies here while its custodians have it unsealed, and in no file",
            ),
            KeyPlace::Own(_) => DoctorFinding::good(
                what,
                "lies here, apart from the vault's secrets; `cloison identity split` puts it into custodians' shares",
            ),
        }),
        SideConfig::Vault(vault) => Some(match &vault.secrets.identity {
            IdentityPlace::Embedded(_) => DoctorFinding::poor(
                what,
                "lies with this vault, beside the sector secrets: root here computes the pseudonym of every identifier that \
                 can be guessed",
                format!("give it to an identity source: {PAGE}"),
            ),
            IdentityPlace::Sources(link) => {
                let (all, urls) = (link.urls.len(), link.urls.join(", "));
                let source = if all == 1 {
                    "the identity source"
                } else {
                    "the identity sources"
                };
                let says = format!("lies with {source} {urls}, and not here");
                match metric::<usize>(config.health(), "cloison_identity_sources") {
                    Some(answering) if answering < all => DoctorFinding::poor(
                        what,
                        format!("{says}; {answering} of {all} answer"),
                        "the vault's /readyz says why; look at that source's log",
                    ),
                    _ => DoctorFinding::good(what, says),
                }
            }
        }),
    }
}

/// Whether one machine has both halves of the secrets: then neither side guards the other.
pub(super) fn both_halves(configs: &[SideConfig]) -> Option<DoctorFinding> {
    let has = |side: fn(&SideConfig) -> bool| configs.iter().any(side);
    let both = has(|config| matches!(config, SideConfig::Vault(_)))
        && has(|config| matches!(config, SideConfig::Identity(_)));
    both.then(|| {
        DoctorFinding::poor(
            "identity secret",
            "its source and the vault run on this machine: root here has the secrets of both",
            format!("put the source on a machine of another administrator: {PAGE}"),
        )
    })
}
