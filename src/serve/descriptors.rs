//! File descriptors: every connection takes one, and so does every file of the store. A server
//! without a free descriptor can neither answer nor write. So it checks before it opens anything
//! that they suffice.

use crate::config::LimitConfig;
use crate::http::Limits;
use crate::store::descriptors::SHARE;
use crate::system::process::raise_open_files;
use crate::terminal::CommandError;

/// Connections of the health listener at once: monitoring takes one or two, and the listener is
/// open to every local user.
pub(super) const HEALTH_CONNECTIONS: usize = 32;

/// Other descriptors of a process: logs, listening sockets, signals, connections to the other side
/// and to witnesses.
const OTHERS: usize = 64;

/// Raises the limit on open files as far as this process may. Refuses if `listeners` listeners
/// under these limits and a store could need more.
///
/// # Errors When the limit is too low. The message says how many files are needed.
pub(super) fn secure(listeners: usize, limits: &LimitConfig) -> Result<(), CommandError> {
    let unknown = |error| {
        CommandError::new(
            format_args!("the limit on open files: {error}"),
            "check the system's limits",
        )
    };
    let files = raise_open_files().map_err(unknown)?;
    let needed = needed(listeners, limits.connections);
    if files < needed {
        return Err(CommandError::new(
            format_args!("this process may open {files} files and could need {needed}"),
            "raise the limit (LimitNOFILE= in the unit, `ulimit -Hn` in a shell), or lower `[limits] connections`",
        ));
    }
    tracing::debug!(limit = files, needed, "open files");
    Ok(())
}

/// Open files that so many listeners with so many connections each could take, with the store's
/// share on top.
fn needed(listeners: usize, connections: usize) -> u64 {
    let sockets =
        listeners * (connections + Limits::default().handshakes) + HEALTH_CONNECTIONS + OTHERS;
    (sockets as u64 * SHARE).div_ceil(SHARE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_share_comes_on_top_of_all_connections() {
        for (listeners, connections) in [(1, 10), (2, 1024), (2, 10_000)] {
            let needed = needed(listeners, connections);
            let left = needed - needed / SHARE;
            assert!(
                left >= (listeners * connections + HEALTH_CONNECTIONS + OTHERS) as u64,
                "{needed}"
            );
        }
        assert!(
            needed(2, 1024) < 4096,
            "what a system usually allows is enough"
        );
    }
}
