//! A large log: checked at speed, in flat memory.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::forge::{Log, entries, key};

/// A tenth of the million that `CLOISON_TEST_LONG=1` takes.
fn size() -> u64 {
    if std::env::var_os("CLOISON_TEST_LONG").is_some_and(|value| value == "1") { 1_000_000 } else { 100_000 }
}

/// What `cloison audit verify` takes: time, and the most memory that was resident.
fn verify(log: &Log) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["audit", "verify", "--key", &cloison::keys::file::public_key_text(&key().verifying_key())])
        .arg(log.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut status = 0;
    // SAFETY: plain integers; zeroes are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child is ours and not waited for yet; `status` and `usage` outlive the call.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (child.id() as libc::pid_t, 0));
    let took = started.elapsed();
    let _ = child.try_wait();
    (took, (usage.ru_maxrss as u64) << 10)
}

#[test]
fn many_entries_in_little_time_and_memory() {
    let size = size();
    let (few, many) = (Log::of(&entries(1_000)), Log::of(&entries(size)));
    let (_, base) = verify(&few);
    let (took, most) = verify(&many);
    println!("{size} entries in {took:?}, {} KiB resident at most, {} KiB for a thousand", most >> 10, base >> 10);
    assert!(took < Duration::from_secs(10).mul_f64(size as f64 / 1e6), "{size} entries took {took:?}");
    assert!(most < base + (8 << 20), "{base} → {most}");
}
