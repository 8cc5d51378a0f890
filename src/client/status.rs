//! Asks a server who the caller is there, and how the server is.

use super::{Client, ClientError};
use crate::status::StatusReport;

impl Client {
    /// Asks the server for its status; what it says of the quota is remembered.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn status(&self) -> Result<StatusReport, ClientError> {
        let report: StatusReport = self.get_json("/v1/status")?;
        if let Some(quota) = &report.quota {
            self.learn_quota(quota.left());
        }
        Ok(report)
    }
}
