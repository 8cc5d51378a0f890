//! The authority node's way to the vault. The node asks and the vault answers; the vault never
//! dials.
//!
//! [`VaultLink`] names no question. A question stands with its use case, as a type that says where
//! it is asked and what the vault answers ([`VaultQuestion`]). One trait with a method for each
//! question would have to know the types of every use case that asks; so those types would have to
//! move here, away from the rules that they belong to.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::audit::resume::Resumption;
use crate::code::Code;
use crate::refusal::Refusal;

/// A question of the node to the vault: JSON that is posted to the vault's control listener.
pub trait VaultQuestion: Serialize {
    /// What the vault answers, in JSON.
    type Answer: DeserializeOwned;
    /// Where it is asked.
    const PATH: &'static str;
    /// Whether the vault hands out mappings. It is then asked only while this node watches its log.
    const HANDS_OUT_MAPPINGS: bool = false;

    /// Bytes of its JSON at most, where that has identifiers in it: a buffer that grows leaves
    /// copies of them in freed memory.
    fn capacity(&self) -> usize {
        0
    }
}

/// A question on its way.
#[derive(Clone, Copy)]
pub struct PostedQuestion<'a> {
    /// [`VaultQuestion::PATH`]
    pub path: &'static str,
    /// [`VaultQuestion::HANDS_OUT_MAPPINGS`]
    pub hands_out_mappings: bool,
    /// The question's JSON.
    pub body: &'a [u8],
}

/// The way to the vault.
pub trait VaultLink: Send + Sync {
    /// Posts a question; the JSON of the vault's answer comes back.
    ///
    /// # Errors
    /// The vault's refusal, or [`Code::PeerUnavailable`].
    fn post(&self, question: PostedQuestion<'_>) -> Result<Vec<u8>, Refusal>;

    /// The entries that explain, provably, why logs of the vault are shorter than this node has
    /// seen them.
    ///
    /// # Errors
    /// [`Code::PeerUnavailable`].
    fn resumptions(&self) -> Result<Vec<Resumption>, Refusal>;
}

impl dyn VaultLink + '_ {
    /// Asks the vault.
    ///
    /// # Errors
    /// The vault's refusal; [`Code::PeerUnavailable`] when it does not answer, or not in the
    /// answer's form.
    pub fn ask<Q: VaultQuestion>(&self, question: &Q) -> Result<Q::Answer, Refusal> {
        let mut body = Zeroizing::new(Vec::with_capacity(question.capacity()));
        serde_json::to_writer(&mut *body, question)
            .map_err(|_| no_answer("the question could not be written"))?;
        let (path, hands_out_mappings) = (Q::PATH, Q::HANDS_OUT_MAPPINGS);
        let answer = self.post(PostedQuestion {
            path,
            hands_out_mappings,
            body: &body,
        })?;
        // What the error says may quote the answer, which has records in it.
        serde_json::from_slice(&answer).map_err(|_| no_answer("the answer is not in its form"))
    }
}

/// The vault gave no valid answer.
pub(crate) fn no_answer(error: impl std::fmt::Display) -> Refusal {
    tracing::warn!(%error, "the vault does not answer rightly");
    away()
}

/// The same where nothing is amiss with the answer, because there is none: the node says once when
/// the vault is away.
pub(crate) fn away() -> Refusal {
    Refusal::new(
        Code::PeerUnavailable,
        "the vault does not answer, or not rightly; try again later",
    )
}
