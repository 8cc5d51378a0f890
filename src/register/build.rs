//! From a faultless file to the types that every other room relies on.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::file::{AuthorityEntry, DeclarationEntry, Found, RegisterFile, SectorEntry};
use super::frozen;
use super::value::SealingKey;
use super::{
    Approver, Authority, AuthorityKey, Client, Custodian, Declaration, Granularity, Id, Officer, Operator,
    Organisation, Quota, Register, RightsOfficer, Sector,
};
use crate::identifier::Scheme;

/// Builds the register. `None` only where a field is missing, which reading has already reported.
pub(super) fn build(file: RegisterFile, schemes: BTreeMap<Id, Arc<Scheme>>, digest: [u8; 32]) -> Option<Register> {
    let frozen = frozen::facts(&file, &schemes)?;
    let paths = paths(&file)?;
    let mut register = Register {
        deployment: the(file.deployment)?,
        version: the(file.version)?,
        digest,
        organisations: BTreeMap::new(),
        purposes: BTreeMap::new(),
        schemes,
        sectors: BTreeMap::new(),
        clients: BTreeMap::new(),
        authorities: BTreeMap::new(),
        operators: BTreeMap::new(),
        auditors: BTreeMap::new(),
        rights_officers: BTreeMap::new(),
        witnesses: BTreeMap::new(),
        evidence_days: small(file.evidence_days)?,
        vault_checkpoint_key: file.vault.and_then(|vault| the(vault.checkpoint_key)),
        commission: vec![],
        frozen,
    };
    for entry in file.organisations {
        let id = the(entry.id)?;
        let quota = Quota { items_per_second: the(entry.items_per_second)?, items_per_day: the(entry.items_per_day)? };
        register.organisations.insert(id.clone(), Organisation { id, name: the(entry.name)?.0, quota });
    }
    for entry in file.purposes {
        register.purposes.insert(the(entry.id)?, the(entry.title)?.0);
    }
    for entry in file.sectors {
        let sector = sector(entry, &paths)?;
        register.sectors.insert(sector.name.clone(), Arc::new(sector));
    }
    for entry in file.clients {
        let client = Client {
            id: the(entry.id)?,
            organisation: the(entry.organisation)?,
            sectors: entry.sectors.into_iter().map(|name| name.value.0).collect(),
            operations: entry.operations.into_iter().map(|operation| operation.value).collect(),
            purposes: entry.purposes.into_iter().map(|purpose| purpose.value).collect(),
            migration_key: the(entry.migration_key).map(|key| key.0),
        };
        register.clients.insert(the(entry.certificate)?, Arc::new(client));
    }
    for entry in file.operators {
        let operator = Operator { id: the(entry.id)?, key: the(entry.key) };
        register.operators.insert(the(entry.certificate)?, operator);
    }
    for entry in file.auditors {
        register.auditors.insert(the(entry.certificate)?, the(entry.id)?);
    }
    for entry in file.rights_officers {
        let officer = RightsOfficer {
            id: the(entry.id)?,
            name: the(entry.name)?.0,
            key: the(entry.key)?,
            certificate: the(entry.certificate)?,
            sectors: entry.sectors.into_iter().map(|name| name.value.0).collect(),
        };
        register.rights_officers.insert(officer.id.clone(), Arc::new(officer));
    }
    for entry in file.witnesses {
        register.witnesses.insert(the(entry.id)?, the(entry.key)?);
    }
    for entry in file.authorities {
        let authority = authority(entry)?;
        register.authorities.insert(authority.id.clone(), Arc::new(authority));
    }
    Some(register)
}

fn the<T>(found: Found<T>) -> Option<T> {
    found.map(|found| found.value)
}

/// For each sector the UUIDs from the top down to it.
fn paths(file: &RegisterFile) -> Option<BTreeMap<String, Vec<Uuid>>> {
    let mut known: BTreeMap<&str, (Uuid, Option<&str>)> = BTreeMap::new();
    for sector in &file.sectors {
        let parent = sector.parent.as_ref().map(|parent| parent.0.as_str());
        known.insert(&sector.name.as_ref()?.0, (sector.uuid.as_ref()?.value, parent));
    }
    let mut paths = BTreeMap::new();
    for name in known.keys() {
        let mut path = Vec::new();
        let mut at = Some(*name);
        while let Some(name) = at {
            let (uuid, parent) = known.get(name)?;
            path.push(*uuid);
            at = *parent;
        }
        path.reverse();
        paths.insert((*name).to_owned(), path);
    }
    Some(paths)
}

fn sector(entry: SectorEntry, paths: &BTreeMap<String, Vec<Uuid>>) -> Option<Sector> {
    let name = the(entry.name)?.0;
    Some(Sector {
        uuid: the(entry.uuid)?,
        path: paths.get(&name)?.clone(),
        name,
        tag: the(entry.tag)?.0,
        granularity: Granularity {
            controller: the(entry.by_controller)?,
            purpose: the(entry.by_purpose)?,
            period: the(entry.period),
        },
        text_form: the(entry.text_form)?,
        former_text_forms: entry.former_text_forms.into_iter().map(|form| form.value).collect(),
        reversible: the(entry.reversible)?,
        schemes: entry.schemes.into_iter().map(|id| id.value).collect(),
        purposes: entry.purposes.into_iter().map(|id| id.value).collect(),
        authorities: entry.authorities.into_iter().map(|id| id.value).collect(),
        epoch_overlap_days: small(entry.epoch_overlap_days)?,
        period_grace_days: small(entry.period_grace_days)?,
        retention_years: small(entry.retention_years)?,
        declaration: declaration(entry.declaration?)?,
    })
}

fn small(found: Found<u64>) -> Option<u32> {
    u32::try_from(the(found)?).ok()
}

fn declaration(entry: DeclarationEntry) -> Option<Declaration> {
    Some(Declaration {
        controller: the(entry.controller)?.0,
        purpose: the(entry.purpose)?.0,
        persons: the(entry.persons)?.0,
        data: the(entry.data)?.0,
        recipients: entry.recipients.into_iter().map(|recipient| recipient.value.0).collect(),
        transfers: entry.transfers.into_iter().map(|state| state.value.0).collect(),
        received: the(entry.received)?,
        extended: the(entry.extended),
        decided: the(entry.decided)?,
        decision: the(entry.decision)?,
    })
}

fn authority(entry: AuthorityEntry) -> Option<Authority> {
    let mut authority = Authority {
        id: the(entry.id)?,
        name: the(entry.name)?.0,
        keys: Vec::new(),
        node: the(entry.node)?,
        checkpoint_key: the(entry.checkpoint_key),
        quorum: usize::try_from(the(entry.quorum)?).ok()?,
        force_majeure_quorum: the(entry.force_majeure_quorum).and_then(|quorum| usize::try_from(quorum).ok()),
        continuity_quorum: the(entry.continuity_quorum).and_then(|quorum| usize::try_from(quorum).ok()),
        statutory_limit: the(entry.statutory_limit),
        max_hours: small(entry.max_hours)?,
        releases_per_hour: the(entry.releases_per_hour)?,
        migrations_per_hour: the(entry.migrations_per_hour)?,
        approvers: BTreeMap::new(),
        officers: BTreeMap::new(),
        custodians: BTreeMap::new(),
    };
    for key in entry.keys {
        let SealingKey { suite, public } = the(key.public)?;
        authority.keys.push(AuthorityKey { id: the(key.id)?, suite, public });
    }
    for person in entry.approvers {
        let (id, name) = (the(person.id)?, the(person.name)?.0);
        let approver = Approver { id: id.clone(), name, body: the(person.body)?, key: the(person.key)? };
        authority.approvers.insert(id, approver);
    }
    for person in entry.officers {
        let (id, name) = (the(person.id)?, the(person.name)?.0);
        let (key, certificate) = (the(person.key)?, the(person.certificate)?);
        let sealing_key = the(person.sealing_key).map(|key| key.0);
        authority.officers.insert(id.clone(), Officer { id, name, key, certificate, sealing_key });
    }
    for person in entry.custodians {
        let (id, name, certificate) = (the(person.id)?, the(person.name)?.0, the(person.certificate)?);
        authority.custodians.insert(id.clone(), Custodian { id, name, certificate });
    }
    Some(authority)
}
