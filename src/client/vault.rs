//! The authority node's questions to the vault, over this client.

use super::{Client, ClientError};
use crate::link::{PostedQuestion, away, no_answer};
use crate::refusal::Refusal;

impl Client {
    /// Posts a question of the node's; the JSON of the answer comes back.
    pub(super) fn post_question(&self, question: PostedQuestion<'_>) -> Result<Vec<u8>, Refusal> {
        let mut answer = Vec::new();
        self.ask_as_node(question.path, question.body, &mut answer)
            .map_err(|error| refusal(&error))?;
        Ok(answer)
    }
}

fn refusal(error: &ClientError) -> Refusal {
    match (error, error.code()) {
        (ClientError::Problem(problem), Some(code)) => {
            let why = problem.detail.as_ref().unwrap_or(&problem.title);
            let refusal = Refusal::new(code, format!("the vault refuses: {why}"));
            problem
                .retry_after
                .map_or(refusal.clone(), |seconds| refusal.come_back_in(seconds))
        }
        (ClientError::Wire(refusal), _) => refusal.clone(),
        (ClientError::Connection { .. }, _) => {
            tracing::debug!(%error, "the vault does not answer");
            away()
        }
        _ => no_answer(error),
    }
}
