//! The client of a witness (C2SP `tlog-witness`).

use super::{Client, ClientError};
use crate::audit::cosign::{WitnessAnswer, WitnessLink};
use crate::tlog::witness::{CheckpointSubmission, origin_hash};

impl WitnessLink for Client {
    fn ask(&self, submission: &CheckpointSubmission) -> Result<WitnessAnswer, String> {
        let mut reply = Vec::new();
        let status = self
            .post_any(
                "/add-checkpoint",
                "text/plain; charset=utf-8",
                submission.text().as_bytes(),
                &mut reply,
            )
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&reply);
        match status {
            200 => Ok(WitnessAnswer::Cosigned(text.into_owned())),
            409 => text
                .trim_end()
                .parse()
                .map(WitnessAnswer::Stale)
                .map_err(|_| "its answer has no size".to_owned()),
            422 => Ok(WitnessAnswer::Inconsistent),
            404 => Err("it does not watch this log".to_owned()),
            403 if text.contains("acknowledged") => Err(
                "this log lost entries, and the witness's people have not acknowledged that"
                    .to_owned(),
            ),
            403 => Err("it does not believe this log's key".to_owned()),
            status => Err(format!("{} answers with status {status}", self.base())),
        }
    }

    fn last(&self, origin: &str) -> Result<Option<Vec<u8>>, String> {
        let path = format!("/{}/checkpoint", origin_hash(origin));
        let mut note = Vec::new();
        match self.get(&path, &mut note) {
            Ok(()) => Ok(Some(note)),
            Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}
