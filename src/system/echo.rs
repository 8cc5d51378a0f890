//! The terminal's echo.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;

use super::succeeded;

/// Keeps what is typed at the process's terminal from being shown, until it is dropped: also
/// between two questions, while the machine computes. What was typed and not read is forgotten at
/// the end, so that no shell takes it for a command.
pub struct EchoOff {
    terminal: File,
    before: libc::termios,
}

impl EchoOff {
    /// Begins.
    ///
    /// # Errors
    /// When the process has no terminal.
    pub fn begin() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let mut before = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the descriptor is open, and `before` has room for what tcgetattr writes.
        succeeded(unsafe { libc::tcgetattr(terminal.as_raw_fd(), before.as_mut_ptr()) } == 0)?;
        // SAFETY: tcgetattr succeeded, so it wrote all of it.
        let before = unsafe { before.assume_init() };
        let mut quiet = before;
        quiet.c_lflag &= !libc::ECHO;
        // SAFETY: the descriptor is open, and `quiet` is what the system gave, but for one bit.
        succeeded(
            unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const quiet) } == 0,
        )?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open, and `before` is what the system gave. A failure cannot be
        // told here, and a shell sets its own terminal.
        unsafe {
            libc::tcsetattr(
                self.terminal.as_raw_fd(),
                libc::TCSAFLUSH,
                &raw const self.before,
            );
        }
    }
}
