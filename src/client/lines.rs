//! Identifiers from any input, one a line, turned into pseudonyms in the same order: in batches,
//! tried again while the vault is busy or the connection lost.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::batches::{LineBatch, LineBatches};
use super::{Client, ClientError, path};

/// How long one batch may wait for a busy vault or a lost connection.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where lines go, and how many of them at once.
pub struct LineTokenizer<'a> {
    /// The vault.
    pub client: &'a Client,
    /// As [`tokenize_path`] writes it.
    pub path: String,
    /// Lines in one request.
    pub batch: usize,
    /// Learns why a batch is sent again, and after how long.
    pub on_wait: &'a dyn Fn(&ClientError, Duration),
}

/// What became of the lines so far.
#[derive(Debug, Default, Clone, Copy)]
pub struct LineTotals {
    /// Lines answered.
    pub items: u64,
    /// Lines answered with a code in place of a pseudonym.
    pub rejected: u64,
    /// From the first batch sent to the last answer.
    pub elapsed: Duration,
}

/// Why the lines after a number of answered ones have no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The input cannot be read.
    #[error("standard input: {0}")]
    Input(io::Error),
    /// The answers cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The vault refused, or could not be reached.
    #[error("{error}")]
    Vault {
        /// Lines answered before.
        done: u64,
        /// What happened.
        error: ClientError,
    },
    /// The vault's answer has another number of lines.
    #[error("the vault's answer has another number of lines than the request")]
    Count {
        /// Lines answered before.
        done: u64,
    },
}

impl LineTokenizer<'_> {
    /// Sends `input` in batches and writes the answers to `output`, in order. After each batch
    /// `tell` learns how many bytes of the input it took, and the totals.
    ///
    /// # Errors
    /// [`LineError`]; what was answered before stands in the output.
    pub fn run(
        &self,
        input: impl Read + Send + 'static,
        output: &mut impl Write,
        mut tell: impl FnMut(u64, &LineTotals),
    ) -> Result<LineTotals, LineError> {
        let started = Instant::now();
        let (mut totals, mut answers) = (LineTotals::default(), Vec::new());
        for batch in LineBatches::read_ahead(input, self.batch) {
            let batch = batch.map_err(LineError::Input)?;
            let done = totals.items;
            self.send(&batch, done == 0, &mut answers)
                .map_err(|error| LineError::Vault { done, error })?;
            if answers.iter().filter(|byte| **byte == b'\n').count() != batch.lines {
                return Err(LineError::Count { done });
            }
            output.write_all(&answers).map_err(LineError::Output)?;
            totals.items += batch.lines as u64;
            totals.rejected += answers
                .split(|byte| *byte == b'\n')
                .filter(|line| line.starts_with(b"!"))
                .count() as u64;
            totals.elapsed = started.elapsed();
            tell(batch.taken, &totals);
        }
        Ok(totals)
    }

    /// Sends one batch until it is answered. Sending it twice is harmless: the same line gives the
    /// same pseudonym.
    fn send(
        &self,
        batch: &LineBatch,
        is_first: bool,
        answers: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self
                .client
                .post(&self.path, "text/plain", &batch.bytes, answers)
            else {
                return Ok(());
            };
            // A vault that was never reached is more likely a wrong address than a passing fault.
            let hopeless = is_first && matches!(error, ClientError::Connection { .. });
            match error.retry_after() {
                Some(pause) if !hopeless && Instant::now() + pause < deadline => {
                    (self.on_wait)(&error, pause);
                    std::thread::sleep(pause);
                }
                _ => return Err(error),
            }
        }
    }
}

/// Path and query of a tokenization. Names are encoded, so that none becomes another path or
/// parameter; the vault refuses unknown ones.
pub fn tokenize_path(sector: &str, scheme: &str, purpose: Option<&str>, previous: bool) -> String {
    // A part's encoding leaves no character that means something in a query, either.
    let value = |text: &str| path(&[text])[1..].to_owned();
    let mut whole = path(&["v1", "sectors", sector, "pseudonyms"]);
    whole += &format!("?scheme={}", value(scheme));
    if let Some(purpose) = purpose {
        whole += &format!("&purpose={}", value(purpose));
    }
    if previous {
        whole += "&previous=true";
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_other_paths_or_parameters() {
        assert_eq!(
            tokenize_path("health", "cnie", None, false),
            "/v1/sectors/health/pseudonyms?scheme=cnie"
        );
        assert_eq!(
            tokenize_path("a/../b?x", "c&previous=true", Some("p q"), true),
            "/v1/sectors/a%2F..%2Fb%3Fx/pseudonyms?scheme=c%26previous%3Dtrue&purpose=p%20q&previous=true"
        );
    }
}
