//! The deployment that is measured: one sector with mappings, one without, and a client whose quota
//! never runs out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::deployment::register_text::{
    DeclaredClient, DeclaredFacts, DeclaredOrganisation, DeclaredScheme, DeclaredSector,
};
use crate::deployment::{DeploymentPlan, ListenPlan};
use crate::load::local::free_ports;
use crate::terminal::CommandError;

/// The sector that keeps mappings.
pub const REVERSIBLE: &str = "health";
/// The sector that keeps none.
pub const IRREVERSIBLE: &str = "study";
/// The deployment's id.
pub const DEPLOYMENT: &str = "bench";
/// The client of both.
pub const CLIENT: &str = "bench";

const HEALTH: DeclaredSector = DeclaredSector {
    name: REVERSIBLE,
    tag: "sante",
    granularity: "{}",
    text_form: "bech32m",
    reversible: true,
    schemes: &["passport"],
    purposes: &[],
    retention_years: 1,
    controller: "Nobody: a measurement with made-up persons",
    purpose: "Measurement",
    persons: "None",
    data: "None",
};

static FACTS: DeclaredFacts = DeclaredFacts {
    organisations: &[DeclaredOrganisation {
        id: "bench",
        name: "Measurement",
        items_per_second: 1_000_000_000,
        items_per_day: 1_000_000_000_000,
    }],
    purposes: &[],
    schemes: &[DeclaredScheme {
        id: "passport",
        pattern: "[A-Z]{3}[A-Z0-9]{5,12}",
        separators: " -",
        comment: "ISO 3166 alpha-3 code of the issuing State, then the number.",
    }],
    sectors: &[
        HEALTH,
        DeclaredSector {
            name: IRREVERSIBLE,
            tag: "etude",
            reversible: false,
            ..HEALTH
        },
    ],
    clients: &[DeclaredClient {
        id: CLIENT,
        organisation: "bench",
        sectors: &[REVERSIBLE, IRREVERSIBLE],
        purposes: &[],
    }],
    rights_officers: &[],
};

/// Where the health listeners will be.
#[derive(Clone, Copy)]
pub struct BenchHealth {
    /// The vault's.
    pub vault: SocketAddr,
    /// The identity source's, where there is one.
    pub identity: Option<SocketAddr>,
}

/// Fills `folder`, which must be absent or empty, with an identity source where it `is_split`.
///
/// # Errors
/// When the folder cannot be filled or loopback has no free port.
pub fn make(folder: &Path, is_split: bool) -> Result<BenchHealth, CommandError> {
    let [data, control, health, node_data, node_control, node_health] = free_ports()?;
    let ports = is_split.then(free_ports).transpose()?;
    let plan = DeploymentPlan {
        deployment: DEPLOYMENT.to_owned(),
        facts: &FACTS,
        vault: ListenPlan::new(Vec::new(), [data, control, health]),
        node: ListenPlan::new(Vec::new(), [node_data, node_control, node_health]),
        witness: None,
        identity: ports.map(|ports| ListenPlan::new(Vec::new(), ports)),
        years: 1,
        example: false,
        custodians: None,
    };
    crate::deployment::make(folder, &plan)?;
    let logs = folder.join("logs");
    std::fs::create_dir(&logs).map_err(|error| CommandError::file(&logs, &error))?;
    let at = |port: u16| (Ipv4Addr::LOCALHOST, port).into();
    Ok(BenchHealth {
        vault: at(health),
        identity: ports.map(|[.., health]| at(health)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vault_takes_the_register() {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("bench"), false).unwrap();
        make(&folder.path().join("split"), true).unwrap();
    }
}
