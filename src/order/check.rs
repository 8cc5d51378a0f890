//! Checks an order: one step for each rule, in a fixed sequence, so that a refused order always
//! gets the same code.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::payload::{LegalBasis, OrderPayload, PseudonymScope};
use super::{ActiveOrder, FORCE_MAJEURE_HOURS, ListedPseudonyms, LodgeableOrder, Signer};
use crate::code::Code;
use crate::refusal::Refusal;
use crate::register::{Authority, Id, LEAST_BODIES, LEAST_PERSONS, Register, Sector};
use crate::statement::{SignatureCheck, Statement, UnverifiedStatement};

type UnverifiedOrder = UnverifiedStatement<OrderPayload>;

/// The facts that the steps check.
struct OrderFacts<'a> {
    order: UnverifiedOrder,
    signatures: SignatureCheck<Signer>,
    register: &'a Register,
    authority: &'a Authority,
    now: Timestamp,
}

impl<'a> OrderFacts<'a> {
    fn new(
        order: UnverifiedOrder,
        register: &'a Register,
        authority: &'a Authority,
        now: Timestamp,
    ) -> Self {
        Self {
            signatures: signers_of(&order, authority),
            order,
            register,
            authority,
            now,
        }
    }

    fn payload(&self) -> &OrderPayload {
        self.order.says()
    }
}

type OrderStep = fn(&OrderFacts<'_>) -> Result<(), Refusal>;

/// The steps after form, deployment and authority, by the names that `cloison order check` prints.
const STEPS: [(&str, OrderStep); 7] = [
    ("signatures", signatures),
    ("quorum", quorum),
    ("validity", validity),
    ("limit", limit),
    ("sectors", sectors),
    ("officers", officers),
    ("time", time),
];

/// Checks everything about an order that needs no store: form, deployment, authority, signatures,
/// quorum, the register's rules, the time and the pseudonyms listed.
///
/// # Errors
/// The first rule that it breaks, in this order: [`Code::OrderMalformed`], [`Code::OrderAudience`],
/// [`Code::OrderAuthority`], [`Code::OrderSignature`], [`Code::OrderQuorum`], [`Code::OrderRule`],
/// [`Code::UnknownSector`] or [`Code::Irreversible`] or [`Code::OrderAuthority`] (of a sector),
/// [`Code::OrderNotYetValid`], [`Code::OrderExpired`], and the code of a listed text that is not a
/// pseudonym.
pub fn check(text: &str, register: &Register, now: Timestamp) -> Result<ActiveOrder, Refusal> {
    let order = UnverifiedOrder::read(text)?;
    deployment(order.says(), register)?;
    let authority = authority(order.says(), register)?;
    let facts = OrderFacts::new(order, register, authority, now);
    for (_, step) in STEPS {
        step(&facts)?;
    }
    activate(facts)
}

/// How long before it is valid an order may be lodged, in days.
pub const LODGE_DAYS: i64 = 30;

/// Makes the same checks for an order that is lodged before it is used. An order that is not valid
/// yet is checked as of its first valid second, if that is at most [`LODGE_DAYS`] away.
///
/// # Errors
/// As [`check()`].
pub fn check_ahead(
    text: &str,
    register: &Register,
    now: Timestamp,
) -> Result<LodgeableOrder, Refusal> {
    let not_before = UnverifiedOrder::read(text)?.says().not_before;
    let is_near = not_before.duration_since(now) <= SignedDuration::from_hours(24 * LODGE_DAYS);
    let then = if is_near { now.max(not_before) } else { now };
    check(text, register, then).map(LodgeableOrder)
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFinding {
    /// The step's name.
    pub name: &'static str,
    /// Its result; `None` if it was not made because an earlier step that it depends on failed.
    pub result: Option<Result<(), Refusal>>,
}

/// Makes every check of [`check`] and reports each, for people who want to know all that is wrong.
/// It permits nothing.
pub fn examine(text: &str, register: &Register, now: Timestamp) -> Vec<OrderFinding> {
    let mut findings: Vec<OrderFinding> = ["form", "deployment", "authority"]
        .into_iter()
        .chain(STEPS.into_iter().map(|(name, _)| name))
        .chain(["pseudonyms"])
        .map(|name| OrderFinding { name, result: None })
        .collect();
    let mut note = |name, result| {
        let finding = findings.iter_mut().find(|finding| finding.name == name);
        finding.expect("a step has a name").result = Some(result);
    };
    let order = match UnverifiedOrder::read(text) {
        Ok(order) => order,
        Err(refusal) => {
            note("form", Err(refusal));
            return findings;
        }
    };
    note("form", Ok(()));
    judge(order, register, now, note);
    findings
}

/// Checks an order that is still to be signed against the register: returns every rule that it
/// breaks, even if it is not well formed. Signatures and the time are not checked.
pub fn forbidden(
    payload: &OrderPayload,
    register: &Register,
    now: Timestamp,
) -> Vec<(&'static str, Refusal)> {
    let Some(draft) = UnverifiedOrder::unsigned(payload.clone()) else {
        return vec![];
    };
    let mut broken = vec![];
    judge(draft, register, now, |name, result| match result {
        Err(refusal) if !matches!(refusal.code(), Code::OrderQuorum | Code::OrderNotYetValid) => {
            broken.push((name, refusal));
        }
        _ => {}
    });
    broken
}

/// Makes every check after the form, and reports each.
fn judge(
    order: UnverifiedOrder,
    register: &Register,
    now: Timestamp,
    mut note: impl FnMut(&'static str, Result<(), Refusal>),
) {
    note("deployment", deployment(order.says(), register));
    match authority(order.says(), register) {
        Err(refusal) => note("authority", Err(refusal)),
        Ok(authority) => {
            note("authority", Ok(()));
            let facts = OrderFacts::new(order, register, authority, now);
            for (name, step) in STEPS {
                note(name, step(&facts));
            }
            note("pseudonyms", resolve(&facts).map(|_| ()));
        }
    }
}

/// Joins several faults of one kind into one refusal, with the code of the first.
fn all_of(faults: Vec<Refusal>) -> Result<(), Refusal> {
    let Some(first) = faults.first().map(Refusal::code) else {
        return Ok(());
    };
    let whys: Vec<String> = faults.iter().map(Refusal::to_string).collect();
    Err(Refusal::new(first, whys.join("; ")))
}

fn rule(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::OrderRule, why)
}

fn deployment(payload: &OrderPayload, register: &Register) -> Result<(), Refusal> {
    if payload.aud == register.deployment {
        return Ok(());
    }
    Err(Refusal::new(
        Code::OrderAudience,
        "the order is for another deployment",
    ))
}

fn authority<'a>(payload: &OrderPayload, register: &'a Register) -> Result<&'a Authority, Refusal> {
    let authority = register.authorities.get(&payload.authority);
    authority
        .map(Arc::as_ref)
        .ok_or_else(|| Refusal::new(Code::OrderAuthority, "the register knows no such authority"))
}

/// The approvers who signed an order, or an act upon one.
pub(super) fn signers_of<S: Statement>(
    statement: &UnverifiedStatement<S>,
    authority: &Authority,
) -> SignatureCheck<Signer> {
    statement.signatures(|kid| {
        let approver = authority.approvers.get(&Id::parse(kid)?)?;
        Some((Signer::of(approver), &approver.key))
    })
}

/// One bad signature makes the order invalid, even if the others would suffice, because somebody
/// tampered with it.
fn signatures(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    if facts.signatures.bad.is_none() {
        return Ok(());
    }
    Err(Refusal::new(
        Code::OrderSignature,
        "a signature does not verify, or its signer is not an approver of the authority",
    ))
}

fn quorum(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    let persons = &facts.signatures.persons;
    let bodies: BTreeSet<_> = persons.iter().map(|signer| &signer.body).collect();
    let wanted = match facts.payload().basis {
        LegalBasis::ForceMajeure { .. } => facts
            .authority
            .force_majeure_quorum
            .unwrap_or(facts.authority.quorum),
        LegalBasis::Judicial | LegalBasis::Statutory { .. } => facts.authority.quorum,
        LegalBasis::Continuity(_) => facts.authority.continuity_quorum.ok_or_else(|| {
            rule(
                "the register has no `continuity-quorum`: this authority may not order a migration",
            )
        })?,
    };
    enough(persons.len(), bodies.len(), wanted)
}

/// A quorum: `wanted` persons (never fewer than two) of two bodies.
pub(super) fn enough(persons: usize, bodies: usize, wanted: usize) -> Result<(), Refusal> {
    let wanted = wanted.max(LEAST_PERSONS);
    if persons < wanted {
        return Err(Refusal::new(
            Code::OrderQuorum,
            format!("{persons} of {wanted} signatures are there"),
        ));
    }
    if bodies < LEAST_BODIES {
        return Err(Refusal::new(
            Code::OrderQuorum,
            "all signers are of one body; there must be two",
        ));
    }
    Ok(())
}

fn validity(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    let most = match facts.payload().basis {
        LegalBasis::ForceMajeure { .. } => facts.authority.max_hours.min(FORCE_MAJEURE_HOURS),
        LegalBasis::Judicial | LegalBasis::Statutory { .. } | LegalBasis::Continuity(_) => {
            facts.authority.max_hours
        }
    };
    let length = facts
        .payload()
        .not_after
        .duration_since(facts.payload().not_before);
    if length > SignedDuration::from_hours(i64::from(most)) {
        return Err(rule(format!(
            "the order is valid for longer than {most} hours"
        )));
    }
    Ok(())
}

fn limit(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    match (
        &facts.payload().scope,
        &facts.payload().basis,
        facts.authority.statutory_limit,
    ) {
        (PseudonymScope::Listed(_), _, _) => Ok(()),
        // An order for continuity covers an epoch and must have a limit: its form makes sure of
        // both.
        (PseudonymScope::AtMost(_), LegalBasis::Continuity(_), _) => Ok(()),
        (PseudonymScope::AtMost(_), LegalBasis::Statutory { .. }, None) => Err(rule(
            "the register does not allow this authority an order that lists no pseudonyms",
        )),
        (PseudonymScope::AtMost(limit), LegalBasis::Statutory { .. }, Some(most))
            if *limit <= most =>
        {
            Ok(())
        }
        (PseudonymScope::AtMost(_), LegalBasis::Statutory { .. }, Some(most)) => Err(rule(
            format!("the register allows this authority a limit of {most} at most"),
        )),
        (PseudonymScope::AtMost(_), LegalBasis::Judicial | LegalBasis::ForceMajeure { .. }, _) => {
            Err(rule(
                "only a statutory order may have a limit in place of the list of pseudonyms",
            ))
        }
    }
}

fn sectors(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    named(facts).map(|_| ())
}

fn named(facts: &OrderFacts<'_>) -> Result<BTreeMap<String, Arc<Sector>>, Refusal> {
    let (mut sectors, mut faults) = (BTreeMap::new(), vec![]);
    for (number, name) in (1..).zip(&facts.payload().sectors) {
        match open_to(facts, number, name) {
            Ok(sector) => drop(sectors.insert(name.clone(), sector)),
            Err(refusal) => faults.push(refusal),
        }
    }
    all_of(faults).map(|()| sectors)
}

/// The sector that is `number`th in the order, if the authority may have its mappings opened.
fn open_to(facts: &OrderFacts<'_>, number: usize, name: &str) -> Result<Arc<Sector>, Refusal> {
    let Some(sector) = facts.register.sector(name) else {
        return Err(Refusal::new(
            Code::UnknownSector,
            format!("the register does not know sector {number} of the order"),
        ));
    };
    if !sector.reversible {
        return Err(Refusal::new(
            Code::Irreversible,
            format!("sector {name} stores no mapping"),
        ));
    }
    if !sector.authorities.contains(&facts.authority.id) {
        let why = format!("the authority is not competent for sector {name}");
        return Err(Refusal::new(Code::OrderAuthority, why));
    }
    Ok(Arc::clone(sector))
}

fn officers(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    let numbered = (1..).zip(&facts.payload().officers);
    let strangers =
        numbered.filter(|(_, officer)| !facts.authority.officers.contains_key(*officer));
    all_of(
        strangers
            .map(|(number, _)| {
                rule(format!(
                    "officer {number} of the order is none of the authority's"
                ))
            })
            .collect(),
    )
}

/// How far the clock of those who issued an order may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);

fn time(facts: &OrderFacts<'_>) -> Result<(), Refusal> {
    let (from, to) = (facts.payload().not_before, facts.payload().not_after);
    if let Some(issued) = facts.payload().issued
        && issued.duration_since(facts.now) > AHEAD
    {
        return Err(Refusal::new(
            Code::OrderNotYetValid,
            format!("the order says that it was issued at {issued}, which is still to come"),
        ));
    }
    if facts.now < from {
        return Err(Refusal::new(
            Code::OrderNotYetValid,
            format!("the order is valid from {from} on"),
        ));
    }
    if facts.now >= to {
        return Err(Refusal::new(
            Code::OrderExpired,
            format!("the order was valid until {to}"),
        ));
    }
    Ok(())
}

/// The order's sectors and the pseudonyms that it lists, parsed.
fn resolve(
    facts: &OrderFacts<'_>,
) -> Result<(BTreeMap<String, Arc<Sector>>, ListedPseudonyms), Refusal> {
    let sectors = named(facts)?;
    let mut listed = ListedPseudonyms::new();
    if let PseudonymScope::Listed(lists) = &facts.payload().scope {
        for (name, list) in lists {
            // `OrderPayload` is well formed: each list belongs to a sector that the order names.
            let sector = &sectors[name];
            let mut parsed = HashSet::with_capacity(list.len());
            for (index, text) in list.iter().enumerate() {
                let fault = |code| {
                    let number = index + 1;
                    Refusal::new(
                        code,
                        format!(
                            "pseudonym {number} of those listed for sector {name} is none of it"
                        ),
                    )
                };
                parsed.insert(sector.parse_pseudonym(text).map_err(fault)?);
            }
            listed.insert(name.clone(), parsed);
        }
    }
    Ok((sectors, listed))
}

fn activate(facts: OrderFacts<'_>) -> Result<ActiveOrder, Refusal> {
    let (sectors, listed) = resolve(&facts)?;
    let digest = facts.order.digest();
    Ok(ActiveOrder {
        digest,
        payload: facts.order.into_says(),
        signers: facts.signatures.persons,
        sectors,
        listed,
    })
}
