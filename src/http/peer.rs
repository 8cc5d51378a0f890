//! Who is at the other end of a connection, and what of the listener is theirs.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::admission::Allowance;
use super::problem::Problem;
use crate::code::Code;
use crate::register::SpkiDigest;

/// Who is at the other end: a handler's first argument. Taken from the connection's certificate,
/// which descends from the pinned authority, is in date and known to the register; what it may do
/// is for the handler to say.
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

    /// What it may take of the listener.
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
