//! The bounds of a listener.

use std::time::Duration;

/// The most bytes of a batch, which is the largest body of clients.
pub const MAX_BATCH: usize = 16 << 20;
/// The most bytes of an offer of another's log. One entry has the record of all that its commit
/// changed: the copies of two orders that name as many pseudonyms as an order can (`jws::MAX_TEXT`)
/// take about 17 MiB.
pub const MOST_OFFER: usize = 32 << 20;

/// The bounds of a listener. `budget` and `admission` hold one caller's share of them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. One organisation has at most a quarter of them, one certificate an
    /// eighth.
    pub connections: usize,
    /// Handshakes at once. When more come, the address with the most of them loses one.
    pub handshakes: usize,
    /// Bytes of batches at once, shared likewise.
    pub batches: usize,
    /// Time for a handshake.
    pub handshake: Duration,
    /// How long a connection may be idle. After one to two times this it is asked to close, and it
    /// is cut if it has not sent a whole head by then.
    pub idle: Duration,
    /// How long an answer may lie unread.
    pub stall: Duration,
    /// Age at which a connection is asked to close, so that an expired certificate is noticed.
    pub age: Duration,
    /// How long requests under way may go on once the connection is to close.
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
