//! A scheme's pattern as a table: one look-up a byte, no backtracking, no state between values.

use std::collections::BTreeSet;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start, syntax};
use regex_automata::{Anchored, MatchKind};

use super::{CheckDigit, MAX_CANONICAL};

/// What a pattern's tables may take, in bytes; a pattern of identifiers takes a few hundred.
const SIZE_LIMIT: usize = 1 << 20;

/// A compiled pattern.
pub(super) struct Pattern {
    table: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// How far into the pattern a value has come.
#[derive(Clone, Copy)]
pub(super) struct PatternState(StateID);

impl Pattern {
    /// Compiles an ASCII regular expression; it will have to match whole values.
    pub(super) fn compile(pattern: &str) -> Result<Pattern, String> {
        if !pattern.is_ascii() {
            return Err(
                "the pattern has a character that is not ASCII, and no canonical value has one"
                    .into(),
            );
        }
        // `All` instead of leftmost-first: "A|AB" must match "AB" too, and only the end of the
        // value decides.
        let table = dense::Builder::new()
            .syntax(
                syntax::Config::new()
                    .unicode(false)
                    .utf8(false)
                    .nest_limit(50),
            )
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(SIZE_LIMIT)),
            )
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::All)
                    .accelerate(false)
                    .dfa_size_limit(Some(SIZE_LIMIT))
                    .determinize_size_limit(Some(4 * SIZE_LIMIT)),
            )
            .build(pattern)
            .map_err(|error| {
                let cause = first_line(&error);
                // The builder reports the limit by itself only for the table; for the automaton
                // before it, only the text does.
                if error.is_size_limit_exceeded() || cause.contains("exceeded limit") {
                    "the pattern is too large".to_owned()
                } else {
                    format!("the pattern is not a regular expression that can be used: {cause}")
                }
            })?;
        let start = table
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|_| "the pattern has no place to start".to_owned())?;
        Ok(Pattern { table, start })
    }

    /// At the start of a value.
    pub(super) fn start(&self) -> PatternState {
        PatternState(self.start)
    }

    /// One byte on.
    pub(super) fn step(&self, walk: PatternState, byte: u8) -> PatternState {
        PatternState(self.table.next_state(walk.0, byte))
    }

    /// Whether a value that ends here matches as a whole.
    pub(super) fn ends(&self, walk: PatternState) -> bool {
        self.table.is_match_state(self.table.next_eoi_state(walk.0))
    }

    /// Refuses a pattern that matches no canonical value, the empty one, or, where there is a check
    /// digit, a value that is not all digits. Walks everything that the canonical `alphabet` can
    /// spell, to the greatest length.
    pub(super) fn suits(&self, alphabet: &[u8], check: CheckDigit) -> Result<(), String> {
        if self.ends(self.start()) {
            return Err("the pattern matches the empty value".into());
        }
        let mut seen = BTreeSet::from([(self.start, false)]);
        let mut edge: Vec<(StateID, bool)> = seen.iter().copied().collect();
        let (mut matches, mut letters) = (false, false);
        for _ in 0..MAX_CANONICAL {
            let mut next = Vec::new();
            for (state, letter) in edge {
                for byte in alphabet {
                    let walk = self.step(PatternState(state), *byte);
                    let letter = letter || !byte.is_ascii_digit();
                    if !self.table.is_dead_state(walk.0) && seen.insert((walk.0, letter)) {
                        next.push((walk.0, letter));
                        matches |= self.ends(walk);
                        letters |= letter && self.ends(walk);
                    }
                }
            }
            edge = next;
        }
        if !matches {
            let why = "without spaces and separators, upper case where case is folded, at most 64 characters";
            return Err(format!("the pattern matches no canonical value ({why})"));
        }
        if letters && check != CheckDigit::None {
            return Err(format!(
                "the check digit {} is for values of digits, and the pattern allows others",
                check.as_str()
            ));
        }
        Ok(())
    }
}

/// The cause, without the many-line drawing that the parser adds.
fn first_line(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("")
        .trim()
        .trim_start_matches("error: ")
        .to_owned()
}
