//! Processes and threads: limits, signals, time and priority.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::succeeded;

/// A resource that is limited for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedResource {
    /// Open files.
    OpenFiles,
    /// Bytes of locked memory.
    LockedMemory,
    /// Bytes of a core file.
    CoreFile,
}

/// A limit, and how far this process may raise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// What holds at present.
    pub present: u64,
    /// The most that this process may set.
    pub most: u64,
}

/// The limit of a resource for this process.
///
/// # Errors
/// What the operating system says.
pub fn limit(resource: LimitedResource) -> io::Result<ResourceLimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let resource = match resource {
        LimitedResource::OpenFiles => libc::RLIMIT_NOFILE,
        LimitedResource::LockedMemory => libc::RLIMIT_MEMLOCK,
        LimitedResource::CoreFile => libc::RLIMIT_CORE,
    };
    // SAFETY: `limit` outlives the call.
    succeeded(unsafe { libc::getrlimit(resource, &raw mut limit) } == 0)?;
    Ok(ResourceLimit {
        present: limit.rlim_cur,
        most: limit.rlim_max,
    })
}

/// Raises the limit on open files as far as this process may. Returns the new limit.
///
/// # Errors
/// What the operating system says.
pub fn raise_open_files() -> io::Result<u64> {
    let ResourceLimit { most, .. } = limit(LimitedResource::OpenFiles)?;
    let raised = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: `raised` outlives the call.
    succeeded(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0)?;
    Ok(most)
}

/// Ignores SIGXFSZ and SIGHUP, which end a process by default: a write beyond the limit on file
/// sizes then fails instead.
pub fn ignore_file_size_and_hangup() {
    // SAFETY: takes plain values.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

/// Set once a signal asked this process to stop.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn note_stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP set the flag that is returned, once each: the second one
/// ends the process, as does the first one by default. Ignores SIGXFSZ, so that a write beyond the
/// limit on file sizes fails instead.
pub fn stop_flag() -> &'static AtomicBool {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: zeros are an empty set of signals and no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note_stop as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND;
        // SAFETY: the action outlives the call, and its handler does nothing but store a flag.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    // SAFETY: takes plain values.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    &STOP
}

/// Ends this process without its exit handlers.
pub fn exit_at_once(status: i32) -> ! {
    // SAFETY: takes a plain value, and does not come back.
    unsafe { libc::_exit(status) }
}

/// Sends SIGTERM to a child. `Child` holds the id until it is waited for, so no other process has
/// it.
pub fn terminate(child: &std::process::Child) {
    if let Ok(id) = libc::pid_t::try_from(child.id()) {
        // SAFETY: `kill` takes any numbers.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

/// CPU time that a process took since it began: user and system, all its threads, also those that
/// have ended. The same sum as in `/proc/PID/stat`, in nanoseconds instead of hundredths of a
/// second. `None` when there is no such process.
pub fn cpu_time(id: u32) -> Option<Duration> {
    let id = libc::pid_t::try_from(id).ok()?;
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls write plain values into variables that outlive them, and take any numbers.
    let known = unsafe {
        libc::clock_getcpuclockid(id, &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    known.then(|| {
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    })
}

/// Sets niceness and time slice of this thread (Linux 6.12; older ones pass over the slice).
///
/// # Errors
/// What the operating system says.
pub fn set_thread_slice(niceness: i32, slice: Duration) -> io::Result<()> {
    // SAFETY: a plain structure, for which zeros are the defaults (`SCHED_OTHER`).
    let mut wanted: libc::sched_attr = unsafe { std::mem::zeroed() };
    wanted.size = size_of_val(&wanted) as u32;
    wanted.sched_nice = niceness;
    wanted.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the structure lives through the call.
    succeeded(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) } == 0)
}

/// Sets the niceness of this thread alone: on Linux a `who` of zero is the calling thread. Some
/// filters take this call and not the other.
///
/// # Errors
/// What the operating system says.
pub fn set_thread_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes plain values.
    succeeded(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) } == 0)
}

/// The niceness of this thread, by what the kernel says.
pub fn thread_niceness() -> i32 {
    // SAFETY: takes plain values.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}
