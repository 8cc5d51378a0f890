//! Who must hold which files of a new deployment.

use serde::Serialize;

use super::identity::{IDENTITY, KEEPERS};
use super::register_text::{APPROVERS, AUDITOR, AUTHORITY_KEY, OFFICER, OPERATORS};
use super::roots::{NODE, VAULT, WITNESS};
use super::{DeploymentPlan, WITNESS_KEY};

/// A holder, and the files and folders that they need for their work: these and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileHolder {
    /// A program or a person; of persons and sector systems the id in the register.
    pub holder: String,
    /// What they are.
    pub role: &'static str,
    /// Paths inside the deployment's folder. A folder ends with `/`.
    pub files: Vec<String>,
}

/// All holders, programs first.
pub(super) fn all(plan: &DeploymentPlan, custodians: &[String]) -> Vec<FileHolder> {
    let watched = plan.witness.is_some();
    let source = plan.identity.as_ref().map(|_| certificate(IDENTITY));
    let of_vault = server(VAULT, "the vault", source.as_slice(), watched);
    let mut holders = vec![of_vault, {
        let set = format!("{AUTHORITY_KEY}.set");
        let of_shares = plan.custodians.map(|_| set.as_str());
        let more = [certificate(VAULT)]
            .into_iter()
            .chain(of_shares.map(str::to_owned));
        server(
            NODE,
            "the authority node",
            &more.collect::<Vec<_>>(),
            watched,
        )
    }];
    if source.is_some() {
        let role = "the identity source";
        holders.push(server(IDENTITY, role, &[certificate(VAULT)], watched));
    }
    if watched {
        holders.push(holder(
            WITNESS,
            "the commission's witness",
            [
                "witness.toml".to_owned(),
                certificate(WITNESS),
                key(WITNESS),
                WITNESS_KEY.to_owned(),
                "data/witness/".to_owned(),
            ],
        ));
    }
    let register = ["register.toml", "register.jws"].map(str::to_owned);
    for id in ["commission", "operations"] {
        let own = [format!("secrets/register/{id}.pem")];
        let files = own.into_iter().chain(register.clone());
        holders.push(holder(id, "signs the register", files));
    }
    let person = |id: &str| format!("secrets/people/{id}.pem");
    let mut sides = vec![VAULT, NODE];
    sides.extend(source.as_ref().map(|_| IDENTITY));
    holders.push(holder(
        AUDITOR,
        "auditor of the commission",
        caller(AUDITOR, &sides).into_iter().chain(register.clone()),
    ));
    for id in OPERATORS {
        let own = [person(id)].into_iter().chain(register.clone());
        let files = caller(id, &sides).into_iter().chain(own);
        holders.push(holder(id, "operator", files));
    }
    for approver in APPROVERS {
        let own = [person(approver.id)].into_iter().chain(register.clone());
        holders.push(holder(approver.id, "approver", own));
    }
    let officer = caller(OFFICER, &[NODE]).into_iter();
    holders.push(holder(OFFICER, "officer", officer.chain([person(OFFICER)])));
    for id in plan.facts.rights_officers {
        let own = [person(id)].into_iter().chain(register.clone());
        let files = caller(id, &[VAULT, NODE]).into_iter().chain(own);
        holders.push(holder(id, "rights officer", files));
    }
    for id in custodians {
        let share = format!("secrets/custodians/{id}.share");
        let own = [share, format!("secrets/custodians/{id}.key")];
        holders.push(holder(
            id,
            "custodian",
            caller(id, &[NODE]).into_iter().chain(own),
        ));
    }
    for id in source.iter().flat_map(|_| KEEPERS) {
        let files = caller(id, &[IDENTITY]);
        holders.push(holder(id, "keeper of the source", files));
    }
    for client in plan.facts.clients {
        holders.push(holder(
            client.id,
            "sector system",
            caller(client.id, &[VAULT]),
        ));
    }
    holders
}

fn holder(holder: &str, role: &'static str, files: impl IntoIterator<Item = String>) -> FileHolder {
    FileHolder {
        holder: holder.to_owned(),
        role,
        files: files.into_iter().collect(),
    }
}

/// A server: configuration, register, certificate and key, secrets, and where its store goes.
fn server(id: &str, role: &'static str, more: &[String], watched: bool) -> FileHolder {
    let secrets = if id == NODE { "authority" } else { id };
    let own = [
        format!("{id}.toml"),
        "register.toml".to_owned(),
        "register.jws".to_owned(),
        certificate(id),
        key(id),
        format!("secrets/{secrets}/"),
        format!("data/{id}/"),
        format!("data/{id}.first-start"),
    ];
    let witness = watched.then(|| certificate(WITNESS));
    holder(
        id,
        role,
        own.into_iter().chain(more.iter().cloned()).chain(witness),
    )
}

/// Someone who calls servers: a client file for each, its certificate, their own certificate and
/// key.
fn caller(id: &str, servers: &[&str]) -> Vec<String> {
    let file = |(place, server): (usize, &&str)| match place {
        0 => format!("clients/{id}.toml"),
        _ => format!("clients/{id}-{server}.toml"),
    };
    let pins = servers.iter().map(|server| certificate(server));
    let own = [certificate(id), key(id)];
    servers
        .iter()
        .enumerate()
        .map(file)
        .chain(pins)
        .chain(own)
        .collect()
}

fn certificate(id: &str) -> String {
    format!("tls/{id}.pem")
}

fn key(id: &str) -> String {
    format!("secrets/tls/{id}.key")
}
