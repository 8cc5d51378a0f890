//! The use case of an identity source: checks a request of the vault's, counts it, derives, and has
//! it logged. Nothing is answered before its entry is durable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{BARE_ACCOUNT, IdentitySource, migrations_of, rights_of};
use crate::access::VaultPermit;
use crate::audit::{AuditEntry, AuditEvent, UtisDetails, UtisGroup};
use crate::code::Code;
use crate::commit::{DayCount, Job, JobLog, Pending};
use crate::id::hex;
use crate::identifier::Scheme;
use crate::keys::{IdentityCheck, IdentityKeys, Key, Uti};
use crate::quota::{QuotaExceeded, QuotaHolder};
use crate::refusal::Refusal;
use crate::register::{Id, Operation, Register, Sector};
use crate::utis::{AnswerWriter, PartValues, UtiKind, UtiPart, UtiRequest};

/// The most groups in one entry: an entry has at most 16 KiB, and a group less than 600 bytes.
const GROUPS: usize = 24;

/// An answer that goes out once its entries are durable.
pub struct PreparedUtis {
    answer: Zeroizing<Vec<u8>>,
    entries: Vec<Pending>,
    refusals: Vec<Pending>,
}

impl PreparedUtis {
    /// The answer's bytes, once every entry about it is durable.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`]: nothing may be answered then.
    pub async fn durable(self) -> Result<Zeroizing<Vec<u8>>, Code> {
        for entry in self.entries {
            entry.durable().await?;
        }
        for refusal in self.refusals {
            refusal.noted().await?;
        }
        Ok(self.answer)
    }
}

/// What one part of a request comes to.
enum PartAnswer {
    Utis(Vec<Uti>),
    PersonKey(Key),
    Check(IdentityCheck),
    Refused(Refusal),
}

/// A part that the register admits.
struct AdmittedPart<'r> {
    group: UtisGroup,
    account: PartAccount,
    /// What to derive from.
    values: Option<(&'r Arc<Scheme>, PartValues<'r>)>,
}

/// Whose quotas a part is taken out of.
struct PartAccount {
    holder: QuotaHolder,
    /// For a migration, of which nobody here sees the order: the organisations that have to spare
    /// it, too.
    spared_by: Option<BTreeSet<QuotaHolder>>,
}

impl PartAccount {
    fn of(holder: QuotaHolder) -> Self {
        Self {
            holder,
            spared_by: None,
        }
    }
}

/// What a request adds to the log and to the counts.
#[derive(Default)]
struct RequestNotes {
    groups: Vec<UtisGroup>,
    counts: Vec<Arc<DayCount>>,
    alarms: Vec<AuditEvent>,
}

/// Answers a request of the vault's: each part is checked against this source's own register and
/// quotas, and answered or refused by itself.
///
/// # Errors
/// For the request as a whole, of which nothing was counted then: [`Code::MalformedBody`],
/// [`Code::WireVersion`], [`Code::TooLarge`]; [`Code::Sealed`]; [`Code::Overloaded`] and
/// [`Code::AuditUnavailable`] if it cannot be logged.
pub fn derive(
    source: &IdentitySource,
    permit: &VaultPermit,
    body: &[u8],
) -> Result<PreparedUtis, Refusal> {
    let request = UtiRequest::read(body)?;
    let now = source.now();
    if source.safe().is_sealed() {
        return Err(sealed());
    }
    let mut notes = RequestNotes::default();
    let admitted: Vec<_> = request
        .parts
        .iter()
        .map(|part| take(source, part, now, &mut notes))
        .collect();
    let answers = source.safe().open(now, |keys| {
        let keys = keys.first()?;
        let answers = request.parts.iter().zip(admitted);
        let answers = answers.map(|(part, admitted)| answer(keys, part, admitted));
        Some(answers.collect::<Vec<_>>())
    });
    let answers = answers.ok_or_else(sealed)?;
    let digest = UtisDigest::of(&answers);
    let refused = answers.iter().filter_map(PartAnswer::refusal);
    let refused: Vec<_> = refused.map(|refusal| (refusal.code(), permit)).collect();
    let (entries, refusals) = submit(source, notes, digest, &refused, now)?;
    Ok(PreparedUtis {
        answer: write(source, &request, &answers),
        entries,
        refusals,
    })
}

fn sealed() -> Refusal {
    let why = "the identity secret is sealed: its custodians have to bring their shares";
    Refusal::new(Code::Sealed, why).come_back_in(10)
}

// --- checked and counted
// ----------------------------------------------------------------------------------------------

/// Admits a part and takes its values out of the quota.
fn take<'r>(
    source: &'r IdentitySource,
    part: &UtiPart<'r>,
    now: Timestamp,
    notes: &mut RequestNotes,
) -> Result<AdmittedPart<'r>, Refusal> {
    let admitted = admit(source, part)?;
    let (account, items) = (&admitted.account, admitted.group.items);
    notes
        .counts
        .extend(count(source, account, items.max(1), now)?);
    if admitted.values.is_some()
        && let Some((hour, alarm)) = source.usual.add(&account.holder, items, now)
    {
        notes.counts.push(hour);
        notes.alarms.extend(alarm);
    }
    notes.add(admitted.group.clone());
    Ok(admitted)
}

/// Takes values out of the quotas that they count in. Returns the counts to be written.
fn count(
    source: &IdentitySource,
    account: &PartAccount,
    items: u64,
    now: Timestamp,
) -> Result<Vec<Arc<DayCount>>, Refusal> {
    let exceeded = |exceeded: QuotaExceeded| {
        Refusal::from(Code::QuotaExceeded).come_back_in(exceeded.retry_after)
    };
    let taken = source.quotas.take(&account.holder, items, now);
    let taken = taken.map_err(exceeded)?;
    let mut counts = vec![taken.count.clone()];
    if let Some(organisations) = &account.spared_by {
        match source.quotas.take_spare(organisations, items, now) {
            Ok(spared) => counts.extend(spared),
            Err(error) => {
                taken.give_back();
                return Err(exceeded(error));
            }
        }
    }
    Ok(counts)
}

impl RequestNotes {
    /// Parts of one caller in one sector share a group.
    fn add(&mut self, group: UtisGroup) {
        let is_same = |known: &&mut UtisGroup| {
            (known.kind, &known.by, &known.sector, &known.scheme)
                == (group.kind, &group.by, &group.sector, &group.scheme)
        };
        match self.groups.iter_mut().find(is_same) {
            Some(known) => {
                known.requests += group.requests;
                known.items += group.items;
            }
            None => self.groups.push(group),
        }
    }
}

/// Checks a part against the register: who asks may do so, in this sector, with this scheme, and
/// the values are in their one form.
fn admit<'r>(source: &'r IdentitySource, part: &UtiPart<'r>) -> Result<AdmittedPart<'r>, Refusal> {
    let bare = |kind, sector: Option<&Sector>| AdmittedPart {
        group: UtisGroup {
            kind,
            by: None,
            organisation: None,
            sector: sector.map(|sector| sector.name.clone()),
            scheme: None,
            requests: 1,
            items: 0,
        },
        account: PartAccount::of(BARE_ACCOUNT.to_owned()),
        values: None,
    };
    let (kind, sector, by, scheme, values) = match part {
        UtiPart::Probe => return Ok(bare("probe", None)),
        UtiPart::PersonKey(uuid) => {
            return Ok(bare("person-key", Some(sector_of(source, *uuid)?)));
        }
        UtiPart::Values {
            kind,
            sector,
            by,
            scheme,
            values,
        } => (*kind, *sector, by, scheme, *values),
    };
    let sector = sector_of(source, sector)?;
    let (organisation, account) = asker(source, kind, sector, by)?;
    let scheme = sector
        .schemes
        .iter()
        .find(|id| *id == scheme)
        .and_then(|id| source.register().schemes.get(id))
        .ok_or(Code::UnknownScheme)?;
    check_canonical(scheme, values)?;
    Ok(AdmittedPart {
        group: UtisGroup {
            kind: name_of(kind),
            by: Some(by.clone()),
            organisation,
            sector: Some(sector.name.clone()),
            scheme: Some(scheme.id().clone()),
            requests: 1,
            items: values.len() as u64,
        },
        account,
        values: Some((scheme, values)),
    })
}

const fn name_of(kind: UtiKind) -> &'static str {
    match kind {
        UtiKind::Tokenize => "tokenize",
        UtiKind::Migrate => "migrate",
        UtiKind::Reseal => "reseal",
        UtiKind::Rights => "rights",
        UtiKind::Link => "link",
    }
}

fn sector_of(source: &IdentitySource, uuid: Uuid) -> Result<&Sector, Refusal> {
    let mut sectors = source.register().sectors.values();
    let found = sectors.find(|sector| sector.uuid == uuid);
    Ok(found.ok_or(Code::UnknownSector)?)
}

/// Who asks, by this source's own register: a client's organisation, and whose quota is counted.
fn asker(
    source: &IdentitySource,
    kind: UtiKind,
    sector: &Sector,
    by: &Id,
) -> Result<(Option<Id>, PartAccount), Refusal> {
    let register = source.register();
    match kind {
        UtiKind::Tokenize => {
            let mut clients = register.clients.iter();
            let found = clients.find(|(_, client)| client.id == *by);
            let (key, client) = found.ok_or(Code::UnknownClient)?;
            if register.ended(*key, source.latest_time()).is_some() {
                return Err(Code::KeyEnded.into());
            }
            if source.suspended(by.as_str(), *key) {
                return Err(Code::Suspended.into());
            }
            if !client.operations.contains(&Operation::Tokenize)
                || !client.sectors.contains(&sector.name)
            {
                return Err(Code::Forbidden.into());
            }
            let organisation = client.organisation.clone();
            let account = PartAccount::of(organisation.to_string());
            Ok((Some(organisation.clone()), account))
        }
        UtiKind::Migrate => {
            let authority = register.authorities.get(by).ok_or(Code::UnknownClient)?;
            if authority.continuity_quorum.is_none() || !sector.authorities.contains(by) {
                return Err(Code::Forbidden.into());
            }
            let account = PartAccount {
                holder: migrations_of(by),
                spared_by: Some(organisations_of(register, sector)),
            };
            Ok((None, account))
        }
        UtiKind::Reseal | UtiKind::Rights | UtiKind::Link => {
            let officer = register
                .rights_officers
                .get(by)
                .ok_or(Code::UnknownClient)?;
            let key = officer.certificate;
            if register.ended(key, source.latest_time()).is_some() {
                return Err(Code::KeyEnded.into());
            }
            if source.suspended(by.as_str(), key) {
                return Err(Code::Suspended.into());
            }
            if !officer.sectors.contains(&sector.name) {
                return Err(Code::Forbidden.into());
            }
            Ok((None, PartAccount::of(rights_of(by))))
        }
    }
}

/// The organisations whose clients may tokenize in a sector.
fn organisations_of(register: &Register, sector: &Sector) -> BTreeSet<QuotaHolder> {
    let clients = register.clients.values().filter(|client| {
        client.operations.contains(&Operation::Tokenize) && client.sectors.contains(&sector.name)
    });
    clients
        .map(|client| client.organisation.to_string())
        .collect()
}

/// Refuses values that are not in the one form of their scheme: a person would get two UTIs.
fn check_canonical(scheme: &Scheme, values: PartValues<'_>) -> Result<(), Refusal> {
    let mut form = Zeroizing::new(Vec::with_capacity(crate::identifier::MAX_RAW));
    for value in values.iter() {
        form.clear();
        let read = std::str::from_utf8(value).map_err(|_| not_canonical())?;
        scheme
            .canonical(read, &mut form)
            .map_err(|_| not_canonical())?;
        if form.as_slice() != value {
            return Err(not_canonical());
        }
    }
    Ok(())
}

fn not_canonical() -> Refusal {
    Refusal::new(
        Code::MalformedBody,
        "a value is not in the form of its scheme",
    )
}

// --- derived
// ----------------------------------------------------------------------------------------------------------

impl PartAnswer {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

fn answer(
    keys: &IdentityKeys,
    part: &UtiPart<'_>,
    admitted: Result<AdmittedPart<'_>, Refusal>,
) -> PartAnswer {
    match (part, admitted) {
        (_, Err(refusal)) => PartAnswer::Refused(refusal),
        (UtiPart::PersonKey(sector), Ok(_)) => PartAnswer::PersonKey(keys.person_key_of(*sector)),
        (
            _,
            Ok(AdmittedPart {
                values: Some((scheme, values)),
                ..
            }),
        ) => {
            let mut utis = Vec::with_capacity(values.len());
            keys.append_utis(scheme.id().as_str(), values.iter(), &mut utis);
            PartAnswer::Utis(utis)
        }
        (_, Ok(_)) => PartAnswer::Check(keys.check_value()),
    }
}

/// Writes the answer into a buffer that is wiped.
fn write(
    source: &IdentitySource,
    request: &UtiRequest<'_>,
    answers: &[PartAnswer],
) -> Zeroizing<Vec<u8>> {
    let counts = source.counts();
    let mut writer = AnswerWriter::to(request);
    for answer in answers {
        match answer {
            PartAnswer::Utis(utis) => {
                counts
                    .derived
                    .fetch_add(utis.len() as u64, Ordering::Relaxed);
                writer.utis(utis);
            }
            PartAnswer::PersonKey(key) => writer.person_key(key),
            PartAnswer::Check(check) => writer.check(check),
            PartAnswer::Refused(refusal) => {
                counts.refused.fetch_add(1, Ordering::Relaxed);
                writer.refused(refusal);
            }
        }
    }
    writer.finish()
}

// --- logged
// -----------------------------------------------------------------------------------------------------------

/// HMAC-SHA256 over the UTIs answered, under a salt that is stored apart and can be erased.
struct UtisDigest {
    salt: [u8; 16],
    digest: String,
}

impl UtisDigest {
    fn of(answers: &[PartAnswer]) -> Self {
        let salt: [u8; 16] = crate::clock::random();
        let mut mac: Hmac<Sha256> =
            Hmac::new_from_slice(&salt).expect("HMAC takes a key of any length");
        for answer in answers {
            if let PartAnswer::Utis(utis) = answer {
                utis.iter().for_each(|uti| mac.update(uti.expose()));
            }
        }
        let digest = hex(&mac.finalize().into_bytes());
        Self { salt, digest }
    }
}

/// Hands the writer what is to be logged: what was derived, alarms, and refusals, which share
/// entries by the second.
fn submit(
    source: &IdentitySource,
    notes: RequestNotes,
    digest: UtisDigest,
    refused: &[(Code, &VaultPermit)],
    now: Timestamp,
) -> Result<(Vec<Pending>, Vec<Pending>), Refusal> {
    let RequestNotes {
        groups,
        mut counts,
        alarms,
    } = notes;
    let mut jobs = vec![];
    for derived in groups.chunks(GROUPS) {
        let details = UtisDetails {
            derived: derived.to_vec(),
            digest: digest.digest.clone(),
        };
        let entry = AuditEntry::new(now, AuditEvent::Utis(Box::new(details)));
        jobs.push(Job {
            counts: std::mem::take(&mut counts),
            ..Job::new(JobLog::Salted(entry, digest.salt), vec![])
        });
    }
    let alarmed = alarms.len() as u64;
    source.counts().alarms.fetch_add(alarmed, Ordering::Relaxed);
    jobs.extend(
        alarms
            .into_iter()
            .map(|alarm| Job::entry(now, alarm, vec![], vec![])),
    );
    let refusals = refused.iter().map(|(code, permit)| {
        let refusal = JobLog::Refused {
            time: now,
            actor: permit.vault.to_string(),
            operation: "utis",
            code: *code,
        };
        Job::new(refusal, vec![])
    });
    let submit = |job| {
        let submitted = source.committer().submit(job);
        submitted.map_err(|code| Refusal::from(code).come_back_in(1))
    };
    let entries = jobs.into_iter().map(submit).collect::<Result<_, _>>()?;
    Ok((entries, refusals.map(submit).collect::<Result<_, _>>()?))
}
