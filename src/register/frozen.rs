//! The facts that must not change after their first use, because pseudonyms derive from
//! them. The store keeps the digest of each fact from its first use on, and a register that states
//! it differently is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::file::RegisterFile;
use super::read::At;
use super::{Fault, Id, Register};
use crate::identifier::{LetterCase, Scheme};

/// One frozen fact of a register.
///
/// | key | the value under the digest |
/// |---|---|
/// | `sector/UUID/parent` | the parent's UUID, empty for a top-level sector |
/// | `sector/UUID/tag` | the tag |
/// | `tag/TAG` | the UUID of the sector that has it: so a sector's own UUID cannot change unnoticed |
/// | `organisation/ID`, `purpose/CODE` | nothing but the key: it must stay there |
/// | `scheme/ID` | pattern, separators in ascending order, check digit; then `keep`, if the case of letters is kept |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenFact {
    /// The key; see the table.
    pub key: String,
    /// SHA-256 over LP(key) and LP(each value).
    pub digest: [u8; 32],
    /// The line of the register file that states it (from 1).
    pub line: usize,
}

impl FrozenFact {
    fn new(key: String, values: &[&[u8]], line: usize) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(key.as_bytes()).chain(values.iter().copied()) {
            // A pattern may be longer than a two-byte length can state, so this LP has an
            // eight-byte length.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        FrozenFact {
            key,
            digest: hash.finalize().into(),
            line,
        }
    }
}

/// The facts of a register. `None` only where a field is missing, which reading has already
/// reported.
pub(super) fn facts(
    file: &RegisterFile,
    schemes: &BTreeMap<Id, Arc<Scheme>>,
) -> Option<Vec<FrozenFact>> {
    let mut facts = sector_facts(file)?;
    for id in file.organisations.iter().map(|entry| &entry.id) {
        let id = id.as_ref()?;
        facts.push(FrozenFact::new(
            format!("organisation/{}", id.value),
            &[],
            id.line,
        ));
    }
    for id in file.purposes.iter().map(|entry| &entry.id) {
        let id = id.as_ref()?;
        facts.push(FrozenFact::new(
            format!("purpose/{}", id.value),
            &[],
            id.line,
        ));
    }
    for entry in &file.schemes {
        facts.push(scheme_fact(entry.id.as_ref()?, schemes)?);
    }
    Some(facts)
}

fn sector_facts(file: &RegisterFile) -> Option<Vec<FrozenFact>> {
    let mut facts = Vec::new();
    let mut uuids = BTreeMap::new();
    for sector in &file.sectors {
        uuids.insert(
            sector.name.as_ref()?.0.as_str(),
            sector.uuid.as_ref()?.value,
        );
    }
    for sector in &file.sectors {
        let (uuid, tag) = (sector.uuid.as_ref()?, sector.tag.as_ref()?);
        let (parent, parent_line) = match &sector.parent {
            Some(parent) => (Some(uuids.get(parent.0.as_str())?), parent.line),
            None => (None, sector.line),
        };
        let parent_bytes: &[u8] = parent.map_or(&[], |parent| parent.as_bytes());
        facts.push(FrozenFact::new(
            format!("sector/{}/parent", uuid.value),
            &[parent_bytes],
            parent_line,
        ));
        facts.push(FrozenFact::new(
            format!("sector/{}/tag", uuid.value),
            &[tag.0.as_bytes()],
            tag.line,
        ));
        facts.push(FrozenFact::new(
            format!("tag/{}", tag.0),
            &[uuid.value.as_bytes()],
            uuid.line,
        ));
    }
    Some(facts)
}

fn scheme_fact(id: &At<Id>, schemes: &BTreeMap<Id, Arc<Scheme>>) -> Option<FrozenFact> {
    let rules = schemes.get(&id.value)?.rules();
    let mut values = vec![
        rules.pattern.as_bytes(),
        rules.separators.as_bytes(),
        rules.check.as_str().as_bytes(),
    ];
    // `fold` adds nothing: schemes were frozen so before there was a choice.
    if rules.case == LetterCase::Keep {
        values.push(rules.case.as_str().as_bytes());
    }
    Some(FrozenFact::new(
        format!("scheme/{}", rules.id),
        &values,
        id.line,
    ))
}

impl Register {
    /// All facts of this register that must not change after their first use.
    pub fn frozen_facts(&self) -> Vec<FrozenFact> {
        self.frozen.clone()
    }

    /// The keys of the facts that are used when `sector` takes identifiers of `scheme` from
    /// `organisation` for `purpose`: those of the sector and of every sector above it, of the
    /// scheme, and of the granularity values that it derives from.
    pub fn facts_used_by(
        &self,
        sector: &super::Sector,
        scheme: &Id,
        organisation: &Id,
        purpose: Option<&Id>,
    ) -> Vec<String> {
        let mut keys = vec![format!("scheme/{scheme}")];
        for above in self
            .sectors
            .values()
            .filter(|other| sector.path.contains(&other.uuid))
        {
            keys.push(format!("sector/{}/parent", above.uuid));
            keys.push(format!("sector/{}/tag", above.uuid));
            keys.push(format!("tag/{}", above.tag));
        }
        if sector.granularity.controller {
            keys.push(format!("organisation/{organisation}"));
        }
        if let (true, Some(purpose)) = (sector.granularity.purpose, purpose) {
            keys.push(format!("purpose/{purpose}"));
        }
        keys
    }

    /// Compares with the digests that a store keeps of used facts: every one that this register
    /// states differently, or no longer states, is a fault.
    pub fn changed_facts<'s>(
        &self,
        used: impl IntoIterator<Item = (&'s str, &'s [u8; 32])>,
    ) -> Vec<Fault> {
        let stated: BTreeMap<&str, &FrozenFact> = self
            .frozen
            .iter()
            .map(|fact| (fact.key.as_str(), fact))
            .collect();
        let mut faults = Vec::new();
        for (key, digest) in used {
            let (line, what) = match stated.get(key) {
                Some(fact) if fact.digest == *digest => continue,
                Some(fact) => (fact.line, "is in use and was changed"),
                None => (1, "is in use and is gone"),
            };
            let (name, instead) = explain(key);
            faults.push(Fault {
                line,
                what: format!("{name} {what}"),
                instead: instead.into(),
            });
        }
        faults.sort();
        faults
    }
}

/// A fact's name for people, and what to write instead of a change.
fn explain(key: &str) -> (String, &'static str) {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["sector", uuid, "parent"] => (
            format!("the parent of sector {uuid}"),
            "the parent that it had, or a new sector",
        ),
        ["sector", uuid, "tag"] => (
            format!("the tag of sector {uuid}"),
            "the tag that it had, or a new sector",
        ),
        ["tag", tag] => (
            format!("the uuid of the sector with the tag `{tag}`"),
            "the uuid that it had; a new sector has a new tag",
        ),
        ["organisation", id] => (
            format!("organisation `{id}`"),
            "the organisation's id as it was; names may change",
        ),
        ["purpose", code] => (
            format!("purpose `{code}`"),
            "the purpose's id as it was; titles may change",
        ),
        ["scheme", id] => (
            format!("the rules of scheme `{id}`"),
            "the rules as they were, or a new scheme with a new id",
        ),
        _ => (format!("the fact `{key}`"), "what stood there"),
    }
}
