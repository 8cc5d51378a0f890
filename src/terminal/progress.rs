//! Bars on standard error while something takes its time; hidden unless that is a terminal, and
//! with `--quiet`.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::is_quiet;
use crate::client::ClientError;
use crate::transfer::{TransferEvent, TransferTotals};

/// A bar over `length` bytes or rows, or a counter where the length is not known.
pub fn progress(length: Option<u64>) -> ProgressBar {
    if is_quiet() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{prefix}{bar:24} {percent:>3} %  {eta:>4}  {wide_msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar
}

/// Shows on a bar how far a transfer has come, and says beside it what it waits for.
pub fn transfer_progress(bar: &ProgressBar) -> impl FnMut(TransferEvent<'_>) {
    |event| match event {
        TransferEvent::Answered { taken, totals } => {
            bar.inc(taken);
            bar.set_message(transfer_rate(totals));
        }
        TransferEvent::HeldBack { per_second, .. } => {
            let quota = HumanCount(per_second);
            bar.set_message(format!("held back by the quota of {quota} a second"));
        }
        TransferEvent::Again { error, pause } => say_again(bar, error, pause),
    }
}

/// Says on standard error, beside a bar, why items are sent again, and after how long.
fn say_again(bar: &ProgressBar, error: &ClientError, pause: Duration) {
    if is_quiet() {
        return;
    }
    // Standard error may be closed; the work goes on all the same.
    let say = || {
        writeln!(
            io::stderr(),
            "waiting {} s, then trying again: {error}",
            pause.as_secs().max(1)
        )
    };
    let _ = bar.suspend(say);
}

/// What became of items, in a few words.
fn transfer_rate(totals: &TransferTotals) -> String {
    let rejected = match totals.rejections() {
        0 => String::new(),
        rejected => format!(", {} rejected", HumanCount(rejected)),
    };
    let rate = totals.this_run as f64 / totals.elapsed.as_secs_f64().max(1e-9);
    format!(
        "{} answered{rejected}, {} a second",
        HumanCount(totals.items),
        HumanCount(rate as u64)
    )
}
