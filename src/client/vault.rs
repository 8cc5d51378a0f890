//! The authority node's way to the vault.

use super::{Client, ClientError};
use crate::code::Code;
use crate::order::Refusal;
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
}

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
