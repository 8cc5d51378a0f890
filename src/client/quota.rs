//! What is left of the quota, as the server's answers tell it.

use std::sync::Mutex;
use std::time::Instant;

use ureq::http::HeaderMap;

use crate::http::data::quota_fields;
use crate::quota::QuotaLeft;
use crate::system::lock::unpoisoned;

/// What a server told of a quota, and when that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldQuota {
    /// What is left.
    pub left: QuotaLeft,
    /// When the answer came.
    pub heard: Instant,
}

/// What the server told last.
#[derive(Debug, Default)]
pub(super) struct QuotaEar(Mutex<Option<ToldQuota>>);

impl QuotaEar {
    /// Takes what an answer tells.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        if let Some(left) = quota_fields::read(headers) {
            self.learn(left);
        }
    }

    /// Takes what is left.
    pub(super) fn learn(&self, left: QuotaLeft) {
        let heard = Instant::now();
        *unpoisoned(self.0.lock()) = Some(ToldQuota { left, heard });
    }

    /// What was told last.
    pub(super) fn told(&self) -> Option<ToldQuota> {
        *unpoisoned(self.0.lock())
    }
}
