//! The machine of `machine.py`, from outside.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a service may take until it is ready, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service: its unit, and the port of its health listener.
#[derive(Clone, Copy)]
pub struct Service(pub &'static str, pub u16);

pub const VAULT: Service = Service("cloison-vault", 7445);
pub const NODE: Service = Service("cloison-authority", 7545);
pub const IDENTITY: Service = Service("cloison-identity", 7745);

/// A machine; it ends with its last process when it is dropped.
pub struct Machine {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    /// A machine with nothing installed on it but the repository; none where this is left out on
    /// purpose.
    pub fn new() -> Option<Self> {
        if std::env::var_os("CLOISON_TEST_NO_UNITS").is_some() {
            eprintln!("NOT RUN: the service units, because CLOISON_TEST_NO_UNITS is set");
            return None;
        }
        let clone = env!("CARGO_MANIFEST_DIR");
        // One that is there on the machine, too, which has the host's /usr.
        let system = Path::new("/usr/bin/python3");
        let python = if system.exists() {
            system
        } else {
            Path::new("python3")
        };
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--net",
            "--uts",
            "--ipc",
            "--propagation",
            "private",
        ]);
        command
            .arg(python)
            .arg("-B")
            .arg(format!("{clone}/tests/units/machine.py"));
        command
            .args([clone, env!("CARGO_BIN_EXE_cloison")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("util-linux has unshare");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut machine = Self {
            child,
            requests,
            answers,
        };
        machine.run("true");
        Some(machine)
    }

    fn ask(&mut self, request: &Value) -> Value {
        let requests = self.requests.as_mut().unwrap();
        let sent = writeln!(requests, "{request}").and_then(|()| requests.flush());
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        assert!(
            sent.is_ok() && read.is_ok_and(|bytes| bytes > 0),
            "no machine of namespaces: it takes root that may make them (in a container, --privileged); \
             CLOISON_TEST_NO_UNITS=1 leaves these tests out"
        );
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("failed").is_none(), "{request}: {answer}");
        answer
    }

    /// Runs a script as root in `/srv/cloison`; what it printed. It must succeed.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> String {
        let done = self.ask(
            &json!({"do": "run", "argv": ["bash", "-euo", "pipefail", "-c", script], "text": ""}),
        );
        assert_eq!(
            done["code"],
            0,
            "{script}\n{}{}",
            text(&done["out"]),
            text(&done["err"])
        );
        text(&done["out"])
    }

    /// The same within the sandbox of an installed unit, whatever comes of it: what it printed, on
    /// both outputs.
    pub fn within(&mut self, service: Service, script: &str) -> String {
        text(
            &self.ask(&json!({"do": "within", "name": service.0, "argv": ["bash", "-c", script]}))
                ["out"],
        )
    }

    /// Starts an installed unit, or another text in its place.
    pub fn start(&mut self, service: Service, unit: Option<&str>) {
        self.ask(&json!({"do": "start", "name": service.0, "text": unit}));
    }

    /// Waits until a service is ready.
    #[track_caller]
    pub fn ready(&mut self, service: Service) {
        let began = Instant::now();
        loop {
            let answer = self.ask(
                &json!({"do": "get", "url": format!("http://127.0.0.1:{}/readyz", service.1)}),
            );
            if answer["status"] == 200 {
                return;
            }
            let state = self.state(service);
            assert!(
                state["running"] == true && began.elapsed() < PATIENCE,
                "{answer}\n{}",
                text(&state["log"])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it runs, its process, its last exit code, how often it was started, what it logged.
    pub fn state(&mut self, service: Service) -> Value {
        self.ask(&json!({"do": "state", "name": service.0}))
    }

    /// Everything that it logged.
    pub fn log(&mut self, service: Service) -> String {
        text(&self.state(service)["log"])
    }

    /// What it says on `/metrics` about one figure.
    pub fn metric(&mut self, service: Service, name: &str) -> u64 {
        let answer = self
            .ask(&json!({"do": "get", "url": format!("http://127.0.0.1:{}/metrics", service.1)}));
        let metrics = text(&answer["body"]);
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
            .parse()
            .unwrap()
    }

    /// Stops it as systemd does; its exit code.
    pub fn stop(&mut self, service: Service) -> Value {
        self.ask(&json!({"do": "stop", "name": service.0}))["code"].clone()
    }

    /// Installs what the documentation says under "As a service" about one of the machines. What
    /// `systemctl` would start is not started yet.
    pub fn install(&mut self, service: Service) {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"))
                .unwrap();
        let section = page
            .split("\n### As a service\n")
            .nth(1)
            .expect("a section of that name");
        let section = section.split("\n## ").next().unwrap();
        let mut blocks = section
            .split("```sh\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap());
        let block = blocks
            .find(|block| block.contains(&format!("{}.service", service.0)))
            .expect("a block for it");
        let (starts, script): (Vec<_>, Vec<_>) = block
            .lines()
            .partition(|line| line.starts_with("systemctl "));
        assert_eq!(starts, [format!("systemctl enable --now {}", service.0)]);
        self.run(&script.join("\n"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its end of input is its end; should it not see that, its namespace goes with it.
        drop(self.requests.take());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
