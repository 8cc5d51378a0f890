//! Shows a register to people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::access::actor;
use crate::identifier::SchemeRules;
use crate::register::{
    Authority, Custodian, Granularity, Id, Organisation, PeriodLength, Register, RegisteredClient,
    RegisteredIdentity, Sector, SpkiDigest,
};

/// One JSON object, whose members have the names of the register's fields.
pub(super) fn json(register: &Register) -> Value {
    json!({
        "deployment": register.deployment,
        "version": register.version,
        "sha256": HEXLOWER.encode(&register.digest),
        "evidence-days": register.evidence_days,
        "organisations": register.organisations.values().map(|organisation| json!({
            "id": organisation.id,
            "name": organisation.name,
            "quota": {
                "items-per-second": organisation.quota.items_per_second,
                "items-per-day": organisation.quota.items_per_day,
            },
        })).collect::<Vec<_>>(),
        "purposes": register.purposes.iter().map(|(id, title)| json!({"id": id, "title": title})).collect::<Vec<_>>(),
        "schemes": register.schemes.values().map(|scheme| {
            let rules = scheme.rules();
            json!({
                "id": rules.id,
                "pattern": rules.pattern,
                "separators": rules.separators,
                "check": rules.check,
                "case": rules.case,
            })
        }).collect::<Vec<_>>(),
        "sectors": register.sectors.values().map(|sector| json!({
            "uuid": sector.uuid,
            "name": sector.name,
            "tag": sector.tag,
            "path": sector.path,
            "granularity": sector.granularity,
            "text-form": sector.text_form,
            "former-text-forms": sector.former_text_forms,
            "reversible": sector.reversible,
            "schemes": sector.schemes,
            "purposes": sector.purposes,
            "authorities": sector.authorities,
            "epoch-overlap-days": sector.epoch_overlap_days,
            "period-grace-days": sector.period_grace_days,
            "retention-years": sector.retention_years,
            "declaration": sector.declaration,
        })).collect::<Vec<_>>(),
        "clients": register.clients.iter().map(|(certificate, client)| json!({
            "id": client.id,
            "organisation": client.organisation,
            "certificate": hex(certificate),
            "until": register.key_terms.get(certificate),
            "sectors": client.sectors,
            "operations": client.operations,
            "migration-key": client.migration_key.map(|key| HEXLOWER.encode(&key)),
            "purposes": client.purposes,
        })).collect::<Vec<_>>(),
        "operators": register.operators.iter().map(|(certificate, operator)| json!({
            "id": operator.id,
            "certificate": hex(certificate),
            "until": register.key_terms.get(certificate),
            "key": operator.key.map(|key| HEXLOWER.encode(key.as_bytes())),
        })).collect::<Vec<_>>(),
        "auditors": register.auditors.iter()
            .map(|(certificate, id)| json!({
                "id": id, "certificate": hex(certificate), "until": register.key_terms.get(certificate),
            })).collect::<Vec<_>>(),
        "witnesses": register.witnesses.iter()
            .map(|(id, key)| json!({"id": id, "key": HEXLOWER.encode(key.as_bytes())})).collect::<Vec<_>>(),
        "vault-checkpoint-key": register.vault_checkpoint_key.map(|key| HEXLOWER.encode(key.as_bytes())),
        "vault": register.vault.as_ref().map(|vault| json!({
            "organisation": vault.organisation,
            "certificate": hex(&vault.certificate),
            "until": register.key_terms.get(&vault.certificate),
        })),
        "identities": register.identities.values().map(|source| identity_source(source, register)).collect::<Vec<_>>(),
        "authorities": register.authorities.values().map(|authority| self::authority(authority, register)).collect::<Vec<_>>(),
    })
}

fn authority(authority: &Authority, register: &Register) -> Value {
    let until = |certificate: &SpkiDigest| register.key_terms.get(certificate);
    json!({
        "id": authority.id,
        "name": authority.name,
        "node": hex(&authority.node),
        "node-until": until(&authority.node),
        "checkpoint-key": authority.checkpoint_key.map(|key| HEXLOWER.encode(key.as_bytes())),
        "quorum": authority.quorum,
        "force-majeure-quorum": authority.force_majeure_quorum,
        "continuity-quorum": authority.continuity_quorum,
        "statutory-limit": authority.statutory_limit,
        "max-hours": authority.max_hours,
        "releases-per-hour": authority.releases_per_hour,
        "migrations-per-hour": authority.migrations_per_hour,
        "keys": authority.keys.iter().map(|key| json!({
            "id": key.id, "suite": key.suite.number(), "public": HEXLOWER.encode(&key.public),
        })).collect::<Vec<_>>(),
        "approvers": authority.approvers.values().map(|approver| json!({
            "id": approver.id, "name": approver.name, "body": approver.body,
            "key": HEXLOWER.encode(approver.key.as_bytes()),
        })).collect::<Vec<_>>(),
        "officers": authority.officers.values().map(|officer| json!({
            "id": officer.id, "name": officer.name, "key": HEXLOWER.encode(officer.key.as_bytes()),
            "certificate": hex(&officer.certificate), "until": until(&officer.certificate),
            "sealing-key": officer.sealing_key,
        })).collect::<Vec<_>>(),
        "custodians": custodians(&authority.custodians, register),
    })
}

fn identity_source(source: &RegisteredIdentity, register: &Register) -> Value {
    json!({
        "id": source.id,
        "organisation": source.organisation,
        "certificate": hex(&source.certificate),
        "until": register.key_terms.get(&source.certificate),
        "checkpoint-key": HEXLOWER.encode(source.checkpoint_key.as_bytes()),
        "share": source.share.as_f64(),
        "custodians": custodians(&source.custodians, register),
    })
}

fn custodians(custodians: &BTreeMap<Id, Custodian>, register: &Register) -> Value {
    let one = |custodian: &Custodian| {
        json!({
            "id": custodian.id, "name": custodian.name, "certificate": hex(&custodian.certificate),
            "until": register.key_terms.get(&custodian.certificate),
        })
    };
    custodians.values().map(one).collect()
}

fn hex(digest: &SpkiDigest) -> String {
    HEXLOWER.encode(&digest.0)
}

/// A page to read; certificates and keys are left to the file and to JSON.
pub(super) fn text(register: &Register) -> String {
    let mut page = format!(
        "deployment {}, version {}\nsha256 {}\n",
        register.deployment,
        register.version,
        HEXLOWER.encode(&register.digest)
    );
    page.push_str("\nSectors\n");
    for sector in register.sectors.values() {
        one_sector(&mut page, sector);
    }
    page.push_str("\nSchemes\n");
    for scheme in register.schemes.values() {
        one_scheme(&mut page, scheme.rules());
    }
    page.push_str("\nOrganisations and their clients\n");
    for organisation in register.organisations.values() {
        one_organisation(&mut page, organisation, register);
    }
    page.push_str("\nAuthorities\n");
    for authority in register.authorities.values() {
        one_authority(&mut page, authority);
    }
    if !register.identities.is_empty() {
        page.push_str("\nIdentity sources\n");
    }
    for source in register.identities.values() {
        one_identity_source(&mut page, source);
    }
    page.push_str("\nOperators\n");
    for operator in register.operators.values() {
        let signs = if operator.key.is_some() {
            ""
        } else {
            " (no key: signs no statement)"
        };
        line(&mut page, 2, format_args!("{}{signs}", operator.id));
    }
    for (title, ids) in [
        ("Auditors", register.auditors.values().collect::<Vec<_>>()),
        ("Witnesses", register.witnesses.keys().collect()),
    ] {
        if !ids.is_empty() {
            let _ = writeln!(page, "\n{title}");
            ids.iter().for_each(|id| line(&mut page, 2, id));
        }
    }
    if !register.key_terms.is_empty() {
        page.push_str("\nEntries with a last day (UTC)\n");
        for (certificate, until) in &register.key_terms {
            let holder = actor(register, *certificate);
            line(&mut page, 2, format_args!("{holder}: {until}"));
        }
    }
    page.truncate(page.trim_end().len());
    page
}

fn line(page: &mut String, indent: usize, text: impl Display) {
    let _ = writeln!(page, "{:indent$}{text}", ""); // writing to a String cannot fail
}

fn list(before: &str, ids: &[Id]) -> String {
    match ids {
        [] => String::new(),
        ids => format!(
            "{before}{}",
            ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn one_scheme(page: &mut String, rules: &SchemeRules) {
    line(
        page,
        2,
        format_args!(
            "{}: {}, without {:?}, check digit {}, case {}",
            rules.id,
            rules.pattern,
            rules.separators,
            rules.check.as_str(),
            rules.case.as_str()
        ),
    );
}

/// An organisation, and below it its clients by id.
fn one_organisation(page: &mut String, organisation: &Organisation, register: &Register) {
    let quota = organisation.quota;
    line(
        page,
        2,
        format_args!(
            "{}: {}; {} items a second, {} a day",
            organisation.id, organisation.name, quota.items_per_second, quota.items_per_day
        ),
    );
    let mut clients: Vec<&RegisteredClient> =
        register.clients.values().map(AsRef::as_ref).collect();
    clients.retain(|client| client.organisation == organisation.id);
    clients.sort_by(|one, other| one.id.cmp(&other.id));
    for client in clients {
        let operations: Vec<&str> = client
            .operations
            .iter()
            .map(|operation| operation.as_str())
            .collect();
        line(
            page,
            4,
            format_args!(
                "{}: {} in {}{}",
                client.id,
                operations.join(", "),
                client.sectors.join(", "),
                list("; purposes ", &client.purposes)
            ),
        );
    }
}

fn one_sector(page: &mut String, sector: &Sector) {
    let form = sector.text_form.as_str();
    let indent = 2 * sector.path.len(); // the names sort so that a child follows its parent
    line(
        page,
        indent,
        format_args!(
            "{}: tag {}, {form}, {}, uuid {}",
            sector.name,
            sector.tag,
            granularity(sector.granularity),
            sector.uuid
        ),
    );
    let back = if sector.reversible {
        format!(
            "reversible by {}, kept {} years",
            list("", &sector.authorities),
            sector.retention_years
        )
    } else {
        "irreversible: no mapping is stored".to_owned()
    };
    line(
        page,
        indent + 4,
        format_args!(
            "{back}; schemes {}{}",
            list("", &sector.schemes),
            list("; purposes ", &sector.purposes)
        ),
    );
    let declaration = &sector.declaration;
    line(
        page,
        indent + 4,
        format_args!(
            "declared by {}: {}",
            declaration.controller, declaration.purpose
        ),
    );
}

fn granularity(granularity: Granularity) -> String {
    let mut parts = Vec::new();
    if granularity.controller {
        parts.push("controller");
    }
    if granularity.purpose {
        parts.push("purpose");
    }
    match granularity.period {
        Some(PeriodLength::Year) => parts.push("year"),
        Some(PeriodLength::Month) => parts.push("month"),
        None => {}
    }
    if parts.is_empty() {
        "one pseudonym a person".into()
    } else {
        format!("one a person and {}", parts.join(", "))
    }
}

fn one_authority(page: &mut String, authority: &Authority) {
    line(
        page,
        2,
        format_args!(
            "{}: {}; {} of {} approvers, at most {} hours, at most {} pseudonyms an hour",
            authority.id,
            authority.name,
            authority.quorum,
            authority.approvers.len(),
            authority.max_hours,
            authority.releases_per_hour
        ),
    );
    if let Some(quorum) = authority.force_majeure_quorum {
        line(page, 6, format_args!("force majeure: {quorum} approvers"));
    }
    if let Some(quorum) = authority.continuity_quorum {
        let most = authority.migrations_per_hour;
        line(
            page,
            6,
            format_args!("continuity: {quorum} approvers, at most {most} mappings an hour"),
        );
    }
    if let Some(limit) = authority.statutory_limit {
        line(
            page,
            6,
            format_args!("statutory orders may leave open which pseudonyms: at most {limit}"),
        );
    }
    let keys: Vec<&str> = authority.keys.iter().map(|key| key.id.as_str()).collect();
    line(page, 6, format_args!("keys: {}", keys.join(", ")));
    for approver in authority.approvers.values() {
        line(
            page,
            6,
            format_args!(
                "approver {}: {}, of {}",
                approver.id, approver.name, approver.body
            ),
        );
    }
    for officer in authority.officers.values() {
        line(
            page,
            6,
            format_args!("officer {}: {}", officer.id, officer.name),
        );
    }
    name_custodians(page, &authority.custodians);
}

fn one_identity_source(page: &mut String, source: &RegisteredIdentity) {
    let share = source.share.as_f64();
    line(
        page,
        2,
        format_args!(
            "{}: run by {}, counts {share} of every quota",
            source.id, source.organisation
        ),
    );
    name_custodians(page, &source.custodians);
}

fn name_custodians(page: &mut String, custodians: &BTreeMap<Id, Custodian>) {
    for custodian in custodians.values() {
        line(
            page,
            6,
            format_args!("custodian {}: {}", custodian.id, custodian.name),
        );
    }
}
