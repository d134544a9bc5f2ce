//! The gate: a process that waits until its program's start is durable, then becomes that program.
//!
//! A step must not run before the journal says that it was started, and the journal must name the process that runs
//! (E4). So the daemon starts this program first, as [`COMMAND`] in a process group of its own, and writes down its pid.
//! The protocol on standard input has two lines: the [`GateOrder`] as JSON, then `go`. Where the input ends before `go`,
//! the daemon has died or has thought better of it: the gate exits with [`NOTHING_RAN`] and has done nothing.
//!
//! On `go` the gate *becomes* the program (`execve`): pid and start time stay what the journal says. Environment and
//! standard input are replaced; output goes on into the daemon's pipe. The gate leaves a reading end of that pipe open
//! in the program: when the daemon restarts, a step that prints is not killed by SIGPIPE half-way through its work, but
//! may go on until the pipe is full.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

/// The command under which the program serves as a gate. Not for people.
pub const COMMAND: &str = "step-gate";

/// The exit code of a gate that was never told to go. As with `env` and `timeout`: the wrapper itself has failed.
pub const NOTHING_RAN: u8 = 125;

/// The exit code where the program is there but cannot be run; the shell's convention.
pub const NOT_RUNNABLE: u8 = 126;

/// The exit code where there is no such program; the shell's convention.
pub const NOT_FOUND: u8 = 127;

/// What the gate's own messages begin with, which tells them from those of a program that uses the same exit codes.
pub(super) const PREFIX: &str = "rearguard step-gate: ";

/// The line that opens the gate.
pub(super) const GO: &str = "go\n";

/// Limit for the order, in bytes: far above what Linux takes as arguments and environment together.
const ORDER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the gate is to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOrder {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// What it finds on its standard input.
    pub stdin: String,
}

/// Serves as a gate on this process' standard input; returns only where the program was not run.
pub fn run() -> ExitCode {
    let (code, message) = match wait(BufReader::new(io::stdin().lock())) {
        Ok(order) => become_program(&order),
        Err(message) => (NOTHING_RAN, message),
    };
    // The daemon may be gone; then nobody is left to be told.
    writeln!(io::stderr(), "{PREFIX}{message}").ok();
    ExitCode::from(code)
}

/// Waits for the order and for `go`.
fn wait(mut input: impl BufRead) -> Result<GateOrder, String> {
    let mut text = String::new();
    (&mut input).take(ORDER_BYTES_MAX).read_line(&mut text).map_err(|error| format!("no order: {error}"))?;
    let order = serde_json::from_str(&text).map_err(|error| format!("no valid order: {error}"))?;
    let mut word = String::new();
    (&mut input).take(GO.len() as u64 + 1).read_line(&mut word).map_err(|error| error.to_string())?;
    if word == GO { Ok(order) } else { Err("was not told to go; nothing was run".to_owned()) }
}

/// Becomes the program; returns the exit code and the reason where that fails.
fn become_program(order: &GateOrder) -> (u8, String) {
    let Some((program, arguments)) = order.argv.split_first() else {
        return (NOT_FOUND, "the step names no program".to_owned());
    };
    let stdin = match anonymous_file(&order.stdin) {
        Ok(file) => file,
        Err(error) => return (NOT_RUNNABLE, format!("no memory for the program's input: {error}")),
    };
    // Held until the program has taken this process over.
    let _reading_end = keep_output_readable();
    let error =
        Command::new(program).args(arguments).env_clear().envs(&order.env).stdin(Stdio::from(stdin)).exec();
    match error.kind() {
        io::ErrorKind::NotFound => {
            (NOT_FOUND, format!("{program}: not found (or its interpreter is): {error}"))
        }
        io::ErrorKind::PermissionDenied => {
            (NOT_RUNNABLE, format!("{program}: not executable, or not for this user: {error}"))
        }
        _ => (NOT_RUNNABLE, format!("{program}: cannot be run: {error}")),
    }
}

/// Makes a file without a name that holds `text`, so that the program can read it whenever it likes, or not at all.
fn anonymous_file(text: &str) -> io::Result<File> {
    let fd = rustix::fs::memfd_create("incident.json", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Opens the reading end of the pipe on standard output and lets the program inherit it.
///
/// Best effort: without `/proc` a step that prints after the daemon's death gets SIGPIPE, as it would anywhere else.
fn keep_output_readable() -> Option<File> {
    let reading_end = File::open("/proc/self/fd/1").ok()?;
    rustix::io::fcntl_setfd(&reading_end, rustix::io::FdFlags::empty()).ok()?;
    Some(reading_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_order_and_go_open_the_gate() {
        let order = GateOrder {
            argv: vec!["/bin/true".to_owned(), "a\nb".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "\"go\"\ngo\n".to_owned())]),
            stdin: "{}\ngo\n".to_owned(),
        };
        let line = serde_json::to_string(&order).unwrap();
        assert_eq!(wait(format!("{line}\ngo\n").as_bytes()), Ok(order));
        for tail in ["", "\n", "\ngo", "\nstop\n", "\n\ngo\n", "\ngone\n", "\nGO\n"] {
            assert!(wait(format!("{line}{tail}").as_bytes()).is_err(), "{tail:?} must not open the gate");
        }
        assert!(wait("go\ngo\n".as_bytes()).is_err());
        assert!(wait("".as_bytes()).is_err());
    }
}
