//! The last day of one's own entry in the server's register, as the server's answers tell it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use ureq::http::HeaderMap;

use crate::http::KEY_UNTIL;

/// Who is told of a day that was not told before.
type DayListener = Box<dyn Fn(Date) + Send>;

/// What the server told last.
#[derive(Default)]
pub(super) struct EntryEnd(Mutex<(Option<Date>, Option<DayListener>)>);

impl EntryEnd {
    /// Takes what an answer tells.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        let told = headers.get(KEY_UNTIL);
        let Some(day) = told.and_then(|day| day.to_str().ok()?.parse::<Date>().ok()) else {
            return;
        };
        let (known, listener) = &mut *self.lock();
        if known.replace(day) != Some(day)
            && let Some(listener) = listener
        {
            listener(day);
        }
    }

    /// The last day, once an answer has told one.
    pub(super) fn day(&self) -> Option<Date> {
        self.lock().0
    }

    /// Has `listener` told of it.
    pub(super) fn tell(&self, listener: DayListener) {
        self.lock().1 = Some(listener);
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Date>, Option<DayListener>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
