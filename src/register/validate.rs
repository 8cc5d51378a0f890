//! The register as a whole: the faults that no single entry shows. Names are unique and resolve,
//! the sectors are a tree, a key belongs to one person and a certificate to one system, and an
//! order can reach its quorum, but never through one body alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use super::file::{AuthorityEntry, ClientEntry, IdentityEntry, MaybeAt, RegisterFile, SectorEntry};
use super::read::{At, Faults, shown};
use super::unique::{References, Unique};
use super::{Id, Operation, PeriodLength, SpkiDigest, authority, identity};
use crate::identifier::{Scheme, SchemeRules};

/// Notes every fault between entries, and compiles the schemes (which is how their rules are
/// judged). `taken` are keys that already belong to holders of register keys.
pub(super) fn check(
    file: &RegisterFile,
    taken: impl Iterator<Item = VerifyingKey>,
    faults: &mut Faults,
) -> BTreeMap<Id, Arc<Scheme>> {
    within(&file.version, 1, i64::MAX as u64, "`version`", faults);
    within(
        &file.evidence_days,
        LEAST_EVIDENCE,
        MOST_EVIDENCE,
        "`evidence-days`",
        faults,
    );
    organisations(file, faults);
    let mut purposes = Unique::new("purpose id");
    for purpose in &file.purposes {
        purposes.note(&purpose.id, "a purpose", faults);
    }
    let schemes = schemes(file, faults);
    sectors(file, faults);
    clients(file, faults);
    rights_officers(file, faults);
    authority::check(file, faults);
    identity::check(file, faults);
    systems_and_persons(file, taken, faults);
    schemes
}

/// A number that must lie between two bounds, both included.
pub(super) fn within(
    number: &MaybeAt<u64>,
    least: u64,
    most: u64,
    what: &str,
    faults: &mut Faults,
) {
    let Some(number) = number else { return };
    if !(least..=most).contains(&number.value) {
        let instead = if number.value < least {
            format!("at least {least}")
        } else {
            format!("at most {most}")
        };
        faults.push(number.line, format!("{what} is {}", number.value), instead);
    }
}

/// The bounds of `evidence-days`: the record of who looked at whom must outlast an inspection, but
/// not the person.
const LEAST_EVIDENCE: u64 = 30;
const MOST_EVIDENCE: u64 = 3_650;

/// The upper bound of a quota: more than any client needs, and ten times as much still counts
/// without overflow.
const MOST_ITEMS: u64 = 1_000_000_000_000;

fn organisations(file: &RegisterFile, faults: &mut Faults) {
    let mut ids = Unique::new("organisation id");
    for organisation in &file.organisations {
        ids.note(&organisation.id, "an organisation", faults);
        within(
            &organisation.items_per_second,
            1,
            MOST_ITEMS,
            "the quota `items-per-second`",
            faults,
        );
        within(
            &organisation.items_per_day,
            1,
            MOST_ITEMS,
            "the quota `items-per-day`",
            faults,
        );
    }
}

fn schemes(file: &RegisterFile, faults: &mut Faults) -> BTreeMap<Id, Arc<Scheme>> {
    let mut ids = Unique::new("scheme id");
    let mut schemes = BTreeMap::new();
    for entry in &file.schemes {
        ids.note(&entry.id, "a scheme", faults);
        let (Some(id), Some(pattern)) = (&entry.id, &entry.pattern) else {
            continue;
        };
        let (Some(separators), Some(check), Some(case)) =
            (&entry.separators, &entry.check, &entry.case)
        else {
            continue;
        };
        let rules = SchemeRules {
            id: id.value.clone(),
            pattern: pattern.0.clone(),
            separators: separators.0.clone(),
            check: check.value,
            case: case.value,
        };
        match Scheme::new(rules) {
            Ok(scheme) => {
                schemes.insert(id.value.clone(), Arc::new(scheme));
            }
            Err(what) => {
                let (line, instead) = if what.starts_with("the separator") {
                    (
                        separators.line,
                        "separators = \" -\", each a space or ASCII punctuation, each once",
                    )
                } else {
                    (
                        pattern.line,
                        "pattern = '[A-Z]{1,2}[0-9]{1,7}', for what is left without separators",
                    )
                };
                faults.push(line, format!("scheme `{}`: {what}", id.value), instead);
            }
        }
    }
    schemes
}

fn sectors(file: &RegisterFile, faults: &mut Faults) {
    let (mut uuids, mut names, mut tags) = (
        Unique::new("sector uuid"),
        Unique::new("sector name"),
        Unique::new("sector tag"),
    );
    let known_schemes = References::to("scheme", file.schemes.iter().map(|entry| &entry.id));
    let known_purposes = References::to("purpose", file.purposes.iter().map(|entry| &entry.id));
    let known_authorities =
        References::to("authority", file.authorities.iter().map(|entry| &entry.id));
    for sector in &file.sectors {
        let called = called(sector);
        uuids.note(&sector.uuid, &called, faults);
        names.note(
            &sector.name.as_ref().map(|name| At {
                line: name.line,
                value: name.0.clone(),
            }),
            &called,
            faults,
        );
        tags.note(
            &sector.tag.as_ref().map(|tag| At {
                line: tag.line,
                value: tag.0.clone(),
            }),
            &called,
            faults,
        );
        known_schemes.check_list(&sector.schemes, &called, faults);
        known_purposes.check_list(&sector.purposes, &called, faults);
        known_authorities.check_list(&sector.authorities, &called, faults);
        needed_lists(sector, &called, faults);
        text_forms(sector, &called, faults);
        within(
            &sector.epoch_overlap_days,
            0,
            3650,
            &format!("{called}: `epoch-overlap-days`"),
            faults,
        );
        let least = u64::from(is_true(&sector.reversible));
        within(
            &sector.retention_years,
            least,
            100,
            &format!("{called}: `retention-years`"),
            faults,
        );
        periods(sector, &called, faults);
        dates(sector, &called, faults);
    }
    tree(file, faults);
}

/// A reversible sector has authorities, and one with the granularity `purpose` has purposes.
fn needed_lists(sector: &SectorEntry, called: &str, faults: &mut Faults) {
    if is_true(&sector.reversible) && sector.authorities.is_empty() {
        let what = format!(
            "{called} is reversible and names no authority, so no order could ever open its mappings"
        );
        faults.push(
            sector.line,
            what,
            "authorities = [\"…\"], or reversible = false",
        );
    }
    if is_true(&sector.by_purpose) && sector.purposes.is_empty() {
        let what = format!("{called} has the granularity `purpose` and declares no purpose");
        faults.push(sector.line, what, "purposes = [\"…\"]");
    }
}

/// Former text forms are listed once each, and the present one is not among them.
fn text_forms(sector: &SectorEntry, called: &str, faults: &mut Faults) {
    let mut forms = Unique::new("text form");
    for form in &sector.former_text_forms {
        forms.note(
            &Some(At {
                line: form.line,
                value: form.value as u8,
            }),
            called,
            faults,
        );
        if sector
            .text_form
            .as_ref()
            .is_some_and(|present| present.value == form.value)
        {
            let what = format!("{called} has its present text form among the former ones");
            faults.push(
                form.line,
                what,
                "former-text-forms = [the forms that earlier epochs had, and no other]",
            );
        }
    }
}

fn is_true(found: &MaybeAt<bool>) -> bool {
    found.as_ref().is_some_and(|found| found.value)
}

fn called(sector: &SectorEntry) -> String {
    sector
        .name
        .as_ref()
        .map_or("a sector".into(), |name| format!("sector `{}`", name.0))
}

fn periods(sector: &SectorEntry, called: &str, faults: &mut Faults) {
    let Some(grace) = &sector.period_grace_days else {
        return;
    };
    let most = match sector.period.as_ref().map(|period| period.value) {
        Some(PeriodLength::Month) => 28,
        Some(PeriodLength::Year) => 365,
        None if grace.value > 0 => {
            let what =
                format!("{called} has `period-grace-days` and no `period` in its granularity");
            return faults.push(
                grace.line,
                what,
                "granularity = { period = \"month\" }, or no grace",
            );
        }
        None => return,
    };
    within(
        &sector.period_grace_days,
        0,
        most,
        &format!("{called}: `period-grace-days`"),
        faults,
    );
}

fn dates(sector: &SectorEntry, called: &str, faults: &mut Faults) {
    let Some(declaration) = &sector.declaration else {
        return;
    };
    let Some(received) = &declaration.received else {
        return;
    };
    for (name, date) in [
        ("extended", &declaration.extended),
        ("decided", &declaration.decided),
    ] {
        if let Some(date) = date
            && date.value < received.value
        {
            let what = format!("{called}: `{name}` is before `received`");
            faults.push(
                date.line,
                what,
                format!("{name} = a day from {} on", received.value),
            );
        }
    }
}

/// Parents exist, children are named after them, and no sector is its own ancestor.
fn tree(file: &RegisterFile, faults: &mut Faults) {
    let mut parents: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for sector in &file.sectors {
        if let Some(name) = &sector.name {
            parents
                .entry(&name.0)
                .or_insert(sector.parent.as_ref().map(|parent| parent.0.as_str()));
        }
    }
    let mut in_a_cycle = BTreeSet::new();
    for sector in &file.sectors {
        let Some(name) = &sector.name else { continue };
        let Some(parent) = &sector.parent else {
            if let Some((parent, _)) = name.0.rsplit_once('.') {
                let what = format!("sector `{}` has a dot in its name and no parent", name.0);
                faults.push(
                    name.line,
                    what,
                    format!("parent = \"{parent}\", or a name without a dot"),
                );
            }
            continue;
        };
        if !parents.contains_key(parent.0.as_str()) {
            let known: Vec<&str> = parents.keys().copied().collect();
            let what = format!("sector `{}` has the unknown parent `{}`", name.0, parent.0);
            faults.push(
                parent.line,
                what,
                format!("a sector of this file: {}", known.join(", ")),
            );
            continue;
        }
        let cycle = cycle_through(&name.0, &parents);
        if !cycle.is_empty() {
            if in_a_cycle.insert(name.0.as_str())
                && cycle
                    .iter()
                    .all(|other| *other == name.0 || !in_a_cycle.contains(other))
            {
                let what = format!(
                    "sectors form a cycle: `{}` → `{}`",
                    cycle.join("` → `"),
                    name.0
                );
                faults.push(parent.line, what, "no parent for the topmost of them");
            }
            continue;
        }
        let label = name
            .0
            .strip_prefix(parent.0.as_str())
            .and_then(|rest| rest.strip_prefix('.'));
        if label.is_none_or(|label| label.contains('.')) {
            let own = name.0.rsplit('.').next().unwrap_or(&name.0);
            let what = format!(
                "sector `{}` is not named after its parent `{}`",
                name.0, parent.0
            );
            faults.push(
                name.line,
                what,
                format!("name = \"{}.{own}\", or another parent", parent.0),
            );
        }
    }
}

/// The sectors from `start` upwards until `start` again; empty when that does not happen.
fn cycle_through<'f>(start: &'f str, parents: &BTreeMap<&'f str, Option<&'f str>>) -> Vec<&'f str> {
    let mut way = vec![start];
    let mut at = start;
    while let Some(Some(parent)) = parents.get(at) {
        if *parent == start {
            return way;
        }
        if way.contains(parent) {
            break; // a cycle further up, which its own members report
        }
        way.push(parent);
        at = parent;
    }
    Vec::new()
}

fn clients(file: &RegisterFile, faults: &mut Faults) {
    let organisations = References::to(
        "organisation",
        file.organisations.iter().map(|entry| &entry.id),
    );
    let purposes = References::to("purpose", file.purposes.iter().map(|entry| &entry.id));
    let sectors: BTreeMap<&str, &SectorEntry> = file
        .sectors
        .iter()
        .filter_map(|sector| Some((sector.name.as_ref()?.0.as_str(), sector)))
        .collect();
    for client in &file.clients {
        let called = client
            .id
            .as_ref()
            .map_or("a client".into(), |id| format!("client `{}`", id.value));
        if let Some(organisation) = &client.organisation {
            organisations.check(organisation, &called, faults);
        }
        purposes.check_list(&client.purposes, &called, faults);
        let mut operations = Unique::new("operation");
        for operation in &client.operations {
            operations.note(
                &Some(At {
                    line: operation.line,
                    value: operation.value.as_str(),
                }),
                &called,
                faults,
            );
        }
        migration(client, &called, faults);
        let (usable, all_known) = client_sectors(client, &called, &sectors, faults);
        for purpose in &client.purposes {
            if all_known && purposes.has(&purpose.value) && !usable.contains(&purpose.value) {
                let what = format!(
                    "{called} has the purpose `{}`, which none of its sectors declares",
                    purpose.value
                );
                faults.push(
                    purpose.line,
                    what,
                    "a purpose of one of its sectors, or nothing",
                );
            }
        }
    }
}

/// Checks the sectors of a client; the purposes that these declare, and whether all of them are
/// known.
fn client_sectors<'f>(
    client: &ClientEntry,
    called: &str,
    sectors: &BTreeMap<&str, &'f SectorEntry>,
    faults: &mut Faults,
) -> (BTreeSet<&'f Id>, bool) {
    let mut listed = Unique::new("sector");
    let mut usable = BTreeSet::new();
    let mut all_known = !client.sectors.is_empty(); // else the fault is there already
    for name in &client.sectors {
        listed.note(
            &Some(At {
                line: name.line,
                value: name.0.as_str(),
            }),
            called,
            faults,
        );
        let Some(sector) = sectors.get(name.0.as_str()) else {
            all_known = false;
            let known: Vec<&str> = sectors.keys().copied().collect();
            let what = format!("{called} names the unknown sector `{}`", shown(&name.0));
            faults.push(name.line, what, format!("one of: {}", known.join(", ")));
            continue;
        };
        usable.extend(sector.purposes.iter().map(|purpose| &purpose.value));
        let named = |purpose: &At<Id>| client.purposes.iter().any(|own| own.value == purpose.value);
        if is_true(&sector.by_purpose)
            && !sector.purposes.is_empty()
            && !sector.purposes.iter().any(named)
        {
            let what = format!(
                "{called} has no purpose of sector `{}`, which has the granularity `purpose`",
                name.0
            );
            faults.push(
                client.line,
                what,
                format!("purposes = [\"{}\"]", sector.purposes[0].value),
            );
        }
    }
    (usable, all_known)
}

/// A client that may fetch pairs has a key that they are sealed to, and no other client has one.
fn migration(client: &ClientEntry, called: &str, faults: &mut Faults) {
    let may = client
        .operations
        .iter()
        .find(|operation| operation.value == Operation::Migrate);
    match (may, &client.migration_key) {
        (Some(may), None) if !client.has_migration_key => {
            let what = format!("{called} may `migrate` and has no `migration-key`");
            faults.push(
                may.line,
                what,
                "migration-key = \"…\", as `cloison client keygen` prints it",
            );
        }
        (None, Some(key)) => {
            let what = format!("{called} has a `migration-key` and may not `migrate`");
            faults.push(
                key.line,
                what,
                "operations = [\"tokenize\", \"migrate\"], or no key",
            );
        }
        _ => {}
    }
}

fn rights_officers(file: &RegisterFile, faults: &mut Faults) {
    let known: BTreeSet<&str> = file
        .sectors
        .iter()
        .filter_map(|sector| Some(sector.name.as_ref()?.0.as_str()))
        .collect();
    for officer in &file.rights_officers {
        let called = officer.id.as_ref().map_or("a rights officer".into(), |id| {
            format!("rights officer `{}`", id.value)
        });
        let mut listed = Unique::new("sector");
        for name in &officer.sectors {
            listed.note(
                &Some(At {
                    line: name.line,
                    value: name.0.as_str(),
                }),
                &called,
                faults,
            );
            if !known.contains(name.0.as_str()) {
                let names: Vec<&str> = known.iter().copied().collect();
                let what = format!("{called} names the unknown sector `{}`", shown(&name.0));
                faults.push(name.line, what, format!("one of: {}", names.join(", ")));
            }
        }
    }
}

/// The ids (by which the audit log names actors), certificates and keys of all kinds of actors.
/// Each may belong to one actor only.
struct Actors {
    ids: Unique<Id>,
    certificates: Unique<SpkiDigest>,
    keys: Unique<[u8; 32]>,
}

impl Actors {
    fn key(&mut self, key: &MaybeAt<VerifyingKey>, owner: &str, faults: &mut Faults) {
        let key = key.as_ref().map(|key| At {
            line: key.line,
            value: key.to_bytes(),
        });
        self.keys.note(&key, owner, faults);
    }

    fn system(
        &mut self,
        id: &MaybeAt<Id>,
        certificate: &MaybeAt<SpkiDigest>,
        owner: &str,
        faults: &mut Faults,
    ) {
        self.ids.note(id, owner, faults);
        self.certificates.note(certificate, owner, faults);
    }
}

fn systems_and_persons(
    file: &RegisterFile,
    taken: impl Iterator<Item = VerifyingKey>,
    faults: &mut Faults,
) {
    let mut actors = Actors {
        ids: Unique::new("id"),
        certificates: Unique::new("certificate"),
        keys: Unique::new("key"),
    };
    for key in taken {
        actors
            .keys
            .take(key.to_bytes(), "a holder of a register key");
    }
    let mut sealing = Unique::new("migration key");
    for client in &file.clients {
        let key = client.migration_key.as_ref().map(|key| At {
            line: key.line,
            value: key.0,
        });
        sealing.note(&key, "a client", faults);
        actors.system(&client.id, &client.certificate, "a client", faults);
    }
    for operator in &file.operators {
        actors.system(&operator.id, &operator.certificate, "an operator", faults);
    }
    for auditor in &file.auditors {
        actors.system(&auditor.id, &auditor.certificate, "an auditor", faults);
    }
    for officer in &file.rights_officers {
        actors.system(
            &officer.id,
            &officer.certificate,
            "a rights officer",
            faults,
        );
    }
    for operator in &file.operators {
        actors.key(&operator.key, "an operator", faults);
    }
    for officer in &file.rights_officers {
        actors.key(&officer.key, "a rights officer", faults);
    }
    for witness in &file.witnesses {
        actors.ids.note(&witness.id, "a witness", faults);
        actors.key(&witness.key, "a witness", faults);
    }
    if let Some(vault) = &file.vault {
        actors.key(&vault.checkpoint_key, "the vault's log", faults);
        if let Some(certificate) = &vault.certificate {
            let id = Id::parse(identity::VAULT).map(|value| At {
                line: certificate.line,
                value,
            });
            actors.system(&id, &vault.certificate, "the vault", faults);
        }
    }
    file.authorities
        .iter()
        .for_each(|authority| authority_and_people(authority, &mut actors, faults));
    file.identities
        .iter()
        .for_each(|identity| identity_and_people(identity, &mut actors, faults));
}

fn identity_and_people(identity: &IdentityEntry, actors: &mut Actors, faults: &mut Faults) {
    let called = "an identity source";
    actors.system(&identity.id, &identity.certificate, called, faults);
    actors.key(&identity.checkpoint_key, "an identity source's log", faults);
    for custodian in &identity.custodians {
        actors.system(&custodian.id, &custodian.certificate, "a custodian", faults);
    }
}

fn authority_and_people(authority: &AuthorityEntry, actors: &mut Actors, faults: &mut Faults) {
    // The log names a node by its authority's id, and by it the node is suspended.
    actors.ids.note(&authority.id, "an authority", faults);
    actors
        .certificates
        .note(&authority.node, "an authority's node", faults);
    actors.key(&authority.checkpoint_key, "an authority's log", faults);
    for approver in &authority.approvers {
        actors.ids.note(&approver.id, "an approver", faults);
        actors.key(&approver.key, "an approver", faults);
    }
    for officer in &authority.officers {
        actors.ids.note(&officer.id, "an officer", faults);
        actors.key(&officer.key, "an officer", faults);
        actors
            .certificates
            .note(&officer.certificate, "an officer", faults);
    }
    for custodian in &authority.custodians {
        actors.system(&custodian.id, &custodian.certificate, "a custodian", faults);
    }
}
