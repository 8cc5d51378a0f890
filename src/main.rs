//! The one binary. Everything is in the library; see [`cloison::cli`].

fn main() -> std::process::ExitCode {
    cloison::cli::main()
}
