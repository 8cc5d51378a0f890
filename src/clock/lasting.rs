//! A trouble that is told once it has lasted.

use std::time::{Duration, Instant};

/// How long a trouble may pass by itself. The other side of a deployment may start a little later,
/// or start anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// A trouble that is told when it has lasted for `PATIENCE`, and only once.
#[derive(Debug, Default)]
pub struct LastingTrouble {
    since: Option<Instant>,
    is_told: bool,
}

impl LastingTrouble {
    /// Notes that the trouble is there; whether it is to be told now.
    pub fn note(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let tell = !self.is_told && now.duration_since(since) >= PATIENCE;
        self.is_told |= tell;
        tell
    }

    /// Notes that it is over; whether it had been noted.
    pub fn end(&mut self) -> bool {
        std::mem::take(self).since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_only_when_it_lasts() {
        let mut trouble = LastingTrouble::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!trouble.note(at(0)) && !trouble.note(at(29)));
        assert!(trouble.note(at(30)) && !trouble.note(at(90)));
        assert!(trouble.end() && !trouble.end());
        assert!(!trouble.note(at(100)) && trouble.note(at(130)));
    }
}
