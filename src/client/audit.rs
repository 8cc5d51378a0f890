//! A server's log as a source for checks.

use super::{Client, ClientError, path};
use crate::audit::log::{ShardView, Shards};
use crate::store::Shard;
use crate::tlog::path::LogResource;
use crate::tlog::source::{LogSource, LogSourceError};

impl LogSource for Client {
    fn shards(&self) -> Result<Vec<String>, LogSourceError> {
        let shards: Shards = self.get_json("/v1/audit/log").map_err(failed)?;
        names(&shards.shards)
    }

    fn read(&self, shard: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError> {
        let mut reply = Vec::new();
        match self.get(&format!("{}/{resource}", path(&["log", shard])), &mut reply) {
            Ok(()) => Ok(Some(reply)),
            Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The names of shards, which become paths where a log is copied: the one spelling of each, every
/// shard once, oldest first.
fn names(views: &[ShardView]) -> Result<Vec<String>, LogSourceError> {
    let shards: Option<Vec<Shard>> = views.iter().map(|view| Shard::parse(&view.shard)).collect();
    let shards = shards.filter(|shards| shards.is_sorted_by(|one, next| one < next));
    let shards = shards.ok_or_else(|| {
        LogSourceError::Server("the server names something that is not a shard".to_owned())
    })?;
    Ok(shards.iter().map(Shard::to_string).collect())
}

fn failed(error: ClientError) -> LogSourceError {
    LogSourceError::Server(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_names_shards_and_no_other_paths() {
        let view = |shard: &&str| ShardView {
            shard: (*shard).to_owned(),
            origin: String::new(),
            key: String::new(),
            size: 0,
        };
        let named = |shards: &[&str]| names(&shards.iter().map(view).collect::<Vec<_>>());
        assert_eq!(
            named(&["2026", "2026-1", "2027"]).unwrap(),
            ["2026", "2026-1", "2027"]
        );
        for strange in [
            "../other/2026",
            "/var/lib/2026",
            "2026/..",
            "",
            ".",
            "02026",
            "+2026",
            "2026-0",
            "2026-01",
        ] {
            assert!(named(&["2025", strange]).is_err(), "{strange}");
        }
        assert!(named(&["2026", "2026"]).is_err(), "once each");
        assert!(named(&["2027", "2026"]).is_err(), "oldest first");
    }
}
