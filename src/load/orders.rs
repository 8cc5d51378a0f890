//! Orders for made-up cases, signed by the approvers of a deployment that was just made.

use std::collections::BTreeMap;
use std::path::Path;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use crate::deployment::register_text::{AUTHORITY, OFFICER};
use crate::keys::file::read_signing_key;
use crate::order::{LegalBasis, OrderPayload, PseudonymScope};
use crate::register::Id;
use crate::statement::{self, Statement as _};
use crate::terminal::CommandError;

/// A judicial order for pseudonyms of one sector, to be executed by the deployment's officer.
pub struct CaseOrder<'a> {
    /// The deployment's id.
    pub deployment: &'a str,
    /// The case reference.
    pub case: &'a str,
    /// Why, as an id.
    pub purpose: &'a str,
    /// The sector's name.
    pub sector: &'a str,
    /// The pseudonyms that it lists.
    pub pseudonyms: &'a [String],
    /// The first whole second at which it is valid.
    pub not_before: Timestamp,
    /// The last whole second at which it is valid.
    pub not_after: Timestamp,
}

impl CaseOrder<'_> {
    /// The order with the signatures of `approvers`, whose keys lie in the deployment's `folder`.
    ///
    /// # Errors
    /// When a key cannot be read, or the order cannot be written.
    pub fn sign(&self, folder: &Path, approvers: &[&str]) -> Result<String, CommandError> {
        let payload = OrderPayload {
            aud: made_up_id(self.deployment)?,
            id: crate::clock::random_uuid(),
            authority: made_up_id(AUTHORITY)?,
            basis: LegalBasis::Judicial,
            case: self.case.to_owned(),
            purpose: made_up_id(self.purpose)?,
            sectors: vec![self.sector.to_owned()],
            scope: PseudonymScope::Listed(BTreeMap::from([(
                self.sector.to_owned(),
                self.pseudonyms.to_vec(),
            )])),
            not_before: self.not_before,
            not_after: self.not_after,
            officers: vec![made_up_id(OFFICER)?],
            inform_after: None,
            issued: Some(self.not_before),
        };
        let draft = payload.draft().map_err(CommandError::bug)?;
        approvers.iter().try_fold(draft, |text, kid| {
            statement::sign::<OrderPayload>(&text, kid, &person_key(folder, kid)?)
                .map_err(CommandError::bug)
        })
    }
}

/// The signing key of a person of the deployment in `folder`.
///
/// # Errors
/// When it cannot be read.
pub fn person_key(folder: &Path, id: &str) -> Result<SigningKey, CommandError> {
    read_signing_key(&folder.join(format!("secrets/people/{id}.pem"))).map_err(|error| {
        CommandError::new(
            error,
            "leave the deployment's folder alone while the command runs",
        )
    })
}

/// An id that this program made up itself.
///
/// # Errors
/// When the text is not an id.
pub fn made_up_id(text: &str) -> Result<Id, CommandError> {
    Id::parse(text).ok_or_else(|| CommandError::bug("a made-up id is not an id"))
}
