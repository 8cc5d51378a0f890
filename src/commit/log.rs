//! The audit entries of one commit: numbers them, merges those of single-item requests, and writes
//! them.

use std::collections::{BTreeMap, HashMap};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::JobLog;
use crate::audit::{AuditEntry, AuditEvent, Domain, Grant, TokenizeDetails};
use crate::code::Code;
use crate::pseudonym::Pseudonym;
use crate::register::Id;
use crate::seal::journal::record_digest;
use crate::store::{ItemTag, RowBatch, Store};

/// The entries of the commit under way.
pub(super) struct GroupLog {
    first: u64,
    drafts: Vec<EntryDraft>,
    /// Entries that single-item requests share.
    shared: HashMap<SharedEntryKey, usize>,
}

/// What single-item requests must have in common to share an entry.
type SharedEntryKey = (Id, String, Domain, Option<u32>, Id, Option<Id>);

enum EntryDraft {
    Entry(AuditEntry, Vec<ItemTag>),
    Salted(AuditEntry, [u8; 16]),
    Tokenized {
        time: Timestamp,
        entry: Box<TokenizeDetails>,
        digest: Box<BatchDigest>,
    },
}

/// HMAC-SHA256 over the pseudonyms answered, under a salt that is stored apart and can be erased.
struct BatchDigest {
    salt: [u8; 16],
    mac: Hmac<Sha256>,
}

impl BatchDigest {
    fn of(answered: &[Pseudonym]) -> Self {
        let salt: [u8; 16] = crate::clock::random();
        let mut digest = Self {
            salt,
            mac: Hmac::new_from_slice(&salt).expect("HMAC takes a key of any length"),
        };
        digest.add(answered);
        digest
    }

    fn add(&mut self, answered: &[Pseudonym]) {
        answered.iter().for_each(|p| self.mac.update(p.as_bytes()));
    }
}

/// The pseudonyms that a request was answered with, as far as its entry needs them.
pub struct AnsweredPseudonyms {
    count: usize,
    kept: EntryPseudonyms,
}

enum EntryPseudonyms {
    /// Of one item: its entry may be shared with others.
    Pseudonyms(Vec<Pseudonym>),
    /// Of many items: digested already by the request's thread, to spare the writer.
    Digest(Box<BatchDigest>),
}

impl AnsweredPseudonyms {
    /// The pseudonyms that answered a request of `items` items.
    pub fn new(items: usize, pseudonyms: Vec<Pseudonym>) -> Self {
        let count = pseudonyms.len();
        let kept = match items {
            1 => EntryPseudonyms::Pseudonyms(pseudonyms),
            _ => EntryPseudonyms::Digest(Box::new(BatchDigest::of(&pseudonyms))),
        };
        Self { count, kept }
    }

    /// How many pseudonyms there were.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl GroupLog {
    /// A log that continues at entry `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            drafts: vec![],
            shared: HashMap::new(),
        }
    }

    /// The number of its first entry.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u64 {
        self.drafts.len() as u64
    }

    /// What the entries grant, each with its number.
    pub(super) fn grants(&self) -> impl Iterator<Item = (Grant, u64)> {
        (self.first..)
            .zip(&self.drafts)
            .filter_map(|(number, draft)| match draft {
                EntryDraft::Entry(entry, _) | EntryDraft::Salted(entry, _) => {
                    let grant = entry.event.effect().granted()?;
                    Some((grant, number))
                }
                EntryDraft::Tokenized { .. } => None,
            })
    }

    /// Adds an entry that only names the commit's side record.
    pub(super) fn name_record(&mut self, time: Timestamp) {
        self.push(EntryDraft::Entry(
            AuditEntry::new(time, AuditEvent::Journal),
            vec![],
        ));
    }

    /// Adds the first entry of a shard, before any other.
    pub(super) fn begin(&mut self, time: Timestamp, event: AuditEvent) {
        self.push(EntryDraft::Entry(AuditEntry::new(time, event), vec![]));
    }

    /// Adds a job's entry, and returns its number; `None` if the job has none or was only counted.
    pub(super) fn place(&mut self, log: JobLog, event_counts: &mut EventCounts) -> Option<u64> {
        let place = match log {
            JobLog::Nothing => return None,
            JobLog::Entry(entry, tags) => self.push(EntryDraft::Entry(entry, tags)),
            JobLog::Salted(entry, salt) => self.push(EntryDraft::Salted(entry, salt)),
            JobLog::Tokenized {
                time,
                entry,
                answered,
            } => self.tokenized(time, entry, answered),
            JobLog::Refused {
                time,
                actor,
                operation,
                code,
            } => event_counts.count(time, CountedEvent::Refused(actor, operation, code), self)?,
            JobLog::Read { time, actor } => {
                event_counts.count(time, CountedEvent::Read(actor), self)?
            }
        };
        Some(self.first + place as u64)
    }

    fn tokenized(
        &mut self,
        time: Timestamp,
        entry: Box<TokenizeDetails>,
        answered: AnsweredPseudonyms,
    ) -> usize {
        let answered = match answered.kept {
            EntryPseudonyms::Digest(digest) => {
                return self.push(EntryDraft::Tokenized {
                    time,
                    entry,
                    digest,
                });
            }
            EntryPseudonyms::Pseudonyms(answered) => answered,
        };
        let key = shared_key(&entry);
        if let Some(place) = self.shared.get(&key).copied()
            && let EntryDraft::Tokenized {
                entry: shared,
                digest,
                ..
            } = &mut self.drafts[place]
        {
            shared.requests += entry.requests;
            shared.accepted += entry.accepted;
            shared.rejected += entry.rejected;
            digest.add(&answered);
            return place;
        }
        let digest = Box::new(BatchDigest::of(&answered));
        let place = self.push(EntryDraft::Tokenized {
            time,
            entry,
            digest,
        });
        self.shared.insert(key, place);
        place
    }

    fn push(&mut self, draft: EntryDraft) -> usize {
        self.drafts.push(draft);
        self.drafts.len() - 1
    }

    /// Puts all entries into the batch; the last one names the sealed side `record`. Returns their
    /// bytes, in order.
    pub(super) fn write(
        self,
        store: &Store,
        batch: &mut RowBatch,
        record: Option<&[u8]>,
    ) -> Vec<Vec<u8>> {
        let mut entries = Vec::with_capacity(self.drafts.len());
        let last = self.first + self.drafts.len() as u64;
        for (index, draft) in (self.first..).zip(self.drafts) {
            let (mut entry, salt, tags) = match draft {
                EntryDraft::Entry(entry, tags) => (entry, None, tags),
                EntryDraft::Salted(entry, salt) => (entry, Some(salt), vec![]),
                EntryDraft::Tokenized {
                    time,
                    mut entry,
                    digest,
                } => {
                    entry.digest =
                        data_encoding::HEXLOWER.encode(&digest.mac.finalize().into_bytes());
                    (
                        AuditEntry::new(time, AuditEvent::Tokenize(entry)),
                        Some(digest.salt),
                        vec![],
                    )
                }
            };
            if let Some(sealed) = record.filter(|_| index + 1 == last) {
                entry.journal = Some(data_encoding::HEXLOWER.encode(&record_digest(sealed)));
                store.put_journal(batch, index, sealed);
            }
            let bytes = entry.to_bytes();
            store.put_audit(
                batch,
                index,
                &bytes,
                salt.as_ref(),
                &tags,
                entry.event.keys(),
            );
            entries.push(bytes);
        }
        entries
    }
}

fn shared_key(entry: &TokenizeDetails) -> SharedEntryKey {
    let (client, sector, domain) = (
        entry.client.clone(),
        entry.sector.clone(),
        entry.domain.clone(),
    );
    (
        client,
        sector,
        domain,
        entry.previous,
        entry.scheme.clone(),
        entry.purpose.clone(),
    )
}

/// Counts events that share an entry, so that no caller floods the log: refusals by actor,
/// operation and code, an entry a second; readings of entry bundles by actor, an entry a minute.
#[derive(Default)]
pub(super) struct EventCounts(BTreeMap<CountedEvent, PeriodCount>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum CountedEvent {
    Refused(String, &'static str, Code),
    Read(String),
}

impl CountedEvent {
    /// Seconds that one entry stands for.
    const fn period(&self) -> i64 {
        match self {
            CountedEvent::Refused(..) => 1,
            CountedEvent::Read(_) => 60,
        }
    }

    fn draft(self, time: Timestamp, count: u64) -> EntryDraft {
        let event = match self {
            CountedEvent::Refused(actor, operation, code) => AuditEvent::Refuse {
                actor,
                operation,
                code,
                count,
            },
            CountedEvent::Read(actor) => AuditEvent::Read { actor, count },
        };
        EntryDraft::Entry(AuditEntry::new(time, event), vec![])
    }
}

/// The period of the last entry, and how many events came since.
struct PeriodCount {
    period: i64,
    unwritten: u64,
}

impl EventCounts {
    /// Logs the first event of a period at once, and counts the others.
    fn count(&mut self, time: Timestamp, what: CountedEvent, log: &mut GroupLog) -> Option<usize> {
        let period = time.as_second().div_euclid(what.period());
        let counted = self.0.entry(what.clone()).or_insert(PeriodCount {
            period: i64::MIN,
            unwritten: 0,
        });
        counted.unwritten += 1;
        if counted.period == period {
            return None;
        }
        counted.period = period;
        Some(log.push(what.draft(time, std::mem::take(&mut counted.unwritten))))
    }

    /// Logs the counted events whose period is over, or all if this is the `last` commit, and
    /// forgets their counts.
    pub(super) fn flush(&mut self, now: Timestamp, last: bool, log: &mut GroupLog) {
        self.0.retain(|what, counted| {
            if !last && counted.period >= now.as_second().div_euclid(what.period()) {
                return true;
            }
            if counted.unwritten > 0 {
                log.push(what.clone().draft(now, counted.unwritten));
            }
            false
        });
    }
}
