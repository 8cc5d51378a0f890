//! What changed between two registers, and what each change means, in words.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;

use super::{Register, RegisteredClient, Sector, SpkiDigest};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegisterChange {
    /// What changed: `client chu-fes: new, …`.
    pub what: String,
    /// What follows from it, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
}

/// The changes, in the register's order.
#[derive(Default)]
struct Changes(Vec<RegisterChange>);

impl Changes {
    fn plain(&mut self, what: String) {
        self.0.push(RegisterChange { what, means: None });
    }

    fn meaning(&mut self, what: String, means: impl Into<String>) {
        let means = Some(means.into());
        self.0.push(RegisterChange { what, means });
    }

    /// Compares entries of one kind by id, by everything that they say.
    fn entries<'a, T: Debug + 'a>(
        &mut self,
        kind: &str,
        before: impl Iterator<Item = (String, &'a T)>,
        after: impl Iterator<Item = (String, &'a T)>,
    ) {
        let text = |(id, entry): (String, &T)| (id, format!("{entry:?}"));
        let before: BTreeMap<_, _> = before.map(text).collect();
        let after: BTreeMap<_, _> = after.map(text).collect();
        for (id, entry) in &after {
            match before.get(id) {
                None => self.plain(format!("{kind} {id}: new")),
                Some(other) if other != entry => self.plain(format!("{kind} {id}: changed")),
                Some(_) => {}
            }
        }
        for id in before.keys().filter(|id| !after.contains_key(*id)) {
            self.plain(format!("{kind} {id}: taken out"));
        }
    }
}

impl Register {
    /// What `after` changes of this register.
    pub fn difference(&self, after: &Register) -> Vec<RegisterChange> {
        let mut changes = Changes::default();
        if self.deployment != after.deployment {
            changes.meaning(
                format!("deployment: {} → {}", self.deployment, after.deployment),
                "it is a register of another deployment, and every server refuses it",
            );
        }
        organisations(self, after, &mut changes);
        changes.entries("purpose", ids(&self.purposes), ids(&after.purposes));
        sectors(self, after, &mut changes);
        frozen(self, after, &mut changes);
        clients(self, after, &mut changes);
        people(self, after, &mut changes);
        changes.0
    }
}

fn ids<'a, K: ToString + 'a, T>(
    map: &'a BTreeMap<K, T>,
) -> impl Iterator<Item = (String, &'a T)> + 'a {
    map.iter().map(|(id, entry)| (id.to_string(), entry))
}

fn organisations(before: &Register, after: &Register, changes: &mut Changes) {
    for (id, organisation) in &after.organisations {
        let quota = organisation.quota;
        match before.organisations.get(id) {
            None => changes.plain(format!(
                "organisation {id}: new, {} ({} identifiers a second, {} a day)",
                organisation.name, quota.items_per_second, quota.items_per_day
            )),
            Some(was) if was.quota != quota => changes.plain(format!(
                "organisation {id}: {} → {} identifiers a second, {} → {} a day",
                was.quota.items_per_second,
                quota.items_per_second,
                was.quota.items_per_day,
                quota.items_per_day
            )),
            Some(was) if was.name != organisation.name => {
                changes.plain(format!("organisation {id}: another name"));
            }
            Some(_) => {}
        }
    }
    for id in before.organisations.keys() {
        if !after.organisations.contains_key(id) {
            changes.plain(format!("organisation {id}: taken out"));
        }
    }
}

fn sectors(before: &Register, after: &Register, changes: &mut Changes) {
    let of_uuid = |register: &'_ Register, sector: &Sector| {
        let found = register
            .sectors
            .values()
            .find(|own| own.uuid == sector.uuid);
        found.cloned()
    };
    for sector in after.sectors.values() {
        let name = &sector.name;
        let Some(was) = of_uuid(before, sector) else {
            changes.meaning(
                format!("sector {name}: new"),
                "its first epoch opens when the register comes into force; uuid, parent and tag are frozen at first use",
            );
            continue;
        };
        if was.name != *name {
            changes.plain(format!("sector {}: is called {name} now", was.name));
        }
        let terms = |sector: &Sector| (sector.granularity, sector.text_form, sector.reversible);
        if terms(&was) != terms(sector) {
            changes.meaning(
                format!("sector {name}: other granularity, text form or reversibility"),
                format!("it needs a new epoch, all its pseudonyms change: restart the vault once with --advance {name}"),
            );
        }
        if was.authorities != sector.authorities {
            changes.meaning(
                format!("sector {name}: other authorities"),
                "new mappings are sealed to these; those that are stored, after `cloison authority renew`",
            );
        }
        let rest = |sector: &Sector| {
            format!(
                "{:?}",
                (
                    &sector.schemes,
                    &sector.purposes,
                    sector.epoch_overlap_days,
                    sector.period_grace_days,
                    sector.retention_years,
                    &sector.former_text_forms,
                    &sector.declaration,
                )
            )
        };
        if rest(&was) != rest(sector) {
            changes.plain(format!(
                "sector {name}: other schemes, purposes, times or declaration"
            ));
        }
    }
    for sector in before.sectors.values() {
        if of_uuid(after, sector).is_none() {
            changes.meaning(
                format!("sector {}: taken out", sector.name),
                "nobody is answered there any more; what is stored stays",
            );
        }
    }
}

fn frozen(before: &Register, after: &Register, changes: &mut Changes) {
    let stated: BTreeMap<_, _> = after
        .frozen_facts()
        .into_iter()
        .map(|fact| (fact.key, fact.digest))
        .collect();
    for fact in before.frozen_facts() {
        if stated.get(&fact.key) != Some(&fact.digest) {
            changes.meaning(
                format!("{}: changed", fact.key),
                "frozen at first use: where it was used, every server refuses this register",
            );
        }
    }
}

fn clients(before: &Register, after: &Register, changes: &mut Changes) {
    fn by_name(register: &Register) -> BTreeMap<&str, (&SpkiDigest, &RegisteredClient)> {
        let all = register.clients.iter();
        all.map(|(key, client)| (client.id.as_str(), (key, &**client)))
            .collect()
    }
    let (was, is) = (by_name(before), by_name(after));
    for (id, (key, client)) in &is {
        let Some((old_key, old)) = was.get(id) else {
            changes.plain(format!(
                "client {id}: new, of {}, in {}, key {key:?}",
                client.organisation,
                client.sectors.join(", ")
            ));
            continue;
        };
        if old_key != key {
            changes.meaning(
                format!("client {id}: another key, {key:?}"),
                "the key before is refused from its next request on",
            );
        }
        if format!("{old:?}") != format!("{client:?}") {
            changes.plain(format!(
                "client {id}: other organisation, sectors, operations or purposes"
            ));
        }
        if before.key_terms.get(old_key) != after.key_terms.get(key) {
            changes.plain(format!("client {id}: another last day"));
        }
    }
    for id in was.keys().filter(|id| !is.contains_key(*id)) {
        changes.meaning(
            format!("client {id}: taken out"),
            "it is refused from its next request on, on open connections too",
        );
    }
}

fn people(before: &Register, after: &Register, changes: &mut Changes) {
    let operators = |register: &'_ Register| -> Vec<(String, String)> {
        let all = register.operators.iter();
        all.map(|(key, operator)| (operator.id.to_string(), format!("{key:?} {operator:?}")))
            .collect()
    };
    let auditors = |register: &'_ Register| -> Vec<(String, String)> {
        let all = register.auditors.iter();
        all.map(|(key, id)| (id.to_string(), format!("{key:?}")))
            .collect()
    };
    fn pairs(all: &[(String, String)]) -> impl Iterator<Item = (String, &String)> {
        all.iter().map(|(id, says)| (id.clone(), says))
    }
    let (was, is) = (operators(before), operators(after));
    changes.entries("operator", pairs(&was), pairs(&is));
    let (was, is) = (auditors(before), auditors(after));
    changes.entries("auditor", pairs(&was), pairs(&is));
    changes.entries(
        "rights officer",
        ids(&before.rights_officers),
        ids(&after.rights_officers),
    );
    changes.entries("witness", ids(&before.witnesses), ids(&after.witnesses));
    if before.vault_checkpoint_key != after.vault_checkpoint_key {
        changes.meaning(
            "vault: another key for the checkpoints of its log".to_owned(),
            "take this register with a restart of the vault and of every node",
        );
    }
    for (id, authority) in &after.authorities {
        let Some(was) = before.authorities.get(id) else {
            changes.meaning(
                format!("authority {id}: new"),
                "take this register with a restart of the vault",
            );
            continue;
        };
        if format!("{:?}", was.keys) != format!("{:?}", authority.keys) {
            changes.meaning(
                format!("authority {id}: other keys"),
                "new mappings are sealed to these; those that are stored, after `cloison authority renew`",
            );
        }
        let of = |role: &str| format!("{role} of {id}");
        changes.entries(
            &of("approver"),
            ids(&was.approvers),
            ids(&authority.approvers),
        );
        changes.entries(&of("officer"), ids(&was.officers), ids(&authority.officers));
        changes.entries(
            &of("custodian"),
            ids(&was.custodians),
            ids(&authority.custodians),
        );
        let rest = |authority: &super::Authority| {
            format!(
                "{:?}",
                (
                    &authority.name,
                    &authority.node,
                    authority.checkpoint_key,
                    (
                        authority.quorum,
                        authority.force_majeure_quorum,
                        authority.continuity_quorum
                    ),
                    (authority.statutory_limit, authority.max_hours),
                    (authority.releases_per_hour, authority.migrations_per_hour),
                )
            )
        };
        if rest(was) != rest(authority) {
            changes.plain(format!(
                "authority {id}: other name, node, quorums or limits"
            ));
        }
    }
    for id in before.authorities.keys() {
        if !after.authorities.contains_key(id) {
            changes.meaning(
                format!("authority {id}: taken out"),
                "its orders are refused, and nothing is sealed to it; restart the vault",
            );
        }
    }
}
