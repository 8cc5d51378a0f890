//! The folder and the processes of a demo or benchmark, which are removed however it ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::terminal::CommandError;

/// How long a process may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(10);

/// A folder and the processes that run on it. Dropping it ends the processes and removes the
/// folder, unless it is kept.
pub struct LocalDeployment {
    folder: PathBuf,
    local: Arc<Mutex<LocalProcesses>>,
}

#[derive(Default)]
struct LocalProcesses {
    processes: Vec<(&'static str, Child)>,
    remove: Option<PathBuf>,
}

impl LocalDeployment {
    /// Uses the folder `keep`, or a folder of its own, which is removed at the end and also on an
    /// interruption.
    pub fn new(keep: Option<PathBuf>) -> Result<Self, CommandError> {
        let (folder, remove) = match keep {
            Some(folder) => (folder, None),
            None => {
                let name = data_encoding::HEXLOWER.encode(&crate::clock::random::<8>());
                let folder = std::env::temp_dir().join(format!("cloison-{name}"));
                (folder.clone(), Some(folder))
            }
        };
        let local = Arc::new(Mutex::new(LocalProcesses {
            processes: Vec::new(),
            remove,
        }));
        on_interrupt(Arc::clone(&local))?;
        Ok(Self { folder, local })
    }

    /// Where everything lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder in it, and those above it.
    pub fn make_folder(&self, name: &str) -> Result<(), CommandError> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).map_err(|error| CommandError::file(&path, &error))
    }

    /// Starts this program with `arguments`, with its output in `logs/<name>.log`, waits until its
    /// health listener says that it is ready, and returns the process's id.
    pub fn start(
        &self,
        name: &'static str,
        arguments: &[&str],
        health: SocketAddr,
    ) -> Result<u32, CommandError> {
        let log = self
            .folder
            .join(format!("logs/{}.log", name.replace(' ', "-")));
        // An interruption meanwhile waits, and then knows this process, too.
        let mut local = lock(&self.local);
        let output = File::create(&log).map_err(|error| CommandError::file(&log, &error))?;
        let errors = output
            .try_clone()
            .map_err(|error| CommandError::file(&log, &error))?;
        let program = std::env::current_exe().map_err(|error| {
            CommandError::new(
                format_args!("the path of this program is not known: {error}"),
                "start it by its full path",
            )
        })?;
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| CommandError::file(&program, &error))?;
        let id = child.id();
        local.processes.push((name, child));
        drop(local);
        let started = Instant::now();
        while !ready(health) {
            if self.has_ended(name) {
                return Err(CommandError::new(
                    format_args!("the {name} ended at once{}", tail(&log)),
                    "run it by hand to see why",
                ));
            }
            if started.elapsed() > PATIENCE {
                return Err(CommandError::new(
                    format_args!("the {name} is not ready{}", tail(&log)),
                    "try again when the machine is less busy",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(id)
    }

    /// Asks a process to end, and waits until it has.
    pub fn stop(&self, name: &str) {
        let mut local = lock(&self.local);
        let (ending, others) = std::mem::take(&mut local.processes)
            .into_iter()
            .partition(|(n, _)| *n == name);
        local.processes = others;
        LocalProcesses {
            processes: ending,
            remove: None,
        }
        .clear();
    }

    fn has_ended(&self, name: &str) -> bool {
        lock(&self.local)
            .processes
            .iter_mut()
            .any(|(n, child)| *n == name && !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for LocalDeployment {
    fn drop(&mut self) {
        lock(&self.local).clear();
    }
}

impl LocalProcesses {
    /// Asks the processes to end, makes sure that they have, then removes the folder.
    fn clear(&mut self) {
        for (_, child) in &self.processes {
            crate::system::process::terminate(child);
        }
        let asked = Instant::now();
        for (_, mut child) in self.processes.drain(..) {
            while matches!(child.try_wait(), Ok(None)) && asked.elapsed() < FAREWELL {
                std::thread::sleep(Duration::from_millis(5));
            }
            // A failure is ignored: either the process has ended, or we may not end it.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(folder) = self.remove.take() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Ignores poisoning: after a panic, too, the processes must be ended.
fn lock(local: &Mutex<LocalProcesses>) -> MutexGuard<'_, LocalProcesses> {
    local.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On Ctrl-C, SIGTERM or the end of the terminal, ends the processes, removes the folder and exits.
fn on_interrupt(local: Arc<Mutex<LocalProcesses>>) -> Result<(), CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let fault =
        |error: std::io::Error| CommandError::new(format_args!("signals: {error}"), "try again");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(fault)?;
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [mut interrupt, mut terminate, mut hangup] = {
        let _inside = runtime.enter();
        let [a, b, c] = kinds.map(signal);
        [a.map_err(fault)?, b.map_err(fault)?, c.map_err(fault)?]
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        // The lock is kept, so that no further process is started.
        let mut local = lock(&local);
        local.clear();
        std::process::exit(130);
    });
    Ok(())
}

/// Free ports on loopback.
pub fn free_ports<const N: usize>() -> Result<[u16; N], CommandError> {
    // All are bound at once, so that no port comes twice.
    let open = || -> std::io::Result<Vec<u16>> {
        let listeners: Vec<_> = (0..N)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()))
            .collect()
    };
    let ports = open().map_err(|error| {
        CommandError::new(
            format_args!("there is no free port on loopback: {error}"),
            "close some programs",
        )
    })?;
    ports
        .try_into()
        .map_err(|_| CommandError::new("there is no free port on loopback", "close some programs"))
}

/// Whether a health listener answers that its process is ready.
fn ready(health: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&health, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(
            format!("GET /readyz HTTP/1.1\r\nhost: {health}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// The last lines of a log, for an error.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4_096)..]).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines
        .iter()
        .rev()
        .map(|line| format!("\n    {line}"))
        .collect()
}
