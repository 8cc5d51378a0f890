//! The progress of a transfer, beside its partial output: what was asked for, how much of the input
//! was read, how much of the output is whole.
//!
//! It is JSON, `{"format":1,"job":{…},"read":{…},"written":{…},"line":…,"totals":{…}}`, and
//! replaced as a whole after the output that it speaks of is durable. It holds no identifier and no
//! pseudonym.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::input::InputMark;
use super::totals::TransferTotals;
use crate::id::hex;

/// The format that this version writes.
const FORMAT: u32 = 1;

/// What shapes the answers: name of an option or a fact → its value. A run goes on with another's
/// output only if all of it is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferJob(pub BTreeMap<String, String>);

impl TransferJob {
    /// Notes a fact.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// What differs between the job that was begun and this one, in words.
    pub fn differences(&self, begun: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(begun.0.keys()).collect();
        let none = || "none".to_owned();
        let words = |name: &&String| {
            let (now, then) = (self.0.get(*name), begun.0.get(*name));
            (now != then).then(|| {
                let now = now.cloned().unwrap_or_else(none);
                let then = then.cloned().unwrap_or_else(none);
                format!("{name} was {then} and is {now}")
            })
        };
        names.iter().filter_map(words).collect()
    }
}

/// A place in a file: how many bytes stand before it, and their SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePlace {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them, hex.
    pub sha256: String,
}

impl FilePlace {
    /// The place of a mark.
    pub fn of(mark: &InputMark) -> Self {
        Self {
            bytes: mark.bytes,
            sha256: hex(&mark.digest),
        }
    }

    /// The mark; `None` if the digest is not one.
    pub fn mark(&self) -> Option<InputMark> {
        let digest = data_encoding::HEXLOWER
            .decode(self.sha256.as_bytes())
            .ok()?;
        Some(InputMark {
            bytes: self.bytes,
            digest: digest.try_into().ok()?,
        })
    }
}

/// The progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferProgress {
    format: u32,
    /// What was asked for.
    pub job: TransferJob,
    /// How much of the input was read.
    pub read: FilePlace,
    /// How much of the output is whole.
    pub written: FilePlace,
    /// Lines of the input that were read.
    pub line: u64,
    /// What became of their items.
    pub totals: TransferTotals,
}

impl TransferProgress {
    /// Nothing was done yet.
    pub fn begin(job: TransferJob) -> Self {
        let nothing = FilePlace::of(&InputMark {
            bytes: 0,
            digest: sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new()).into(),
        });
        Self {
            format: FORMAT,
            job,
            read: nothing.clone(),
            written: nothing,
            line: 0,
            totals: TransferTotals::default(),
        }
    }

    /// Reads the file; `None` if it is not one of this version's.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let progress: Self = serde_json::from_slice(bytes).ok()?;
        (progress.format == FORMAT && progress.totals.add_up()).then_some(progress)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data into memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let begun = TransferJob::default()
            .with("scheme", "cnie")
            .with("purpose", "billing");
        let now = TransferJob::default()
            .with("scheme", "passport")
            .with("purpose", "billing")
            .with("previous", true);
        assert_eq!(now.differences(&now), [""; 0]);
        assert_eq!(
            now.differences(&begun),
            [
                "previous was none and is true",
                "scheme was cnie and is passport"
            ]
        );
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let progress = TransferProgress::begin(TransferJob::default().with("scheme", "cnie"));
        let bytes = progress.to_bytes();
        assert_eq!(TransferProgress::read(&bytes), Some(progress));
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            "",
            "{}",
            &text[1..],
            &text.replace("\"format\":1", "\"format\":2"),
            // More rejected than answered.
            &text.replace(
                "\"rejected\":{}",
                "\"rejected\":{\"identifier-empty\":{\"count\":1,\"lines\":[]}}",
            ),
        ] {
            assert_eq!(TransferProgress::read(other.as_bytes()), None);
        }
    }
}
