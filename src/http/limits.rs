//! What a listener grants to those who come.

use std::time::Duration;

/// The most bytes of a batch: the largest body that there is.
pub const MAX_BATCH: usize = 16 << 20;

/// The bounds of a listener. What one caller can have of them is in `budget` and `admission`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. One organisation has at most a quarter of them, one certificate an
    /// eighth.
    pub connections: usize,
    /// Handshakes at once: where more come, the address with the most of them gives one up.
    pub handshakes: usize,
    /// Bytes of batches at once, shared likewise.
    pub batches: usize,
    /// Time for a handshake.
    pub handshake: Duration,
    /// Time for which a connection may have nothing to do: after one to two of these it is asked to
    /// close, and what has not sent a whole head by then is cut.
    pub idle: Duration,
    /// Time for which an answer may lie unread.
    pub stall: Duration,
    /// Age at which a connection is asked to close, so that a certificate's end is noticed.
    pub age: Duration,
    /// Time that requests under way have once the connection is to close.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 128,
            batches: 128 << 20,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            age: Duration::from_secs(3600),
            drain: Duration::from_secs(20),
        }
    }
}
