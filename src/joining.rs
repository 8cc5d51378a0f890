//! How a client joins: at the newcomer's, a key with its certificate and the block of the register
//! to hand in; with those who keep the register, merging such blocks into it.
//!
//! The key never leaves the newcomer. What they hand in names only its digest, which they read out
//! by telephone, so that nobody can put another key in its place on the way.

mod merge;

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use jiff::civil::Date;

use crate::deployment::certificates::{CertificateMaker, CertificateUse, MadeCertificate};
use crate::register::{Id, Operation, Quota};
use crate::terminal::CommandError;
pub use merge::{JoiningFault, MergedRegister, merge};

/// What a newcomer asks for.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// The client's id.
    pub id: Id,
    /// Its controller.
    pub organisation: Id,
    /// Name and quota of the controller, where the register does not have it yet.
    pub new_organisation: Option<(String, Quota)>,
    /// Sectors, exactly.
    pub sectors: Vec<String>,
    /// What it will do there.
    pub operations: Vec<Operation>,
    /// For which of the sectors' purposes.
    pub purposes: Vec<Id>,
    /// The last day (UTC) on which the entry is to be in force.
    pub until: Option<Date>,
}

/// A client's new key, and the block to hand in.
pub struct JoiningClient {
    /// Certificate and private key.
    pub made: MadeCertificate,
    /// TOML: the blocks of the register.
    pub block: String,
}

impl ClientRequest {
    /// Makes key, certificate and block. The certificate lasts `years` from `today`; other programs
    /// than cloison look at that.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn make(&self, today: Date, years: i16) -> Result<JoiningClient, CommandError> {
        let maker = CertificateMaker::new(today, years);
        let made = maker.make(self.id.as_str(), &[], CertificateUse::Client)?;
        let block = self.block(&made.spki);
        Ok(JoiningClient { made, block })
    }

    fn block(&self, spki: &[u8; 32]) -> String {
        let mut text = format!(
            "# For the register: `cloison register add` merges this file into register.toml.\n\
             # Fingerprint of the key, to compare by telephone:\n#   {}\n",
            fingerprint(spki)
        );
        if let Some((name, quota)) = &self.new_organisation {
            let _ = write!(
                text,
                "\n[[organisation]]\nid = \"{}\"\nname = {}\n\
                 quota = {{ items-per-second = {}, items-per-day = {} }}\n",
                self.organisation,
                toml_edit::Value::from(name.as_str()),
                quota.items_per_second,
                quota.items_per_day
            );
        }
        let _ = write!(
            text,
            "\n[[client]]\nid = \"{}\"\norganisation = \"{}\"\ncertificate = \"{}\"\n\
             sectors = {}\noperations = {}\npurposes = {}\n",
            self.id,
            self.organisation,
            HEXLOWER.encode(spki),
            list(self.sectors.iter().map(String::as_str)),
            list(self.operations.iter().map(|operation| operation.as_str())),
            list(self.purposes.iter().map(Id::as_str)),
        );
        if let Some(until) = self.until {
            let _ = writeln!(text, "until = \"{until}\"");
        }
        text
    }
}

/// A key's digest in groups of four, as people read it out.
pub fn fingerprint(spki: &[u8; 32]) -> String {
    let hex = HEXLOWER.encode(spki);
    let groups: Vec<&str> = (0..16).map(|at| &hex[4 * at..4 * at + 4]).collect();
    groups.join(" ")
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<toml_edit::Array>().to_string()
}
