//! From a faultless file to the types that every other room relies on.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::file::{
    ApproverEntry, AuthorityEntry, ClientEntry, CustodianEntry, DeclarationEntry, IdentityEntry,
    MaybeAt, OfficerEntry, OrganisationEntry, RegisterFile, RightsOfficerEntry, SectorEntry,
};
use super::frozen;
use super::identity::{RegisteredIdentity, RegisteredVault, VAULT};
use super::read::At;
use super::value::SealingKey;
use super::{
    Approver, Authority, AuthorityKey, Custodian, Declaration, Granularity, Id, Officer, Operator,
    Organisation, Quota, Register, RegisteredClient, RightsOfficer, Sector, SpkiDigest,
};
use crate::identifier::Scheme;

/// Builds the register. `None` only where a field is missing, which reading has already reported.
pub(super) fn build(
    file: RegisterFile,
    schemes: BTreeMap<Id, Arc<Scheme>>,
    digest: [u8; 32],
) -> Option<Register> {
    let frozen = frozen::facts(&file, &schemes)?;
    let paths = paths(&file)?;
    let key_terms = file
        .key_terms()
        .filter_map(|(key, until)| Some((key.as_ref()?.value, until.as_ref()?.value)));
    let key_terms = key_terms.collect();
    Some(Register {
        signed: None,
        pins: None,
        deployment: value_of(file.deployment)?,
        version: value_of(file.version)?,
        digest,
        organisations: all(file.organisations, organisation)?,
        purposes: all(file.purposes, |entry| {
            Some((value_of(entry.id)?, value_of(entry.title)?.0))
        })?,
        schemes,
        sectors: all(file.sectors, |entry| {
            let sector = sector(entry, &paths)?;
            Some((sector.name.clone(), Arc::new(sector)))
        })?,
        clients: all(file.clients, client)?,
        authorities: all(file.authorities, |entry| {
            let authority = authority(entry)?;
            Some((authority.id.clone(), Arc::new(authority)))
        })?,
        operators: all(file.operators, |entry| {
            let operator = Operator {
                id: value_of(entry.id)?,
                key: value_of(entry.key),
            };
            Some((value_of(entry.certificate)?, operator))
        })?,
        auditors: all(file.auditors, |entry| {
            Some((value_of(entry.certificate)?, value_of(entry.id)?))
        })?,
        rights_officers: all(file.rights_officers, rights_officer)?,
        witnesses: all(file.witnesses, |entry| {
            Some((value_of(entry.id)?, value_of(entry.key)?))
        })?,
        evidence_days: small(file.evidence_days)?,
        vault: file.vault.as_ref().and_then(|vault| {
            Some(RegisteredVault {
                id: Id::parse(VAULT)?,
                organisation: vault.organisation.as_ref()?.value.clone(),
                certificate: vault.certificate.as_ref()?.value,
            })
        }),
        vault_checkpoint_key: file.vault.and_then(|vault| value_of(vault.checkpoint_key)),
        identities: all(file.identities, |entry| {
            let identity = identity(entry)?;
            Some((identity.id.clone(), Arc::new(identity)))
        })?,
        commission: vec![],
        key_terms,
        frozen,
    })
}

/// Builds what the entries state, by key.
fn all<E, M: FromIterator<(K, V)>, K, V>(
    entries: Vec<E>,
    build: impl Fn(E) -> Option<(K, V)>,
) -> Option<M> {
    entries.into_iter().map(build).collect()
}

/// A field's value, without its line.
fn value_of<T>(field: MaybeAt<T>) -> Option<T> {
    field.map(|field| field.value)
}

fn values<T>(list: Vec<At<T>>) -> impl Iterator<Item = T> {
    list.into_iter().map(|element| element.value)
}

fn organisation(entry: OrganisationEntry) -> Option<(Id, Organisation)> {
    let id = value_of(entry.id)?;
    let quota = Quota {
        items_per_second: value_of(entry.items_per_second)?,
        items_per_day: value_of(entry.items_per_day)?,
    };
    Some((
        id.clone(),
        Organisation {
            id,
            name: value_of(entry.name)?.0,
            quota,
        },
    ))
}

fn client(entry: ClientEntry) -> Option<(SpkiDigest, Arc<RegisteredClient>)> {
    let client = RegisteredClient {
        id: value_of(entry.id)?,
        organisation: value_of(entry.organisation)?,
        sectors: values(entry.sectors).map(|name| name.0).collect(),
        operations: values(entry.operations).collect(),
        purposes: values(entry.purposes).collect(),
        migration_key: value_of(entry.migration_key).map(|key| key.0),
    };
    Some((value_of(entry.certificate)?, Arc::new(client)))
}

fn rights_officer(entry: RightsOfficerEntry) -> Option<(Id, Arc<RightsOfficer>)> {
    let officer = RightsOfficer {
        id: value_of(entry.id)?,
        name: value_of(entry.name)?.0,
        key: value_of(entry.key)?,
        certificate: value_of(entry.certificate)?,
        sectors: values(entry.sectors).map(|name| name.0).collect(),
    };
    Some((officer.id.clone(), Arc::new(officer)))
}

/// For each sector the UUIDs from the top down to it.
fn paths(file: &RegisterFile) -> Option<BTreeMap<String, Vec<Uuid>>> {
    let mut known: BTreeMap<&str, (Uuid, Option<&str>)> = BTreeMap::new();
    for sector in &file.sectors {
        let parent = sector.parent.as_ref().map(|parent| parent.0.as_str());
        known.insert(
            &sector.name.as_ref()?.0,
            (sector.uuid.as_ref()?.value, parent),
        );
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
    let name = value_of(entry.name)?.0;
    Some(Sector {
        uuid: value_of(entry.uuid)?,
        path: paths.get(&name)?.clone(),
        name,
        tag: value_of(entry.tag)?.0,
        granularity: Granularity {
            controller: value_of(entry.by_controller)?,
            purpose: value_of(entry.by_purpose)?,
            period: value_of(entry.period),
        },
        text_form: value_of(entry.text_form)?,
        former_text_forms: values(entry.former_text_forms).collect(),
        reversible: value_of(entry.reversible)?,
        schemes: values(entry.schemes).collect(),
        purposes: values(entry.purposes).collect(),
        authorities: values(entry.authorities).collect(),
        epoch_overlap_days: small(entry.epoch_overlap_days)?,
        period_grace_days: small(entry.period_grace_days)?,
        retention_years: small(entry.retention_years)?,
        declaration: declaration(entry.declaration?)?,
    })
}

fn small(field: MaybeAt<u64>) -> Option<u32> {
    u32::try_from(value_of(field)?).ok()
}

fn declaration(entry: DeclarationEntry) -> Option<Declaration> {
    Some(Declaration {
        controller: value_of(entry.controller)?.0,
        purpose: value_of(entry.purpose)?.0,
        persons: value_of(entry.persons)?.0,
        data: value_of(entry.data)?.0,
        recipients: values(entry.recipients)
            .map(|recipient| recipient.0)
            .collect(),
        transfers: values(entry.transfers).map(|state| state.0).collect(),
        received: value_of(entry.received)?,
        extended: value_of(entry.extended),
        decided: value_of(entry.decided)?,
        decision: value_of(entry.decision)?,
    })
}

fn authority(entry: AuthorityEntry) -> Option<Authority> {
    let mut authority = Authority {
        id: value_of(entry.id)?,
        name: value_of(entry.name)?.0,
        keys: Vec::new(),
        node: value_of(entry.node)?,
        checkpoint_key: value_of(entry.checkpoint_key),
        quorum: usize::try_from(value_of(entry.quorum)?).ok()?,
        force_majeure_quorum: value_of(entry.force_majeure_quorum)
            .and_then(|quorum| usize::try_from(quorum).ok()),
        continuity_quorum: value_of(entry.continuity_quorum)
            .and_then(|quorum| usize::try_from(quorum).ok()),
        statutory_limit: value_of(entry.statutory_limit),
        max_hours: small(entry.max_hours)?,
        releases_per_hour: value_of(entry.releases_per_hour)?,
        migrations_per_hour: value_of(entry.migrations_per_hour)?,
        approvers: BTreeMap::new(),
        officers: BTreeMap::new(),
        custodians: BTreeMap::new(),
    };
    for key in entry.keys {
        let SealingKey { suite, public } = value_of(key.public)?;
        authority.keys.push(AuthorityKey {
            id: value_of(key.id)?,
            suite,
            public,
        });
    }
    people(
        &mut authority,
        entry.approvers,
        entry.officers,
        entry.custodians,
    )?;
    Some(authority)
}

/// Adds an authority's people.
fn people(
    authority: &mut Authority,
    approvers: Vec<ApproverEntry>,
    officers: Vec<OfficerEntry>,
    custodians: Vec<CustodianEntry>,
) -> Option<()> {
    for person in approvers {
        let (id, name) = (value_of(person.id)?, value_of(person.name)?.0);
        let approver = Approver {
            id: id.clone(),
            name,
            body: value_of(person.body)?,
            key: value_of(person.key)?,
        };
        authority.approvers.insert(id, approver);
    }
    for person in officers {
        let (id, name) = (value_of(person.id)?, value_of(person.name)?.0);
        let (key, certificate) = (value_of(person.key)?, value_of(person.certificate)?);
        let sealing_key = value_of(person.sealing_key).map(|key| key.0);
        authority.officers.insert(
            id.clone(),
            Officer {
                id,
                name,
                key,
                certificate,
                sealing_key,
            },
        );
    }
    authority.custodians = all(custodians, custodian)?;
    Some(())
}

fn custodian(entry: CustodianEntry) -> Option<(Id, Custodian)> {
    let id = value_of(entry.id)?;
    let custodian = Custodian {
        id: id.clone(),
        name: value_of(entry.name)?.0,
        certificate: value_of(entry.certificate)?,
    };
    Some((id, custodian))
}

fn identity(entry: IdentityEntry) -> Option<RegisteredIdentity> {
    Some(RegisteredIdentity {
        id: value_of(entry.id)?,
        organisation: value_of(entry.organisation)?,
        certificate: value_of(entry.certificate)?,
        checkpoint_key: value_of(entry.checkpoint_key)?,
        share: value_of(entry.share)?,
        custodians: all(entry.custodians, custodian)?,
    })
}
