//! One inspection of every TLS file that a configuration names: is it there, readable, private
//! enough; do certificate and key belong together; when does it end, by its own dates and by its
//! entry in the register.
//!
//! `check`, `doctor`, the start of a server, `/readyz`, a metric and every client command say what
//! is found here. A certificate's own dates never keep anything from running: they are warned about
//! from [`WARN_DAYS`] days before, because programs other than cloison go by them.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::access;
use crate::config::{NamedFile, PairUse, TlsFiles};
use crate::http::tls::{self, Identity, TlsError, Validity};
use crate::keys::file::{FileError, FileFault, check_private};
use crate::register::{Register, SpkiDigest};

/// From how many days before the end there is a warning.
pub const WARN_DAYS: i64 = 30;

/// What was found of the TLS files of a configuration.
#[derive(Debug, Default)]
pub struct TlsInspection {
    /// The pairs that can be used, each once.
    pub pairs: Vec<InspectedPair>,
    /// What keeps a file from being used, a sentence each.
    pub faults: Vec<String>,
    /// What will end or has ended and keeps nothing from running here, a sentence each.
    pub warnings: Vec<String>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedPair {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// What it is shown for.
    pub shown: PairUse,
    /// What registers and pins know its key by.
    pub key: SpkiDigest,
    /// The certificate's own dates; none if they cannot be read.
    pub validity: Option<Validity>,
    /// The key's entry in this side's register, where it must have one.
    pub entry: Option<RegisterEntry>,
}

/// A key's entry in a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterEntry {
    /// There is none.
    Absent,
    /// There is one.
    Present {
        /// The holder's id.
        holder: String,
        /// The last day (UTC) on which it is in force, if it has one.
        until: Option<Date>,
    },
}

impl InspectedPair {
    /// When its certificate or its entry ends, whichever is earlier.
    pub fn expires(&self) -> Option<Timestamp> {
        let entry = match &self.entry {
            Some(RegisterEntry::Present { until, .. }) => until.and_then(end_of),
            _ => None,
        };
        let own = self.validity.map(|validity| validity.until);
        own.into_iter().chain(entry).min()
    }
}

impl TlsInspection {
    /// Inspects the TLS files among `files` at the time `now`; the key by which this side is known
    /// to its peer is looked up in its `register`.
    pub fn of(files: &[NamedFile<'_>], register: Option<&Register>, now: Timestamp) -> Self {
        let mut inspection = Self::default();
        for file in files {
            match file {
                NamedFile::Pin(path) => inspection.is_read(tls::pin_of_file(path)),
                NamedFile::Authorities(path) => inspection.is_read(authorities(path)),
                NamedFile::Identity {
                    certificate,
                    key,
                    shown,
                } => inspection.pair(certificate, key, *shown, register, now),
                _ => {}
            }
        }
        inspection
    }

    /// Everything that is said of it: faults first.
    pub fn sentences(&self) -> impl Iterator<Item = &String> {
        self.faults.iter().chain(&self.warnings)
    }

    /// Takes what reading a file of other sides' certificates came to. Their dates say nothing
    /// here.
    fn is_read<T>(&mut self, read: Result<T, TlsError>) {
        if let Err(fault) = read {
            self.fault(fault);
        }
    }

    fn pair(
        &mut self,
        certificate: &Path,
        key: &Path,
        shown: PairUse,
        register: Option<&Register>,
        now: Timestamp,
    ) {
        let known = |pair: &&mut InspectedPair| pair.certificate == certificate;
        let listed = register.filter(|_| shown == PairUse::Peer);
        let pair = match self.pairs.iter_mut().find(known) {
            // Shown in two places; what the register says of it counts.
            Some(pair) if listed.is_none() || pair.entry.is_some() => return,
            Some(pair) => {
                pair.entry = listed.map(|register| entry_of(register, pair.key));
                pair.clone()
            }
            None => {
                let (validity, digest) = match read_pair(certificate, key) {
                    Ok(read) => read,
                    Err(fault) => return self.fault(fault),
                };
                let pair = InspectedPair {
                    certificate: certificate.to_owned(),
                    shown,
                    key: digest,
                    validity,
                    entry: listed.map(|register| entry_of(register, digest)),
                };
                self.pairs.push(pair.clone());
                self.dates(&pair, now);
                pair
            }
        };
        self.entry(&pair, now);
    }

    fn dates(&mut self, pair: &InspectedPair, now: Timestamp) {
        let file = pair.certificate.display();
        let Some(validity) = pair.validity else {
            return;
        };
        let others = match pair.shown {
            PairUse::Server => "curl, Python and other programs go by it, cloison does not",
            PairUse::Client | PairUse::Peer => "cloison goes by the key and takes it all the same",
        };
        match (validity.check(now), days_left(validity.until, now)) {
            (Err(out_of_date), _) => {
                self.warn(format_args!(
                    "{file}: the certificate {out_of_date}: {others}"
                ));
            }
            (Ok(()), Some(left)) => {
                let day = validity.until;
                self.warn(format_args!(
                    "{file}: the certificate ends on {day} ({left}): {others}"
                ));
            }
            (Ok(()), None) => {}
        }
    }

    fn entry(&mut self, pair: &InspectedPair, now: Timestamp) {
        let (file, key) = (pair.certificate.display(), pair.key);
        match &pair.entry {
            Some(RegisterEntry::Absent) => self.fault(format_args!(
                "{file}: the register has no entry with its key, {key:?}: the other side refuses it"
            )),
            Some(RegisterEntry::Present {
                holder,
                until: Some(until),
            }) => {
                let Some(end) = end_of(*until) else { return };
                if now >= end {
                    self.fault(format_args!(
                        "{file}: the register's entry for its key (`{holder}`) ended on {until}: the other side refuses it"
                    ));
                } else if let Some(left) = days_left(end, now) {
                    self.warn(format_args!(
                        "{file}: the register's entry for its key (`{holder}`) ends on {until} ({left}): the other side refuses \
                         it from then on"
                    ));
                }
            }
            _ => {}
        }
    }

    /// Adds a fault once, also when two sections name the same file.
    fn fault(&mut self, fault: impl Display) {
        let fault = fault.to_string();
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn warn(&mut self, warning: impl Display) {
        self.warnings.push(warning.to_string());
    }
}

/// Reads the certificates of the authorities that a client asks of its servers.
fn authorities(path: &Path) -> Result<(), TlsError> {
    let all = tls::read_certificates(path)?;
    all.iter()
        .try_for_each(|one| tls::key_of(path, one).map(drop))
}

/// Reads a certificate's dates and the digest of its key, and checks that the private key belongs
/// to it. Of another user's private key, which root does not read, only the mode is checked.
fn read_pair(certificate: &Path, key: &Path) -> Result<(Option<Validity>, SpkiDigest), TlsError> {
    let of_another_user = |error: &TlsError| {
        matches!(
            error,
            TlsError::File(FileError {
                fault: FileFault::Owner { .. },
                ..
            })
        ) && check_private(key).is_ok()
    };
    let chain = match Identity::read(certificate, key) {
        Ok(identity) => identity.chain,
        Err(error) if of_another_user(&error) => tls::read_certificates(certificate)?,
        Err(error) => return Err(error),
    };
    let digest = tls::key_of(certificate, &chain[0])?;
    Ok((Validity::of(&chain[0]), digest))
}

/// Warns of a line in a server's `[tls]` that earlier versions needed.
pub fn unused_client_ca(files: &TlsFiles) -> Option<String> {
    files.has_client_ca.then(|| {
        "[tls] `client-ca` has no effect any more: the register alone decides who is let in; remove the line".to_owned()
    })
}

/// What a register says of a key.
fn entry_of(register: &Register, key: SpkiDigest) -> RegisterEntry {
    match access::actor(register, key) {
        holder if holder == access::UNKNOWN => RegisterEntry::Absent,
        holder => RegisterEntry::Present {
            holder,
            until: register.key_terms.get(&key).copied(),
        },
    }
}

/// What is said of the entries of a register that have ended or will soon, a sentence each. Nothing
/// is wrong with such a register.
pub fn ending_entries(register: &Register, now: Timestamp) -> Vec<String> {
    let mut sentences = vec![];
    for (key, until) in &register.key_terms {
        let holder = access::actor(register, *key);
        let Some(end) = end_of(*until) else { continue };
        if now >= end {
            sentences.push(format!("the entry `{holder}` ended on {until}"));
        } else if let Some(left) = days_left(end, now) {
            sentences.push(format!("the entry `{holder}` ends on {until} ({left})"));
        }
    }
    sentences
}

/// What is said of one's own entry, whose last day the server told; nothing until [`WARN_DAYS`]
/// days before.
pub fn own_entry_ends(until: Date, now: Timestamp) -> Option<String> {
    let left = days_left(end_of(until)?, now)?;
    Some(format!(
        "your key's entry in the register ends on {until} ({left}): have a later day entered, or hand in a new key"
    ))
}

/// The first instant after a day (UTC).
fn end_of(day: Date) -> Option<Timestamp> {
    let next = day.tomorrow().ok()?;
    Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// How many days are left until `end`, in words; none while it is further away than [`WARN_DAYS`].
fn days_left(end: Timestamp, now: Timestamp) -> Option<String> {
    let left = end.duration_since(now);
    if left > SignedDuration::from_hours(24 * WARN_DAYS) {
        return None;
    }
    Some(match left.as_hours() / 24 {
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_thirty_days_are_counted_down() {
        let end = time("2027-01-31T00:00:00Z");
        for (now, left) in [
            ("2026-12-31T23:59:59Z", None),
            ("2027-01-01T00:00:00Z", Some("30 days left")),
            ("2027-01-29T00:00:00Z", Some("2 days left")),
            ("2027-01-29T00:00:01Z", Some("1 day left")),
            ("2027-01-30T12:00:00Z", Some("less than a day left")),
        ] {
            assert_eq!(days_left(end, time(now)).as_deref(), left, "{now}");
        }
    }

    #[test]
    fn an_entry_is_in_force_until_the_end_of_its_day() {
        let day = "2027-01-31".parse().unwrap();
        assert_eq!(end_of(day), Some(time("2027-02-01T00:00:00Z")));
        assert!(!crate::register::is_over(day, time("2027-01-31T23:59:59Z")));
        assert!(crate::register::is_over(day, time("2027-02-01T00:00:00Z")));
        let said = own_entry_ends(day, time("2027-01-31T12:00:00Z")).unwrap();
        assert!(
            said.contains("ends on 2027-01-31 (less than a day left)"),
            "{said}"
        );
        assert_eq!(own_entry_ends(day, time("2026-12-31T12:00:00Z")), None);
    }
}
