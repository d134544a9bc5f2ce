//! A daemon's process: signalled, waited for, and never left behind.

use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A daemon that runs, or has run.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts `command`, with its log at the end of `log`.
    pub fn start(command: &mut Command, log: &std::path::Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        Self { child }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Asks it to stop and returns how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        eventually("the daemon ends after SIGTERM", || self.ended())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
