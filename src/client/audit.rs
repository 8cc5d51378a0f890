//! A server's log as a source for checks.

use super::{Client, ClientError, path};
use crate::audit::path::Resource;
use crate::audit::source::{Source, SourceError};
use crate::http::audit::Shards;

impl Source for Client {
    fn shards(&self) -> Result<Vec<String>, SourceError> {
        let shards: Shards = self.get_json("/v1/audit/log").map_err(failed)?;
        Ok(shards.shards.into_iter().map(|shard| shard.shard).collect())
    }

    fn read(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
        let mut reply = Vec::new();
        match self.get(&format!("{}/{resource}", path(&["log", shard])), &mut reply) {
            Ok(()) => Ok(Some(reply)),
            Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: ClientError) -> SourceError {
    SourceError::Server(error.to_string())
}
