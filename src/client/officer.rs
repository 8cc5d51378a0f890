//! An officer's calls to the authority node: an order, and a request under it that the officer
//! signs anew for each call.

use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use super::{Client, ClientError};
use crate::migrate::{MigrateRequest, MigrateResponse};
use crate::order::{self, OrderPayload, RequestPayload};
use crate::refusal::Refusal;
use crate::register::Id;
use crate::reidentify::deliver::SealedResponse;
use crate::reidentify::reveal::ReidentifyResponse;
use crate::reidentify::{Delivery, ReidentifyRequest};
use crate::statement;

/// Where re-identifications are asked for.
const REIDENTIFICATIONS: &str = "/v1/reidentifications";

/// Who asks, under which order, for what.
pub struct OfficerCall<'a> {
    /// The order, signed.
    pub order: &'a str,
    /// The officer's id.
    pub officer: &'a Id,
    /// The officer's own key, to sign the request.
    pub key: &'a SigningKey,
    /// The sector's name.
    pub sector: &'a str,
    /// The pseudonyms; none for a migration.
    pub pseudonyms: &'a [String],
}

/// Why a call under an order has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OfficerCallError {
    /// The order or the list cannot be used, so that nothing was sent.
    #[error("{0}")]
    Order(Refusal),
    /// The node refused, or did not answer.
    #[error(transparent)]
    Node(#[from] ClientError),
}

impl From<Refusal> for OfficerCallError {
    fn from(refusal: Refusal) -> Self {
        Self::Order(refusal)
    }
}

impl OfficerCall<'_> {
    /// Re-identifies the pseudonyms.
    ///
    /// # Errors
    /// [`OfficerCallError`]
    pub fn reidentify(
        &self,
        client: &Client,
        now: Timestamp,
    ) -> Result<ReidentifyResponse, OfficerCallError> {
        Ok(client.post_json(REIDENTIFICATIONS, &self.reidentification(None, now)?)?)
    }

    /// The same, with an answer sealed to the key that the register has for the officer.
    ///
    /// # Errors
    /// [`OfficerCallError`]
    pub fn reidentify_sealed(
        &self,
        client: &Client,
        now: Timestamp,
    ) -> Result<SealedResponse, OfficerCallError> {
        Ok(client.post_json(
            REIDENTIFICATIONS,
            &self.reidentification(Some(Delivery::OfficerKey), now)?,
        )?)
    }

    /// Asks for the next page of a migration.
    ///
    /// # Errors
    /// [`OfficerCallError`]
    pub fn migrate(
        &self,
        client: &Client,
        now: Timestamp,
    ) -> Result<MigrateResponse, OfficerCallError> {
        let (order, sector) = (self.order.to_owned(), self.sector.to_owned());
        let page = MigrateRequest {
            order,
            request: self.sign(now)?,
            sector,
        };
        Ok(client.post_json("/v1/migrations", &page)?)
    }

    fn reidentification(
        &self,
        to: Option<Delivery>,
        now: Timestamp,
    ) -> Result<ReidentifyRequest, Refusal> {
        let (order, sector) = (self.order.to_owned(), self.sector.to_owned());
        Ok(ReidentifyRequest {
            order,
            request: self.sign(now)?,
            sector,
            pseudonyms: self.pseudonyms.to_vec(),
            to,
        })
    }

    /// The officer's request, signed now.
    fn sign(&self, now: Timestamp) -> Result<String, Refusal> {
        let request = RequestPayload {
            aud: read_order(self.order)?.aud,
            order: order::digest_of(self.order)?,
            request: crate::clock::random_uuid(),
            sector: self.sector.to_owned(),
            list: order::list_digest(self.pseudonyms)?,
            time: now,
        };
        order::sign_request(request, self.officer, self.key)
    }
}

/// What an order says. Proves nothing about who signed it.
///
/// # Errors
/// Where the text is not an order.
pub fn read_order(text: &str) -> Result<OrderPayload, Refusal> {
    statement::read_unverified(text)
}
