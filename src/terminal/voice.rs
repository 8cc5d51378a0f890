//! How much a program says beside its result: set once from the command line, asked everywhere.

use std::sync::OnceLock;

/// How much a program says, and in which form it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Voice {
    /// Say only results, errors and warnings: no progress, no summaries.
    pub quiet: bool,
    /// Say on standard error what is done: 1 what, 2 every step.
    pub verbose: u8,
    /// Errors are JSON objects.
    pub json: bool,
}

static VOICE: OnceLock<Voice> = OnceLock::new();

/// Sets the voice of this process. Only the first call has an effect.
pub fn set_voice(voice: Voice) {
    // A later call is a mistake without consequences: the first one stands.
    let _ = VOICE.set(voice);
}

/// The voice of this process.
pub fn voice() -> Voice {
    VOICE.get().copied().unwrap_or_default()
}

/// Whether only results, errors and warnings are said.
pub fn is_quiet() -> bool {
    voice().quiet
}
