//! What a caller may know of a server: who they are there, what they may do, whether it is ready.
//!
//! What is told depends on the caller's role only. Nothing in it depends on a person: not on
//! whether one is known, and not on how many are.

mod report;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use report::{
    CallerStatus, CosignerStatus, CustodyStatus, IdentitySourceStatus, IdentityStatus, LogStatus,
    PlaceStatus, QuotaStatus, RegisterStatus, SchemeStatus, SectorStatus, ServerStatus,
    StatusReport, SuspendedEntry,
};

use crate::access::{MemberPermit, MemberRole};
use crate::audit::log::PlaceStanding;
use crate::entity::{Entity, EntrySuspension, Role, UnconfirmedRestore};
use crate::identity::IdentitySource;
use crate::node::Node;
use crate::register::{Authority, Id, Operation, RegisteredClient, Sector};
use crate::tokenize::period_of;
use crate::utis::SourceView;
use crate::vault::{SectorState, Vault};

/// How a server is at present.
#[derive(Debug, Clone, Default)]
pub struct ServerCondition {
    /// Thing → why the server is not ready because of it.
    pub reasons: BTreeMap<String, String>,
    /// Thing → what to look into, although the server is ready.
    pub notices: BTreeMap<String, String>,
}

/// What the vault tells a caller.
pub fn of_vault(vault: &Vault, member: &MemberPermit, condition: ServerCondition) -> StatusReport {
    let mut report = common(vault.entity(), member, condition);
    let states = |wanted: &dyn Fn(&SectorState) -> bool| {
        let mut sectors: Vec<_> = vault
            .sector_states()
            .filter(|state| wanted(state))
            .map(|state| of_sector(vault, state))
            .collect();
        sectors.sort_by(|a, b| a.sector.cmp(&b.sector));
        sectors
    };
    match &member.role {
        MemberRole::Client(client) => {
            report.sectors = states(&|state| client.sectors.contains(&state.sector.name));
            report.schemes = schemes(vault, client);
            report.quota = vault
                .quotas()
                .left(client.organisation.as_str(), vault.now())
                .map(QuotaStatus::of);
        }
        MemberRole::Operator => {
            report.sectors = states(&|_| true);
            show_waiting(vault, &mut report);
        }
        MemberRole::RightsOfficer(officer) => {
            report.sectors = states(&|state| officer.sectors.contains(&state.sector.name));
        }
        MemberRole::Node(authority) => {
            report.sectors = states(&|state| state.sector.authorities.contains(&authority.id));
        }
        MemberRole::Auditor
        | MemberRole::Officer(_)
        | MemberRole::Custodian(_)
        | MemberRole::Vault
        | MemberRole::Identity(_)
        | MemberRole::IdentityCustodian(_) => {}
    }
    if watches(vault, &member.role) {
        report.identity = Some(identity_of(vault));
    }
    report
}

/// Where the vault's identity secret lies.
fn identity_of(vault: &Vault) -> IdentityStatus {
    let sources = vault.utis().sources();
    let form = if sources.is_some() {
        "split"
    } else {
        "embedded"
    };
    let of_source = |source: SourceView| IdentitySourceStatus {
        url: source.url,
        fault: source.fault,
    };
    IdentityStatus {
        form: form.to_owned(),
        sources: sources.into_iter().flatten().map(of_source).collect(),
    }
}

/// What an authority's node tells a caller.
pub fn of_node(node: &Node, member: &MemberPermit, condition: ServerCondition) -> StatusReport {
    let mut report = common(node.entity(), member, condition);
    report.server.authority = Some(node.authority().id.to_string());
    match &member.role {
        MemberRole::Officer(own) | MemberRole::Custodian(own) if own.id == node.authority().id => {
            let sealed = node.safe().sealed();
            report.custody = Some(CustodyStatus {
                sealed: !sealed.is_empty(),
                sealed_keys: sealed.iter().map(ToString::to_string).collect(),
            });
            report.sectors = competent(node, own);
            show_waiting(node, &mut report);
        }
        // They bring lifts, inspections and confirmations there.
        MemberRole::Operator => show_waiting(node, &mut report),
        _ => {}
    }
    report
}

/// What an identity source tells a caller.
pub fn of_identity(
    source: &IdentitySource,
    member: &MemberPermit,
    condition: ServerCondition,
) -> StatusReport {
    let mut report = common(source.entity(), member, condition);
    if watches(source.entity(), &member.role) {
        let sealed = source.safe().sealed();
        report.custody = Some(CustodyStatus {
            sealed: !sealed.is_empty(),
            sealed_keys: sealed,
        });
    }
    report
}

/// Adds what was granted and waits for places. Auditors do not see it: it names inspections.
fn show_waiting(entity: &Entity, report: &mut StatusReport) {
    if let Some(log) = &mut report.log {
        log.waiting = entity.waiting(|_| true);
    }
}

/// What all sides tell.
fn common(entity: &Entity, member: &MemberPermit, condition: ServerCondition) -> StatusReport {
    let register = entity.register();
    let watches = watches(entity, &member.role);
    // An identity source has no part in orders.
    let has_orders = !matches!(entity.role(), Role::Identity(_))
        && !matches!(member.role, MemberRole::Identity(_));
    let ServerCondition { reasons, notices } = condition;
    let (organisation, authority, operations) = match &member.role {
        MemberRole::Client(client) => (Some(&client.organisation), None, &client.operations[..]),
        MemberRole::Node(own) | MemberRole::Officer(own) | MemberRole::Custodian(own) => {
            (None, Some(&own.id), &[][..])
        }
        _ => (None, None, &[][..]),
    };
    StatusReport {
        server: ServerStatus {
            kind: entity.role().name().to_owned(),
            deployment: register.deployment.to_string(),
            authority: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: second(entity.now()),
        },
        caller: CallerStatus {
            id: member.id.to_string(),
            role: role_name(&member.role).to_owned(),
            organisation: organisation.map(Id::to_string),
            authority: authority.map(Id::to_string),
            operations: operations
                .iter()
                .map(|operation: &Operation| operation.as_str().to_owned())
                .collect(),
        },
        ready: reasons.is_empty(),
        reasons: if watches {
            reasons
        } else {
            // The words may speak of others: which witness is away, which keys are sealed.
            let named = reasons.into_keys().map(|about| (about, String::new()));
            named.collect()
        },
        notices: if watches { notices } else { BTreeMap::new() },
        register: RegisterStatus {
            version: register.version,
            digest: crate::id::hex(&register.digest),
        },
        sectors: vec![],
        schemes: vec![],
        restored: restored(entity, &member.role),
        quota: None,
        custody: None,
        identity: None,
        log: watches.then(|| log(entity)).flatten(),
        out_of_step: (watches && has_orders).then(|| out_of_step(entity, &member.role)),
        suspended: watches.then(|| suspended(entity)),
    }
}

/// What still holds since a restore without places: all of it for those who run or watch the server
/// or execute orders, to others what concerns their sectors.
fn restored(entity: &Entity, role: &MemberRole) -> Option<UnconfirmedRestore> {
    let restore = entity.unconfirmed_restore()?;
    match role {
        MemberRole::Client(client) => {
            restore.in_sectors(|name| client.sectors.iter().any(|own| own == name))
        }
        MemberRole::RightsOfficer(officer) => {
            restore.in_sectors(|name| officer.sectors.iter().any(|own| own == name))
        }
        _ => Some(restore),
    }
}

/// Whether the caller runs or watches this server.
fn watches(entity: &Entity, role: &MemberRole) -> bool {
    let is_own = |authority: &Authority| match entity.role() {
        Role::Vault | Role::Identity(_) => false,
        Role::Node(own) => *own == authority.id,
    };
    match role {
        MemberRole::Auditor => true,
        // Those who run the vault are not those who run an identity source.
        MemberRole::Operator => !matches!(entity.role(), Role::Identity(_)),
        MemberRole::Node(_) | MemberRole::Identity(_) => *entity.role() == Role::Vault,
        MemberRole::Officer(authority) | MemberRole::Custodian(authority) => is_own(authority),
        MemberRole::IdentityCustodian(own) => {
            matches!(entity.role(), Role::Identity(id) if *id == own.id)
        }
        MemberRole::Client(_) | MemberRole::RightsOfficer(_) | MemberRole::Vault => false,
    }
}

fn role_name(role: &MemberRole) -> &'static str {
    match role {
        MemberRole::Client(_) => "client",
        MemberRole::Operator => "operator",
        MemberRole::Auditor => "auditor",
        MemberRole::RightsOfficer(_) => "rights-officer",
        MemberRole::Node(_) => "node",
        MemberRole::Officer(_) => "officer",
        MemberRole::Custodian(_) | MemberRole::IdentityCustodian(_) => "custodian",
        MemberRole::Vault => "vault",
        MemberRole::Identity(_) => "identity",
    }
}

fn of_sector(vault: &Vault, state: &SectorState) -> SectorStatus {
    let (now, current) = (vault.now(), state.current());
    SectorStatus {
        sector: state.sector.name.clone(),
        uuid: Some(state.sector.uuid),
        epoch: Some(current.row.epoch),
        period: current
            .terms
            .granularity
            .period
            .map(|length| period_of(length, now)),
        overlap_until: state
            .previous(now)
            .and(state.overlap_ends())
            .map(|end| end.to_string()),
        purposes: ids(&state.sector.purposes),
        schemes: ids(&state.sector.schemes),
    }
}

/// The sectors in which an authority is competent, as its own node's register has them. A node
/// does not know at which epoch they are.
fn competent(node: &Node, authority: &Authority) -> Vec<SectorStatus> {
    let sectors = node.register().sectors.values();
    let of = |sector: &std::sync::Arc<Sector>| SectorStatus {
        sector: sector.name.clone(),
        uuid: Some(sector.uuid),
        epoch: None,
        period: None,
        overlap_until: None,
        purposes: ids(&sector.purposes),
        schemes: ids(&sector.schemes),
    };
    sectors
        .filter(|sector| sector.authorities.contains(&authority.id))
        .map(of)
        .collect()
}

/// The rules of every scheme that the client's sectors take.
fn schemes(vault: &Vault, client: &RegisteredClient) -> Vec<SchemeStatus> {
    let register = vault.register();
    let taken = |id: &Id| {
        let mut sectors = client
            .sectors
            .iter()
            .filter_map(|name| register.sector(name));
        sectors.any(|sector| sector.schemes.contains(id))
    };
    let schemes = register.schemes.iter().filter(|(id, _)| taken(id));
    schemes
        .map(|(_, scheme)| SchemeStatus::of(scheme.rules()))
        .collect()
}

fn log(entity: &Entity) -> Option<LogStatus> {
    // Nothing is shown before enough places hold the first entries.
    let (origin, entries) = match entity.log().shown(None) {
        Some(shown) => (shown.checkpoint.origin.clone(), shown.checkpoint.size),
        None => (entity.log().offered_origin()?, 0),
    };
    let cosigners = entity.cosigners().map(|cosigners| cosigners.all());
    let cosigner = |time: crate::audit::cosign::CosignerTime| CosignerStatus {
        name: time.name,
        witness: time.counts,
        last: time.last.map(second),
    };
    Some(LogStatus {
        origin,
        entries,
        cosigners: cosigners.into_iter().flatten().map(cosigner).collect(),
        places: places(entity),
        waiting: vec![],
    })
}

/// The places that hold the log, and what they hold.
fn places(entity: &Entity) -> Vec<PlaceStatus> {
    let now = entity.now();
    let time = |ago: std::time::Duration| {
        let ago = jiff::SignedDuration::try_from(ago).unwrap_or_default();
        second(now.checked_sub(ago).unwrap_or(now))
    };
    let status = |place: PlaceStanding| PlaceStatus {
        name: place.name,
        counts: place.counts,
        log: place.held.as_ref().map(|held| held.origin.clone()),
        entries: place.held.as_ref().map(|held| held.size),
        last: place.vouched.map(time),
        behind_seconds: place.behind.map(|behind| behind.as_secs()),
    };
    entity.log().places().into_iter().map(status).collect()
}

/// The authorities whose node and vault are not in step; a node at the vault learns its own only.
fn out_of_step(entity: &Entity, role: &MemberRole) -> Vec<String> {
    let all = entity.orders().out_of_step(entity.now()).into_iter();
    let seen = |id: &Id| match role {
        MemberRole::Node(own) => own.id == *id,
        _ => true,
    };
    all.filter(seen).map(|id| id.to_string()).collect()
}

fn suspended(entity: &Entity) -> Vec<SuspendedEntry> {
    let of = |row: EntrySuspension| SuspendedEntry {
        entry: row.entry.to_string(),
        reason: row.reason,
        since: second(row.received),
    };
    entity.suspensions().into_iter().map(of).collect()
}

/// A time in whole seconds, RFC 3339.
fn second(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second());
    whole.unwrap_or(time).to_string()
}

fn ids(ids: &[Id]) -> Vec<String> {
    ids.iter().map(Id::to_string).collect()
}
