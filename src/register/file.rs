//! The content of a register file, entry by entry: its fields, each with its line. Nothing here
//! compares two entries; that is [`super::validate`]'s work. A field that could not be read is
//! `None`, and its fault is already noted.

use ed25519_dalek::VerifyingKey;
use jiff::civil::Date;
use toml::de::DeTable;
use uuid::Uuid;

use super::read::{At, Faults, TomlField, TomlTable};
use super::value::{
    AgeRecipient, CountryCode, DottedName, MigrationPublicKey, PlainText, SealingKey, SectorTag,
    UncheckedText,
};
use super::{DeclarationDecision, Id, Operation, PeriodLength, QuotaShare, SpkiDigest, TextForm};
use crate::identifier::{CheckDigit, LetterCase};

/// A field, if it could be read.
pub(super) type MaybeAt<T> = Option<At<T>>;

/// Pseudonyms that an authority may ask for in an hour, if the register does not say: more than
/// a court needs; at this rate, a whole country would take weeks.
const RELEASES_PER_HOUR: u64 = 100_000;
/// Mappings that an authority may migrate in an hour, if the register does not say. No person
/// sees an identifier then.
const MIGRATIONS_PER_HOUR: u64 = 10_000_000;
/// Days for which tags are evidence, if the register does not say: a yearly inspection still
/// finds the traces of the year before.
const EVIDENCE_DAYS: u64 = 365;

pub(super) struct RegisterFile {
    pub(super) deployment: MaybeAt<Id>,
    pub(super) version: MaybeAt<u64>,
    pub(super) evidence_days: MaybeAt<u64>,
    pub(super) organisations: Vec<OrganisationEntry>,
    pub(super) purposes: Vec<PurposeEntry>,
    pub(super) schemes: Vec<SchemeEntry>,
    pub(super) sectors: Vec<SectorEntry>,
    pub(super) clients: Vec<ClientEntry>,
    pub(super) operators: Vec<OperatorEntry>,
    pub(super) auditors: Vec<AuditorEntry>,
    pub(super) rights_officers: Vec<RightsOfficerEntry>,
    pub(super) witnesses: Vec<WitnessEntry>,
    pub(super) vault: Option<VaultEntry>,
    pub(super) authorities: Vec<AuthorityEntry>,
    pub(super) identities: Vec<IdentityEntry>,
}

pub(super) struct OrganisationEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) items_per_second: MaybeAt<u64>,
    pub(super) items_per_day: MaybeAt<u64>,
}

pub(super) struct PurposeEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) title: MaybeAt<PlainText>,
}

pub(super) struct SchemeEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) pattern: MaybeAt<UncheckedText>,
    pub(super) separators: MaybeAt<UncheckedText>,
    pub(super) check: MaybeAt<CheckDigit>,
    pub(super) case: MaybeAt<LetterCase>,
}

pub(super) struct SectorEntry {
    pub(super) line: usize,
    pub(super) uuid: MaybeAt<Uuid>,
    pub(super) name: MaybeAt<DottedName>,
    pub(super) tag: MaybeAt<SectorTag>,
    pub(super) parent: MaybeAt<DottedName>,
    pub(super) by_controller: MaybeAt<bool>,
    pub(super) by_purpose: MaybeAt<bool>,
    pub(super) period: MaybeAt<PeriodLength>,
    pub(super) text_form: MaybeAt<TextForm>,
    pub(super) former_text_forms: Vec<At<TextForm>>,
    pub(super) reversible: MaybeAt<bool>,
    pub(super) schemes: Vec<At<Id>>,
    pub(super) purposes: Vec<At<Id>>,
    pub(super) authorities: Vec<At<Id>>,
    pub(super) epoch_overlap_days: MaybeAt<u64>,
    pub(super) period_grace_days: MaybeAt<u64>,
    pub(super) retention_years: MaybeAt<u64>,
    pub(super) declaration: Option<DeclarationEntry>,
}

pub(super) struct DeclarationEntry {
    pub(super) controller: MaybeAt<PlainText>,
    pub(super) purpose: MaybeAt<PlainText>,
    pub(super) persons: MaybeAt<PlainText>,
    pub(super) data: MaybeAt<PlainText>,
    pub(super) recipients: Vec<At<PlainText>>,
    pub(super) transfers: Vec<At<CountryCode>>,
    pub(super) received: MaybeAt<Date>,
    pub(super) extended: MaybeAt<Date>,
    pub(super) decided: MaybeAt<Date>,
    pub(super) decision: MaybeAt<DeclarationDecision>,
}

pub(super) struct ClientEntry {
    pub(super) line: usize,
    pub(super) id: MaybeAt<Id>,
    pub(super) organisation: MaybeAt<Id>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
    pub(super) sectors: Vec<At<DottedName>>,
    pub(super) operations: Vec<At<Operation>>,
    pub(super) purposes: Vec<At<Id>>,
    pub(super) migration_key: MaybeAt<MigrationPublicKey>,
    /// Whether the field is there, readable or not.
    pub(super) has_migration_key: bool,
}

pub(super) struct OperatorEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
    pub(super) key: MaybeAt<VerifyingKey>,
}

pub(super) struct AuditorEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
}

pub(super) struct RightsOfficerEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) key: MaybeAt<VerifyingKey>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
    pub(super) sectors: Vec<At<DottedName>>,
}

pub(super) struct WitnessEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) key: MaybeAt<VerifyingKey>,
}

pub(super) struct VaultEntry {
    pub(super) checkpoint_key: MaybeAt<VerifyingKey>,
    pub(super) organisation: MaybeAt<Id>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
}

pub(super) struct IdentityEntry {
    pub(super) line: usize,
    pub(super) id: MaybeAt<Id>,
    pub(super) organisation: MaybeAt<Id>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
    pub(super) checkpoint_key: MaybeAt<VerifyingKey>,
    pub(super) share: MaybeAt<QuotaShare>,
    /// Whether the field is there, readable or not.
    pub(super) has_share: bool,
    pub(super) custodians: Vec<CustodianEntry>,
}

pub(super) struct AuthorityEntry {
    pub(super) line: usize,
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) node: MaybeAt<SpkiDigest>,
    pub(super) node_until: MaybeAt<Date>,
    pub(super) checkpoint_key: MaybeAt<VerifyingKey>,
    pub(super) quorum: MaybeAt<u64>,
    pub(super) force_majeure_quorum: MaybeAt<u64>,
    pub(super) continuity_quorum: MaybeAt<u64>,
    pub(super) statutory_limit: MaybeAt<u64>,
    pub(super) max_hours: MaybeAt<u64>,
    pub(super) releases_per_hour: MaybeAt<u64>,
    pub(super) migrations_per_hour: MaybeAt<u64>,
    pub(super) keys: Vec<KeyEntry>,
    pub(super) approvers: Vec<ApproverEntry>,
    pub(super) officers: Vec<OfficerEntry>,
    pub(super) custodians: Vec<CustodianEntry>,
}

pub(super) struct CustodianEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
}

pub(super) struct KeyEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) suite: MaybeAt<u64>,
    pub(super) public: MaybeAt<SealingKey>,
}

pub(super) struct ApproverEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) body: MaybeAt<Id>,
    pub(super) key: MaybeAt<VerifyingKey>,
}

pub(super) struct OfficerEntry {
    pub(super) id: MaybeAt<Id>,
    pub(super) name: MaybeAt<PlainText>,
    pub(super) key: MaybeAt<VerifyingKey>,
    pub(super) certificate: MaybeAt<SpkiDigest>,
    pub(super) until: MaybeAt<Date>,
    pub(super) sealing_key: MaybeAt<AgeRecipient>,
}

impl RegisterFile {
    /// Each certificate's key of the file, with the last day on which its entry is in force.
    pub(super) fn key_terms(&self) -> impl Iterator<Item = (&MaybeAt<SpkiDigest>, &MaybeAt<Date>)> {
        let clients = self
            .clients
            .iter()
            .map(|one| (&one.certificate, &one.until));
        let operators = self
            .operators
            .iter()
            .map(|one| (&one.certificate, &one.until));
        let auditors = self
            .auditors
            .iter()
            .map(|one| (&one.certificate, &one.until));
        let rights = self
            .rights_officers
            .iter()
            .map(|one| (&one.certificate, &one.until));
        let authorities = self.authorities.iter().flat_map(|authority| {
            let officers = authority
                .officers
                .iter()
                .map(|one| (&one.certificate, &one.until));
            let custodians = authority
                .custodians
                .iter()
                .map(|one| (&one.certificate, &one.until));
            std::iter::once((&authority.node, &authority.node_until))
                .chain(officers)
                .chain(custodians)
        });
        let vault = self.vault.iter().map(|one| (&one.certificate, &one.until));
        let identities = self.identities.iter().flat_map(|identity| {
            let custodians = identity.custodians.iter();
            std::iter::once((&identity.certificate, &identity.until))
                .chain(custodians.map(|one| (&one.certificate, &one.until)))
        });
        clients
            .chain(operators)
            .chain(auditors)
            .chain(rights)
            .chain(authorities)
            .chain(vault)
            .chain(identities)
    }
}

/// Reads the file. Wrong values and missing or unknown fields go to `faults`. So does a syntax
/// error, after which the rest could only be guessed: the result is then `None`.
pub(super) fn read(text: &str, faults: &mut Faults) -> Option<RegisterFile> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map_or(1, |span| faults.line(&span));
        faults.push(
            line,
            format!("not TOML: {}", error.message().replace('\n', " ")),
            "valid TOML",
        );
    }
    if faults.count() > 0 {
        return None;
    }
    let mut table = TomlTable::new("", 1, document.get_ref());
    let file = RegisterFile {
        deployment: table.required("deployment", faults),
        version: table.required("version", faults),
        evidence_days: table.or("evidence-days", EVIDENCE_DAYS, faults),
        organisations: each(&mut table, "organisation", "id", faults, organisation),
        purposes: each(&mut table, "purpose", "id", faults, purpose),
        schemes: each(&mut table, "scheme", "id", faults, scheme),
        sectors: each(&mut table, "sector", "name", faults, sector),
        clients: each(&mut table, "client", "id", faults, client),
        operators: each(&mut table, "operator", "id", faults, operator),
        auditors: each(&mut table, "auditor", "id", faults, auditor),
        rights_officers: each(&mut table, "rights-officer", "id", faults, rights_officer),
        witnesses: each(&mut table, "witness", "id", faults, witness),
        vault: table.table("vault", faults).map(|mut vault| {
            let entry = VaultEntry {
                checkpoint_key: vault.required("checkpoint-key", faults),
                organisation: vault.optional("organisation", faults),
                certificate: vault.optional("certificate", faults),
                until: vault.optional("until", faults),
            };
            vault.finish(faults);
            entry
        }),
        authorities: each(&mut table, "authority", "id", faults, authority),
        identities: each(&mut table, "identity", "id", faults, identity),
    };
    table.finish(faults);
    Some(file)
}

/// Reads each `[[name]]` and closes it.
fn each<'t, 'i, E>(
    table: &mut TomlTable<'t, 'i>,
    name: &'static str,
    key: &str,
    faults: &mut Faults,
    read: impl Fn(&mut TomlTable<'t, 'i>, &mut Faults) -> E,
) -> Vec<E> {
    let mut entries = Vec::new();
    for mut inner in table.tables(name, key, faults) {
        entries.push(read(&mut inner, faults));
        inner.finish(faults);
    }
    entries
}

/// A list that may not be absent or empty.
fn needed_list<T: TomlField>(
    table: &mut TomlTable<'_, '_>,
    name: &'static str,
    faults: &mut Faults,
) -> Vec<At<T>> {
    let before = faults.count();
    let list = table.list(name, faults);
    if list.is_empty() && faults.count() == before {
        let what = format!("{} has no `{name}`", table.called());
        let line = table.line_of(name, faults);
        faults.push(line, what, format!("{name} = [{}]", T::EXAMPLE));
    }
    list
}

fn organisation(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> OrganisationEntry {
    let (id, name) = (table.required("id", faults), table.required("name", faults));
    let (mut items_per_second, mut items_per_day) = (None, None);
    if !table.has("quota") {
        table.missing(
            "quota",
            "{ items-per-second = 1000, items-per-day = 1000000 }",
            faults,
        );
    }
    if let Some(mut quota) = table.table("quota", faults) {
        items_per_second = quota.required("items-per-second", faults);
        items_per_day = quota.required("items-per-day", faults);
        quota.finish(faults);
    }
    OrganisationEntry {
        id,
        name,
        items_per_second,
        items_per_day,
    }
}

fn purpose(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> PurposeEntry {
    PurposeEntry {
        id: table.required("id", faults),
        title: table.required("title", faults),
    }
}

fn scheme(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> SchemeEntry {
    SchemeEntry {
        id: table.required("id", faults),
        pattern: table.required("pattern", faults),
        separators: table.or("separators", UncheckedText(String::new()), faults),
        check: table.or("check", CheckDigit::None, faults),
        case: table.or("case", LetterCase::Fold, faults),
    }
}

fn client(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> ClientEntry {
    ClientEntry {
        line: table.line,
        id: table.required("id", faults),
        organisation: table.required("organisation", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
        sectors: needed_list(table, "sectors", faults),
        operations: needed_list(table, "operations", faults),
        purposes: table.list("purposes", faults),
        has_migration_key: table.has("migration-key"),
        migration_key: table.optional("migration-key", faults),
    }
}

fn operator(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> OperatorEntry {
    OperatorEntry {
        id: table.required("id", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
        key: table.optional("key", faults),
    }
}

fn auditor(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> AuditorEntry {
    AuditorEntry {
        id: table.required("id", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
    }
}

fn rights_officer(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> RightsOfficerEntry {
    RightsOfficerEntry {
        id: table.required("id", faults),
        name: table.required("name", faults),
        key: table.required("key", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
        sectors: needed_list(table, "sectors", faults),
    }
}

fn witness(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> WitnessEntry {
    WitnessEntry {
        id: table.required("id", faults),
        key: table.required("key", faults),
    }
}

fn sector(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> SectorEntry {
    let no = At {
        line: table.line,
        value: false,
    };
    let (mut by_controller, mut by_purpose, mut period) = (Some(no.clone()), Some(no), None);
    let mut period_known = true;
    if let Some(mut granularity) = table.table("granularity", faults) {
        by_controller = granularity.or("controller", false, faults);
        by_purpose = granularity.or("purpose", false, faults);
        period = granularity.optional("period", faults);
        period_known = period.is_some() || !granularity.has("period");
        granularity.finish(faults);
    }
    let reversible = table.required("reversible", faults);
    // Without mappings there is nothing to keep, so no retention is stated.
    let kept = reversible
        .as_ref()
        .is_none_or(|reversible: &At<bool>| reversible.value);
    let entry = SectorEntry {
        line: table.line,
        uuid: table.required("uuid", faults),
        name: table.required("name", faults),
        tag: table.required("tag", faults),
        parent: table.optional("parent", faults),
        by_controller,
        by_purpose,
        period,
        text_form: table.or("text-form", TextForm::Bech32m, faults),
        former_text_forms: table.list("former-text-forms", faults),
        reversible,
        schemes: needed_list(table, "schemes", faults),
        purposes: table.list("purposes", faults),
        authorities: table.list("authorities", faults),
        epoch_overlap_days: table.or("epoch-overlap-days", 0, faults),
        // Where the period is unknown, its grace cannot be judged.
        period_grace_days: table
            .or("period-grace-days", 0, faults)
            .filter(|_| period_known),
        retention_years: if kept {
            table.required("retention-years", faults)
        } else {
            table.or("retention-years", 0, faults)
        },
        declaration: None,
    };
    if !table.has("declaration") {
        let what = format!(
            "{} has no declaration (decree 2-09-165, art. 27)",
            table.called()
        );
        faults.push(
            table.line,
            what,
            "[sector.declaration] with controller, purpose, persons, data, received, decided, decision",
        );
    }
    let declaration = table.table("declaration", faults).map(|mut inner| {
        let entry = declaration(&mut inner, faults);
        inner.finish(faults);
        entry
    });
    SectorEntry {
        declaration,
        ..entry
    }
}

fn declaration(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> DeclarationEntry {
    DeclarationEntry {
        controller: table.required("controller", faults),
        purpose: table.required("purpose", faults),
        persons: table.required("persons", faults),
        data: table.required("data", faults),
        recipients: table.list("recipients", faults),
        transfers: table.list("transfers", faults),
        received: table.required("received", faults),
        extended: table.optional("extended", faults),
        decided: table.required("decided", faults),
        decision: table.required("decision", faults),
    }
}

fn authority(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> AuthorityEntry {
    AuthorityEntry {
        line: table.line,
        id: table.required("id", faults),
        name: table.required("name", faults),
        node: table.required("node", faults),
        node_until: table.optional("node-until", faults),
        checkpoint_key: table.optional("checkpoint-key", faults),
        quorum: table.required("quorum", faults),
        force_majeure_quorum: table.optional("force-majeure-quorum", faults),
        continuity_quorum: table.optional("continuity-quorum", faults),
        statutory_limit: table.optional("statutory-limit", faults),
        max_hours: table.required("max-hours", faults),
        releases_per_hour: table.or("releases-per-hour", RELEASES_PER_HOUR, faults),
        migrations_per_hour: table.or("migrations-per-hour", MIGRATIONS_PER_HOUR, faults),
        keys: each(table, "key", "id", faults, |table, faults| KeyEntry {
            id: table.required("id", faults),
            suite: table.required("suite", faults),
            public: table.required("public", faults),
        }),
        approvers: each(table, "approver", "id", faults, |table, faults| {
            ApproverEntry {
                id: table.required("id", faults),
                name: table.required("name", faults),
                body: table.required("body", faults),
                key: table.required("key", faults),
            }
        }),
        officers: each(table, "officer", "id", faults, |table, faults| {
            OfficerEntry {
                id: table.required("id", faults),
                name: table.required("name", faults),
                key: table.required("key", faults),
                certificate: table.required("certificate", faults),
                until: table.optional("until", faults),
                sealing_key: table.optional("sealing-key", faults),
            }
        }),
        custodians: each(table, "custodian", "id", faults, custodian),
    }
}

fn identity(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> IdentityEntry {
    IdentityEntry {
        line: table.line,
        id: table.required("id", faults),
        organisation: table.required("organisation", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
        checkpoint_key: table.required("checkpoint-key", faults),
        has_share: table.has("share"),
        share: table.or("share", QuotaShare::WHOLE, faults),
        custodians: each(table, "custodian", "id", faults, custodian),
    }
}

fn custodian(table: &mut TomlTable<'_, '_>, faults: &mut Faults) -> CustodianEntry {
    CustodianEntry {
        id: table.required("id", faults),
        name: table.required("name", faults),
        certificate: table.required("certificate", faults),
        until: table.optional("until", faults),
    }
}
