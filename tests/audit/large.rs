//! A large log: checked at speed, in flat memory.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::forge::{Log, entries, key};

/// A tenth of the million that `CLOISON_TEST_LONG=1` takes.
fn size() -> u64 {
    if std::env::var_os("CLOISON_TEST_LONG").is_some_and(|value| value == "1") {
        1_000_000
    } else {
        100_000
    }
}

/// What `cloison audit verify` takes: time, and the most memory that was resident.
fn verify(log: &Log) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args([
            "audit",
            "verify",
            "--key",
            &cloison::keys::file::public_key_text(&key().verifying_key()),
        ])
        .arg(log.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Asked while it runs: what `wait4` tells of a child begins with what this process had when it
    // made it.
    let mut most = 0;
    let status = loop {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most = most.max(peak.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success());
    (started.elapsed(), most << 10)
}

#[test]
fn many_entries_in_little_memory() {
    let size = size();
    let (few, many) = (Log::of(&entries(1_000)), Log::of(&entries(size)));
    let (_, base) = verify(&few);
    let (took, most) = verify(&many);
    println!(
        "{size} entries in {took:?}, {} KiB resident at most, {} KiB for a thousand",
        most >> 10,
        base >> 10
    );
    assert!(
        (1 << 20..64 << 20).contains(&most) && most < base + (16 << 20),
        "{base} → {most}"
    );
}
