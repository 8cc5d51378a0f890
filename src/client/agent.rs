//! The connections of a client, with the files that they were set up from.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};

use super::connector::TlsConnector;
use super::handshake::OwnCertificate;
use super::last_words::HearLastWords;
use super::{Timeouts, pins};
use crate::config::ClientConfig;
use crate::http::tls::{Identity, TlsError};
use crate::register::SpkiDigest;

/// Connections that show one certificate and believe the servers of one set of pins.
pub(super) struct PinnedAgent {
    pub(super) agent: Agent,
    pub(super) own: Arc<OwnCertificate>,
    /// The keys of the servers that it believes.
    pub(super) pins: Vec<SpkiDigest>,
}

impl PinnedAgent {
    /// Reads the files that `config` names.
    pub(super) fn read(config: &ClientConfig, timeouts: Timeouts) -> Result<Self, TlsError> {
        let identity = Identity::read(&config.certificate, &config.key)?;
        let own = Arc::new(OwnCertificate::of(config, &identity));
        let (tls, pins) = pins::tls_config(config, identity)?;
        let connector =
            ().chain(TcpConnector::default())
                .chain(HearLastWords)
                .chain(TlsConnector(Arc::new(tls)));
        let agent = Agent::config_builder()
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("cloison/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            // Below the server's own idle time, so that it is rarely the server that closes.
            .max_idle_age(Duration::from_secs(15))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.step))
            .timeout_send_body(Some(timeouts.step))
            .timeout_recv_response(Some(timeouts.step))
            .timeout_recv_body(Some(timeouts.step))
            .build();
        Ok(Self {
            agent: Agent::with_parts(agent, connector, DefaultResolver::default()),
            own,
            pins,
        })
    }
}
