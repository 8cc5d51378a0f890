//! The libraries of `ops/*.c`, which a test preloads into a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The path of the library made from `ops/<name>.c`, compiled once for each test program.
pub fn shim(name: &'static str) -> PathBuf {
    static MADE: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = made.entry(name).or_insert_with(|| {
        let file = format!("{name}-{}.so", std::process::id());
        let shim = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ops/{name}.c"));
        let cc = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(&shim)
            .arg(source)
            .status();
        assert!(cc.unwrap().success(), "ops/{name}.c compiles");
        shim
    });
    compiled.clone()
}
