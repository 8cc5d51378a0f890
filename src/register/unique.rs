//! Two questions about names: is it taken already, and is it there at all?

use std::collections::{BTreeMap, BTreeSet};

use super::Id;
use super::file::MaybeAt;
use super::read::{At, Faults};

/// Values that may occur once.
pub(super) struct Unique<K> {
    what: &'static str,
    first: BTreeMap<K, (Option<usize>, String)>,
}

impl<K: Ord + Clone> Unique<K> {
    /// `what` is how faults call the value: "sector uuid".
    pub(super) fn new(what: &'static str) -> Self {
        Unique {
            what,
            first: BTreeMap::new(),
        }
    }

    /// A value that has an owner outside of the file.
    pub(super) fn take(&mut self, value: K, owner: &str) {
        self.first.insert(value, (None, owner.into()));
    }

    /// Takes note of a value of `owner` ("an approver"); a fault if it has an owner already. The
    /// fault gives lines and not the value, which says more even for keys.
    pub(super) fn note(&mut self, found: &MaybeAt<K>, owner: &str, faults: &mut Faults) {
        let Some(found) = found else { return };
        match self.first.get(&found.value) {
            None => {
                self.first
                    .insert(found.value.clone(), (Some(found.line), owner.into()));
            }
            Some((line, first)) => {
                let whose = if first == owner {
                    format!("twice for {owner}")
                } else {
                    format!("for {owner} and for {first}")
                };
                let place = line.map_or("in the configuration".into(), |line| {
                    format!("on line {line}")
                });
                let what = format!("the same {} {whose} (first {place})", self.what);
                faults.push(
                    found.line,
                    what,
                    format!("another {}, or nothing", self.what),
                );
            }
        }
    }
}

/// Ids that can be referred to.
pub(super) struct References {
    what: &'static str,
    ids: BTreeSet<Id>,
}

impl References {
    /// The ids of all entries of a kind: "organisation".
    pub(super) fn to<'f>(what: &'static str, ids: impl Iterator<Item = &'f MaybeAt<Id>>) -> Self {
        References {
            what,
            ids: ids.flatten().map(|id| id.value.clone()).collect(),
        }
    }

    pub(super) fn has(&self, id: &Id) -> bool {
        self.ids.contains(id)
    }

    /// A fault if nothing has that id.
    pub(super) fn check(&self, id: &At<Id>, called: &str, faults: &mut Faults) {
        if !self.ids.contains(&id.value) {
            let known: Vec<&str> = self.ids.iter().map(Id::as_str).collect();
            let instead = if known.is_empty() {
                format!("a [[{}]] entry with that id", self.what)
            } else {
                format!(
                    "one of: {}; or a [[{}]] entry with that id",
                    known.join(", "),
                    self.what
                )
            };
            faults.push(
                id.line,
                format!("{called} names the unknown {} `{}`", self.what, id.value),
                instead,
            );
        }
    }

    /// The same for a list, in which nothing may stand twice.
    pub(super) fn check_list(&self, list: &[At<Id>], called: &str, faults: &mut Faults) {
        let mut unique = Unique::new(self.what);
        for id in list {
            unique.note(&Some(id.clone()), called, faults);
            self.check(id, called, faults);
        }
    }
}
