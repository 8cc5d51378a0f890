//! The health listener: `/healthz`, `/readyz`, `/metrics`. Without certificates, therefore on
//! loopback only and without anything about persons or clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use serde::Serialize;

use super::body;
use super::problem::{self, Problem};
use crate::metrics::Registry;

/// The reasons why the process should get no requests at present. It is ready when there are none.
#[derive(Debug)]
pub struct Readiness {
    reasons: Mutex<BTreeMap<&'static str, String>>,
    notices: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// Not ready, because the process is starting; `clear("starting")` ends that.
    pub fn starting() -> Arc<Self> {
        let reasons = BTreeMap::from([("starting", "not serving yet".to_owned())]);
        Arc::new(Self {
            reasons: Mutex::new(reasons),
            notices: Mutex::default(),
        })
    }

    /// Sets a reason not to be ready, and replaces an earlier one about the same thing.
    pub fn set(&self, about: &'static str, why: impl Into<String>) {
        self.reasons().insert(about, why.into());
    }

    /// Removes the reason about a thing.
    pub fn clear(&self, about: &'static str) {
        self.reasons().remove(about);
    }

    /// Whether there is a reason about a thing.
    pub fn has(&self, about: &'static str) -> bool {
        self.reasons().contains_key(about)
    }

    /// Sets a notice: something that operators should look into although the process is ready.
    /// `None` removes it.
    pub fn notice(&self, about: &'static str, what: Option<String>) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => drop(notices.insert(about, what)),
            None => drop(notices.remove(about)),
        }
    }

    /// Whether there is no reason left.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// The reasons and notices at present.
    pub fn report(&self) -> ReadinessReport {
        let notices = self.notices.lock();
        let reasons = self.reasons().clone();
        ReadinessReport {
            ready: reasons.is_empty(),
            reasons,
            notices: notices.unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct ReadinessReport {
    /// Whether there is no reason not to be.
    pub ready: bool,
    /// Thing → why it is not ready.
    pub reasons: BTreeMap<&'static str, String>,
    /// Thing → what to look into, although it is ready.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notices: BTreeMap<&'static str, String>,
}

/// The router of the health listener.
pub fn router(readiness: Arc<Readiness>, metrics: Arc<Registry>) -> Router {
    let router = Router::new()
        .route(
            "/healthz",
            get(async || body::reply("text/plain; charset=utf-8", "ok\n")),
        )
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics));
    problem::with_fallbacks(router)
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> Result<Response<Body>, Problem> {
    let report = readiness.report();
    let mut response = body::json(&report)?;
    if !report.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

async fn render(State(metrics): State<Arc<Registry>>) -> Response<Body> {
    body::reply("text/plain; version=0.0.4; charset=utf-8", metrics.render())
}
