//! What all child processes of ours have in common: they are waited for without being reaped, and end as a group.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;

/// Opens a process so that its exit can be waited for without reaping it; readable means exited (Linux 5.3).
///
/// While its leader is not reaped, a group's number names no other group.
///
/// # Errors
///
/// The process is gone and reaped, or the descriptors are used up.
#[expect(
    deprecated,
    reason = "its successor is unsafe; what it guards against, a type whose descriptor changes, is not here"
)]
pub fn exit_of(pid: Pid) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// Sends a signal to every member of the group; a group without members is what was wanted.
pub fn signal_group(group: Pid, signal: Signal) {
    kill_process_group(group, signal).ok();
}

/// Returns a signal's name, for those that people know by name.
pub fn signal_name(signal: i32) -> String {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    let name = names.iter().find(|(known, _)| known.as_raw() == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
