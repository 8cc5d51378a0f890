//! The one binary. Everything is in the library; see [`cloison::cli`].

/// How jemalloc, which RocksDB brings along and which serves the whole process, keeps memory: in
/// huge pages where the system leaves that to programs, because the index is read all over; and for
/// ten minutes, because what one batch gives back the next one takes. `MALLOC_CONF` in the
/// environment has the last word.
#[used]
#[expect(unsafe_code, reason = "jemalloc reads a symbol of this name")]
#[unsafe(export_name = "malloc_conf")]
// SAFETY: the pointer of a literal, which lives for ever and ends with a zero, as jemalloc wants
// its `const char *`.
static MALLOC_CONF: Option<&std::ffi::c_char> =
    Some(unsafe { &*c"thp:always,dirty_decay_ms:600000".as_ptr() });

fn main() -> std::process::ExitCode {
    // Only this small crate is compiled anew when the commit changes. `ops/prepare` sets it; a
    // tarball has none.
    cloison::cli::main(option_env!("CLOISON_COMMIT"))
}
