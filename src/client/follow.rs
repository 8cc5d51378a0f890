//! The client of a follower, and of a log that is brought to one.

use std::time::Duration;

use super::agent::PinnedAgent;
use super::{Client, ClientError};
use crate::journal::offer::{JournalHeld, JournalOffer};

/// How long sending an offer may take: as long as a server waits for a body. One can have many
/// megabytes.
const SENDING: Duration = Duration::from_secs(60);

impl Client {
    /// Says what is held of the server's log, and gets what comes next; waits up to so many seconds
    /// for it. `None` if nothing came.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn fetch_offer(
        &self,
        held: &JournalHeld,
        wait: u64,
    ) -> Result<Option<JournalOffer>, ClientError> {
        let path = format!("/v1/journal?wait={wait}");
        let mut reply = Vec::new();
        let text = "text/plain; charset=utf-8";
        self.post(&path, text, held.text().as_bytes(), &mut reply)?;
        if reply.is_empty() {
            return Ok(None);
        }
        let offer = JournalOffer::parse(&reply);
        offer.map(Some).map_err(|_| self.senseless(200))
    }

    /// Brings an offer of one's own log, or nothing; what the server holds of it comes back. A
    /// witness is told whose log (`owner`) it is; the vault knows that by the certificate.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn bring_offer(
        &self,
        offer: Option<&JournalOffer>,
        owner: Option<&str>,
    ) -> Result<JournalHeld, ClientError> {
        let body = offer.map(JournalOffer::to_bytes).unwrap_or_default();
        let mut path = "/v1/journal/offers".to_owned();
        if let Some(owner) = owner {
            path.extend(["?log=", owner]);
        }
        let PinnedAgent { agent, own, .. } = &*self.agent();
        let request = agent
            .post(format!("{}{path}", self.base()))
            .config()
            .timeout_send_body(Some(SENDING))
            .build()
            .content_type("application/octet-stream");
        let mut reply = Vec::new();
        self.finish(own, request.send(&body[..]), &mut reply)?;
        JournalHeld::parse(&reply).map_err(|_| self.senseless(200))
    }
}
