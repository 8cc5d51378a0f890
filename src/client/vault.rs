//! The authority node's way to the vault.

use zeroize::Zeroizing;

use super::{Client, ClientError, JSON};
use crate::code::Code;
use crate::identifier::MAX_CANONICAL;
use crate::migrate::{Handed, MigrationLink, Page, PageRequest, Taken};
use crate::refusal::Refusal;
use crate::reidentify::lodge::{LodgedOrder, OrderText};
use crate::reidentify::reveal::VaultLink;
use crate::reidentify::step::{Exchange, Exchanged};
use crate::reidentify::{Release, ReleaseRequest};

impl VaultLink for Client {
    fn release(&self, request: &ReleaseRequest) -> Result<Release, Refusal> {
        self.post_json("/v1/releases", request).map_err(|error| refusal(&error))
    }

    fn exchange_acts(&self, exchange: &Exchange) -> Result<Exchanged, Refusal> {
        self.post_json("/v1/acts/exchange", exchange).map_err(|error| refusal(&error))
    }

    fn lodge_order(&self, order: &OrderText) -> Result<LodgedOrder, Refusal> {
        self.post_json("/v1/orders", order).map_err(|error| refusal(&error))
    }
}

impl MigrationLink for Client {
    fn migration_page(&self, request: &PageRequest) -> Result<Page, Refusal> {
        self.post_json("/v1/migrations/pages", request).map_err(|error| refusal(&error))
    }

    fn hand_back(&self, handed: &Handed) -> Result<Taken, Refusal> {
        // Identifiers: room for all of them, so that no reallocation leaves any behind, and wiped when sent.
        let mut body = Zeroizing::new(Vec::with_capacity(1_024 + handed.identifiers.len() * ROOM));
        serde_json::to_writer(&mut *body, handed).map_err(|_| refusal(&ClientError::Request))?;
        let mut reply = Vec::new();
        let sent = self.post("/v1/migrations/identifiers", JSON, &body, &mut reply);
        sent.and_then(|()| self.parse(&reply)).map_err(|error| refusal(&error))
    }

    fn as_vault(&self) -> &dyn VaultLink {
        self
    }
}

/// Bytes of an identifier in JSON, at most: scheme, canonical value, and what stands around them.
const ROOM: usize = 64 + MAX_CANONICAL + 32;

pub(super) fn refusal(error: &ClientError) -> Refusal {
    match (error, error.code()) {
        (ClientError::Problem(problem), Some(code)) => {
            let refusal = Refusal::new(code, format!("the vault refuses: {}", title(error)));
            problem.retry_after.map_or(refusal.clone(), |seconds| refusal.come_back_in(seconds))
        }
        _ => {
            tracing::warn!(%error, "the vault does not answer rightly");
            Refusal::new(Code::PeerUnavailable, "the vault does not answer, or not rightly; try again later")
        }
    }
}

fn title(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => problem.detail.clone().unwrap_or_else(|| problem.title.clone()),
        other => other.to_string(),
    }
}
