//! Asks a health listener on this machine: HTTP without TLS, on loopback.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// How long a health listener may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer.
const MOST: u64 = 1 << 20;

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReadyAnswer {
    /// Whether the process takes requests.
    pub ready: bool,
    /// Thing → why it is not ready.
    pub reasons: BTreeMap<String, String>,
    /// Thing → what to look into, although it is ready.
    #[serde(default)]
    pub notices: BTreeMap<String, String>,
}

/// Gets what is at `path`, its head left out; `None` if nothing answers.
pub fn get(health: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&health, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {health}\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// Asks whether the process is ready; `None` if nothing answers.
pub fn readiness(health: SocketAddr) -> Option<ReadyAnswer> {
    serde_json::from_str(&get(health, "/readyz")?).ok()
}
