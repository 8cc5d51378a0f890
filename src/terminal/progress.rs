//! Bars on standard error while something takes its time; hidden unless that is a terminal, and with
//! `--quiet`.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::is_quiet;
use crate::client::ClientError;
use crate::client::lines::LineTotals;

/// A bar over `length` bytes or rows, or a counter where the length is not known.
pub fn progress(length: Option<u64>) -> ProgressBar {
    if is_quiet() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{prefix}{bar:24} {percent:>3} %  {wide_msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar
}

/// Shows on a bar how far lines have come.
pub fn line_progress(bar: &ProgressBar) -> impl FnMut(u64, &LineTotals) {
    |taken, totals| {
        bar.inc(taken);
        bar.set_message(line_summary(totals));
    }
}

/// Says on standard error, beside a bar, why lines are sent again, and after how long.
pub fn say_wait(bar: &ProgressBar) -> impl Fn(&ClientError, Duration) {
    |error, pause| {
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
}

/// What became of lines, in a few words.
pub fn line_summary(totals: &LineTotals) -> String {
    let rejected = match totals.rejected {
        0 => String::new(),
        rejected => format!(", {} rejected", HumanCount(rejected)),
    };
    let rate = totals.items as f64 / totals.elapsed.as_secs_f64().max(1e-9);
    format!(
        "{} identifiers{rejected}, {} a second",
        HumanCount(totals.items),
        HumanCount(rate as u64)
    )
}
