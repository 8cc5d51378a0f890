//! Child processes: started, waited for, and ended by their id whichever way a test ends.
#![expect(unsafe_code, reason = "signals to a child")]

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a process may take until it is ready, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that did not come to serve.
#[derive(Debug)]
pub struct Failed {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote, trace lines left out.
    pub said: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n{}", self.code, self.said)
    }
}

pub struct Process(Option<Child>);

impl Process {
    /// Starts a program that writes to `log` and waits until its health listener says that it is
    /// ready.
    pub fn start(mut command: Command, log: &Path, health: SocketAddr) -> Result<Self, Failed> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let before = output.metadata().unwrap().len();
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let mut process = Self(Some(command.spawn().unwrap()));
        let started = Instant::now();
        while !ready(health) {
            if let Some(status) = process.child().try_wait().unwrap() {
                return Err(Failed {
                    code: status.code(),
                    said: said(log, before),
                });
            }
            assert!(
                started.elapsed() < PATIENCE,
                "not ready after {PATIENCE:?}:\n{}",
                said(log, before)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("there until it is ended")
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().expect("there until it is ended").id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until it has ended of its own accord.
    pub fn wait(mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child().try_wait().unwrap() {
                self.0 = None;
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on no file of it may become longer than so many bytes: its writes fail, as on a
    /// full disk.
    pub fn limit_files(&self, bytes: u64) {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        let (id, no_old) = (self.id() as libc::pid_t, std::ptr::null_mut());
        // SAFETY: `limit` outlives the call, and no old limits are asked for.
        let set = unsafe { libc::prlimit(id, libc::RLIMIT_FSIZE, &raw const limit, no_old) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    pub fn signal(&self, number: libc::c_int) {
        signal(self.id(), number);
    }

    /// Asks it to end and waits until it has.
    pub fn stop(self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Ends it without asking.
    pub fn kill(mut self) {
        let mut child = self.0.take().expect("there until it is ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Also while a test panics: nothing may be left running.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(id: u32, signal: libc::c_int) {
    // SAFETY: `kill` takes any numbers; the child was not waited for yet, so the id is still its
    // own.
    unsafe { libc::kill(libc::pid_t::try_from(id).unwrap(), signal) };
}

/// What was written behind a place in a log, without the lines of the trace.
fn said(log: &Path, from: u64) -> String {
    let mut file = File::open(log).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .filter(|line| !line.contains("TRACE") && !line.contains("DEBUG"))
        .map(|l| format!("{l}\n"))
        .collect()
}

fn ready(health: SocketAddr) -> bool {
    // A node is up, and opens nothing: its custodians are to unseal it, or somebody to acknowledge
    // what the vault lost.
    let is_up = |answer: &str| {
        let only = |reason: &str| answer.contains(&format!("\"reasons\":{{\"{reason}\":"));
        (only("sealed") || only("vault-log")) && !answer.contains("\",\"")
    };
    get(health, "/readyz")
        .is_some_and(|answer| answer.starts_with("HTTP/1.1 200") || is_up(&answer))
}

/// What a health listener answers, head and body; nothing when it does not.
pub fn get(health: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&health, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {health}\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Ports on loopback that nobody uses. Below those that the system gives to outgoing connections,
/// so that none of these takes one before its listener does.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut next = || loop {
        let port = 10_000 + u16::from_be_bytes(cloison::clock::random()) % 22_000;
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return port;
        }
    };
    std::array::from_fn(|_| next())
}

/// Waits until it is so.
pub fn soon(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
