//! The caller at the other end of a connection, and its share of the listener.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::admission::Allowance;
use super::problem::Problem;
use crate::code::Code;
use crate::register::SpkiDigest;

/// The caller at the other end of a connection. It comes from the connection's certificate, whose
/// key it holds; the register admitted the key. The handler decides
/// what the caller may do.
#[derive(Clone)]
pub struct Peer {
    /// SHA-256 of the certificate's public key.
    pub spki: SpkiDigest,
    allowance: Arc<Allowance>,
}

impl Peer {
    pub(super) fn new(spki: SpkiDigest, allowance: Arc<Allowance>) -> Self {
        Self { spki, allowance }
    }

    /// Its share of the listener.
    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Peer>()
            .cloned()
            .ok_or(Problem::new(Code::UnknownClient))
    }
}
