//! Which form the identity secret has: with the vault, or with identity sources.

use std::sync::Arc;
use std::time::Duration;

use crate::config::IdentityPlace;
use crate::http::Readiness;
use crate::identity_link::{IdentityLink, SourceWatcher};
use crate::keys::custody::Keyring;
use crate::keys::example::fingerprint;
use crate::keys::file::SecretKind;
use crate::keys::{IdentityKeys, IdentitySecret};
use crate::metrics::Registry;
use crate::register::Register;
use crate::terminal::CommandError;
use crate::utis::UtiSource;

/// Where the vault's UTIs come from.
pub(super) struct IdentityForm {
    pub(super) source: Box<dyn UtiSource>,
    /// The fingerprint of the secret, where the vault has it.
    pub(super) fingerprint: Option<[u8; 32]>,
    /// Shows how the sources are, where they have it.
    pub(super) sources: Option<SourceWatcher>,
}

impl IdentityForm {
    /// Reads the secret, or begins to connect to the sources.
    pub(super) fn open(
        place: &IdentityPlace,
        keyring: &Keyring,
        register: &Register,
    ) -> Result<Self, CommandError> {
        match place {
            IdentityPlace::Embedded(deposit) => {
                let secret = keyring
                    .read(deposit, SecretKind::Identity)
                    .map_err(|error| {
                        CommandError::new(error, "check [secrets] in the configuration")
                    })?;
                let fingerprint = fingerprint(secret.expose());
                Ok(Self {
                    source: Box::new(IdentityKeys::new(&IdentitySecret(secret))),
                    fingerprint: Some(fingerprint),
                    sources: None,
                })
            }
            IdentityPlace::Sources(config) => {
                let link = IdentityLink::start(config, register).map_err(|error| {
                    CommandError::new(error, "check [identity] in the configuration")
                })?;
                Ok(Self {
                    sources: Some(link.watcher()),
                    source: Box::new(link),
                    fingerprint: None,
                })
            }
        }
    }
}

/// Twice a second: says in `/readyz` and in the metrics how the identity sources are.
pub(super) async fn watch_sources(
    sources: Option<SourceWatcher>,
    readiness: Arc<Readiness>,
    registry: Arc<Registry>,
) {
    let Some(sources) = sources else { return };
    let answering = registry.gauge(
        "cloison_identity_sources",
        "Identity sources that answer",
        None,
    );
    loop {
        let view = sources.view();
        let faults: Vec<String> = view
            .iter()
            .filter_map(|source| Some(format!("{}: {}", source.url, source.fault.as_ref()?)))
            .collect();
        answering.set((view.len() - faults.len()) as i64);
        if faults.len() == view.len() {
            readiness.set(
                "identity",
                format!("no identity source answers: {}", faults.join("; ")),
            );
        } else {
            readiness.clear("identity");
        }
        let is_partly_away = (1..view.len()).contains(&faults.len());
        readiness.notice("identity", is_partly_away.then(|| faults.join("; ")));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
