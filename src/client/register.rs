//! Has a vault or a node read its register again, and asks which registers were in force.

use super::{Client, ClientError, path};
use crate::reload::{PastRegisterFiles, RegisterHistory, RegisterReloaded};

impl Client {
    /// Has the other side read its register again.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn reload_register(&self) -> Result<RegisterReloaded, ClientError> {
        self.post_json("/v1/register/reload", &serde_json::json!({}))
    }

    /// Every register that was in force there.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn register_history(&self) -> Result<RegisterHistory, ClientError> {
        self.get_json("/v1/register/history")
    }

    /// A register that was in force there.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn past_register(&self, version: u64) -> Result<PastRegisterFiles, ClientError> {
        self.get_json(&path(&["v1", "register", "history", &version.to_string()]))
    }
}
