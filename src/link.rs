//! The authority node's connection to the vault. The node asks and the vault answers; the vault
//! never opens a connection.
//!
//! [`VaultLink`] posts any question. Each use case defines its own questions as types that state
//! the path and the answer ([`VaultQuestion`]). A trait with a method for each question would have
//! to know the types of every use case.

pub mod wire;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::audit::resume::Resumption;
use crate::code::Code;
use crate::refusal::Refusal;

/// A question of the node to the vault: JSON that is posted to the vault's control listener.
pub trait VaultQuestion: Serialize {
    /// The vault's answer, in JSON.
    type Answer: DeserializeOwned;
    /// The path to which it is posted.
    const PATH: &'static str;
    /// Whether the vault hands out mappings. The node asks such a question only while it watches
    /// the vault's log.
    const HANDS_OUT_MAPPINGS: bool = false;

    /// The most bytes of its JSON, if that holds identifiers: a buffer that grows would leave
    /// copies of them in freed memory.
    fn capacity(&self) -> usize {
        0
    }
}

/// A question as it is posted.
#[derive(Clone, Copy)]
pub struct PostedQuestion<'a> {
    /// [`VaultQuestion::PATH`]
    pub path: &'static str,
    /// [`VaultQuestion::HANDS_OUT_MAPPINGS`]
    pub hands_out_mappings: bool,
    /// The question's JSON.
    pub body: &'a [u8],
}

/// A connection to the vault.
pub trait VaultLink: Send + Sync {
    /// Posts a question and returns the JSON of the vault's answer.
    ///
    /// # Errors
    /// The vault's refusal, or [`Code::PeerUnavailable`].
    fn post(&self, question: PostedQuestion<'_>) -> Result<Vec<u8>, Refusal>;

    /// The entries that prove why logs of the vault are shorter than this node has seen them.
    ///
    /// # Errors
    /// [`Code::PeerUnavailable`].
    fn resumptions(&self) -> Result<Vec<Resumption>, Refusal>;

    /// Looks at the vault's log at once, because a person has acknowledged what it lost. A link
    /// that does not watch it does nothing.
    fn look_again(&self) {}
}

impl dyn VaultLink + '_ {
    /// Asks the vault.
    ///
    /// # Errors
    /// The vault's refusal; [`Code::PeerUnavailable`] if it does not answer, or not in the answer's
    /// form.
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
        // The error may quote the answer, which holds records.
        serde_json::from_slice(&answer).map_err(|_| no_answer("the answer is not in its form"))
    }
}

/// The vault gave no valid answer.
pub(crate) fn no_answer(error: impl std::fmt::Display) -> Refusal {
    tracing::warn!(%error, "the vault gave no valid answer");
    away()
}

/// The vault gave no answer at all. This logs nothing, because the node reports once that the vault
/// is away.
pub(crate) fn away() -> Refusal {
    Refusal::new(
        Code::PeerUnavailable,
        "the vault gave no valid answer; try again later",
    )
}
