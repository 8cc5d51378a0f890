//! A file in, a file out: items of any input are answered in batches, in their order, at the pace
//! of the quota.
//!
//! An input ([`input`], [`table`]) gives batches, an [`Answerer`] has a server answer each, and an
//! [`AnswerSink`] takes the answers. A file of answers is whole or not there, and
//! a run that was interrupted, at any byte, goes on where the last durable answers end ([`output`],
//! [`resume`]).

pub mod fault;
pub mod input;
pub mod output;
pub mod pace;
pub mod reidentify;
pub mod resume;
pub mod table;
pub mod tokenize;
mod totals;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fault::InputError;
use input::InputBatch;
use output::{AnswerSink, OutputError};
use resume::{FilePlace, TransferProgress};
pub use totals::{RejectedItems, TransferTotals};

use crate::client::ClientError;
use crate::refusal::Refusal;

/// A longer item is cut here: no identifier or pseudonym is this long, so it is rejected in either
/// case.
const MAX_ITEM: usize = 4 * 1024;
/// How long one batch may wait for a busy server or a lost connection.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a wait looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Has a server answer items.
pub trait Answerer {
    /// Answers a batch: a line for each item, its columns with a tab between them, or `!` and a
    /// code. The answers replace what is in `answers`.
    ///
    /// # Errors
    /// [`TransferError`]
    fn answer(
        &mut self,
        batch: &InputBatch,
        waits: &mut Waits<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), TransferError>;

    /// What is added to a column's name for each column of an answer.
    fn suffixes(&self) -> &'static [&'static str];

    /// Writes the line that stands in the output for an item of a list, with its end.
    fn write_line(&self, item: &[u8], place: u64, answer: &[u8], out: &mut Vec<u8>);
}

/// What happens on the way, for those who watch.
pub enum TransferEvent<'a> {
    /// A batch is answered, and durable where it goes to a file.
    Answered {
        /// Bytes of the input that it took.
        taken: u64,
        /// What became of all items so far.
        totals: &'a TransferTotals,
    },
    /// A batch will be sent again.
    Again {
        /// Why.
        error: &'a ClientError,
        /// After how long.
        pause: Duration,
    },
    /// The next batch waits for the quota.
    HeldBack {
        /// For how long.
        pause: Duration,
        /// Items a second that the register grants.
        per_second: u64,
    },
}

/// Why items are not answered.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The answers cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The order cannot be used.
    #[error("{0}")]
    Order(Refusal),
    /// The server's answer has another number of items.
    #[error("the server's answer has another number of items than the request")]
    Count,
    /// The quota of the day does not have as many items any more.
    #[error("the quota of the day is used up: {left} of {per_day} items are left")]
    DayOver {
        /// What is left.
        left: u64,
        /// What the register grants.
        per_day: u64,
        /// Until the next day (UTC).
        ends_in: Duration,
    },
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// What a transfer waits for, and who learns of it.
pub struct Waits<'a> {
    /// Learns what happens.
    pub tell: &'a mut dyn FnMut(TransferEvent<'_>),
    /// Set when the transfer is to stop.
    pub stop: &'a AtomicBool,
    /// Whether a server was reached before: one that never was is more likely a wrong address than
    /// a passing fault.
    reached: bool,
}

impl<'a> Waits<'a> {
    /// Nothing was reached yet.
    pub fn new(tell: &'a mut dyn FnMut(TransferEvent<'_>), stop: &'a AtomicBool) -> Self {
        Self {
            tell,
            stop,
            reached: false,
        }
    }

    /// Asks a server until it answers. To ask twice must be harmless.
    ///
    /// # Errors
    /// [`TransferError::Server`] when trying again does not help or was done for long enough;
    /// [`TransferError::Stopped`]; any error of `ask` that is not the server's.
    pub fn ask<T>(
        &mut self,
        mut ask: impl FnMut() -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match ask() {
                Ok(answer) => {
                    self.reached = true;
                    return Ok(answer);
                }
                Err(TransferError::Server(error)) => error,
                Err(error) => return Err(error),
            };
            let hopeless = !self.reached && matches!(error, ClientError::Connection { .. });
            match error.retry_after() {
                Some(pause) if !hopeless && Instant::now() + pause < deadline => {
                    let error = &error;
                    (self.tell)(TransferEvent::Again { error, pause });
                    self.sleep(pause)?;
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// Waits.
    ///
    /// # Errors
    /// [`TransferError::Stopped`]
    pub fn sleep(&self, pause: Duration) -> Result<(), TransferError> {
        let end = Instant::now() + pause;
        loop {
            self.go_on()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn go_on(&self) -> Result<(), TransferError> {
        if self.stop.load(Ordering::Relaxed) {
            Err(TransferError::Stopped)
        } else {
            Ok(())
        }
    }

    /// The next batch; `None` at the end of the input.
    fn next(
        &self,
        batches: &Receiver<Result<InputBatch, InputError>>,
    ) -> Result<Option<InputBatch>, TransferError> {
        loop {
            self.go_on()?;
            match batches.recv_timeout(LOOK) {
                Ok(batch) => return Ok(Some(batch?)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Answers all batches in their order. `progress` says at each moment, also after an error, what is
/// whole in the output.
///
/// # Errors
/// [`TransferError`]
pub fn run(
    batches: &Receiver<Result<InputBatch, InputError>>,
    answerer: &mut dyn Answerer,
    sink: &mut dyn AnswerSink,
    progress: &mut TransferProgress,
    mut waits: Waits<'_>,
) -> Result<(), TransferError> {
    let started = Instant::now();
    let (mut answers, mut out) = (vec![], vec![]);
    while let Some(batch) = waits.next(batches)? {
        answers.clear();
        if batch.count > 0 {
            answerer.answer(&batch, &mut waits, &mut answers)?;
        }
        if answers.iter().filter(|byte| **byte == b'\n').count() != batch.count {
            return Err(TransferError::Count);
        }
        out.clear();
        render(&batch, answerer, &answers, &mut out);
        sink.append(&out)?;
        // On the way to the sink nothing of the batch counts as done.
        let mut next = progress.clone();
        count(&batch, &answers, &mut next.totals);
        next.totals.elapsed = started.elapsed();
        next.read = FilePlace::of(&batch.end);
        next.line = batch.end_line;
        sink.commit(&mut next)?;
        *progress = next;
        let totals = &progress.totals;
        let taken = batch.taken;
        (waits.tell)(TransferEvent::Answered { taken, totals });
    }
    Ok(())
}

/// The answers without their line ends.
fn each_answer<'a>(batch: &InputBatch, answers: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    answers.split(|byte| *byte == b'\n').take(batch.count)
}

/// The lines or records that stand in the output for a batch.
fn render(batch: &InputBatch, answerer: &dyn Answerer, answers: &[u8], out: &mut Vec<u8>) {
    let Some(table) = &batch.table else {
        let answered = batch
            .each()
            .zip(&batch.lines)
            .zip(each_answer(batch, answers));
        for ((item, line), answer) in answered {
            answerer.write_line(item, *line, answer, out);
        }
        return;
    };
    let columns = answerer.suffixes().len();
    let padded = |answer| {
        let columns_of_answer = <[u8]>::split(answer, |byte: &u8| *byte == b'\t');
        columns_of_answer
            .chain(std::iter::repeat(&b""[..]))
            .take(columns)
    };
    table.write(each_answer(batch, answers).map(padded), out);
}

fn count(batch: &InputBatch, answers: &[u8], totals: &mut TransferTotals) {
    totals.items += batch.count as u64;
    totals.this_run += batch.count as u64;
    for (answer, line) in each_answer(batch, answers).zip(&batch.lines) {
        if let Some(code) = answer.strip_prefix(b"!") {
            totals.reject(&String::from_utf8_lossy(code), *line);
        }
    }
}
