//! A step as a process group of its own: made, watched, ended.

use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until, timeout};

use super::gate::{self, GateOrder};
use super::output::Tail;
use super::{never_ran, span};
use crate::effects::printable;
use crate::engine::decision::{StepEnding, StepHandle, StepResult};
use crate::process::{exit_of, signal_group, signal_name};

/// Time between SIGTERM and SIGKILL: enough to put a lock file away, not enough to be noticed by a deadline.
const GRACE: Duration = Duration::from_secs(2);

/// Time after SIGKILL after which a process is taken as stuck in the kernel and left to itself.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Time for output that is still in the pipe when the program has ended; a grandchild may hold it open for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// Time within which the gate must have taken its order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Size of one read, in bytes: a pipe's default capacity.
const READ_BYTES: usize = 64 * 1024;

/// A process that waits at the gate.
#[derive(Debug)]
pub(super) struct Gated {
    /// Not reaped before its group has been killed: while the leader is a zombie, its pid names no other group.
    leader: Child,
    exit: AsyncFd<OwnedFd>,
    pid: Pid,
    stdin: pipe::Sender,
    output: pipe::Receiver,
    handle: StepHandle,
}

impl Gated {
    /// Starts the gate and hands it its order.
    pub(super) async fn spawn(gate: &Path, order: &GateOrder) -> Result<Self, String> {
        match order.argv.first() {
            Some(program) if Path::new(program).is_absolute() => {}
            Some(program) => {
                let program = printable::line(program);
                return Err(format!("{program}: not an absolute path; name the program as /path/to/program"));
            }
            None => return Err("the step names no program".to_owned()),
        }
        let failed = |what: &str, error: std::io::Error| {
            format!("no process for the step ({what} {}): {error}", gate.display())
        };
        let mut gated = Self::start(gate).map_err(|error| failed("starting", error))?;
        let mut line = serde_json::to_string(order).map_err(|error| failed("telling", error.into()))?;
        line.push('\n');
        match timeout(ORDER_TIMEOUT, gated.stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(gated),
            Ok(Err(error)) => {
                gated.abandon().await;
                Err(failed("telling", error))
            }
            Err(_) => {
                gated.abandon().await;
                Err(failed("telling", std::io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn start(gate: &Path) -> std::io::Result<Self> {
        // One pipe for both streams, so that lines keep the order in which they were written.
        let (reader, writer) = std::io::pipe()?;
        let mut leader = Command::new(gate)
            .arg(gate::COMMAND)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        let adopted = Self::adopt(&mut leader, reader.into());
        match adopted {
            Ok((exit, pid, stdin, output, handle)) => Ok(Self { leader, exit, pid, stdin, output, handle }),
            Err(error) => {
                leader.kill().ok();
                leader.wait().ok();
                Err(error)
            }
        }
    }

    /// Collects by what the new process is spoken to, heard, and recognised.
    fn adopt(
        leader: &mut Child,
        reader: OwnedFd,
    ) -> std::io::Result<(AsyncFd<OwnedFd>, Pid, pipe::Sender, pipe::Receiver, StepHandle)> {
        let pid = Pid::from_child(leader);
        let exit = exit_of(pid)?;
        let stdin = leader.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let stdin = pipe::Sender::from_owned_fd(stdin.into())?;
        let output = pipe::Receiver::from_owned_fd(reader)?;
        let start_ticks = start_ticks(leader.id()).ok_or(std::io::ErrorKind::NotFound)?;
        let boot_id = boot_id().ok_or_else(|| std::io::Error::other("no boot id in /proc"))?;
        Ok((exit, pid, stdin, output, StepHandle::Process { pid: leader.id(), start_ticks, boot_id }))
    }

    /// Returns what the process can be recognised by.
    pub(super) fn handle(&self) -> &StepHandle {
        &self.handle
    }

    /// Opens the gate and waits for the program's end, or ends it when `budget` is used up.
    pub(super) async fn run(mut self, budget: Duration) -> StepEnding {
        let started = Instant::now();
        if let Err(error) = self.stdin.write_all(gate::GO.as_bytes()).await {
            self.abandon().await;
            return never_ran(format!("the waiting process was gone; nothing was run: {error}"));
        }
        let Self { mut leader, exit, pid, stdin, mut output, .. } = self;
        drop(stdin);
        let mut tail = Tail::default();
        let end = watch(&exit, pid, &mut output, &mut tail, started + budget).await;
        // Members of the group that the leader left behind; its pid is still taken, so this can hit nobody else.
        signal_group(pid, Signal::KILL);
        timeout(DRAIN, read_all(&mut output, &mut tail)).await.ok();
        // Returns at once: the process has exited, or is stuck and then there is nothing to reap yet.
        let status = leader.try_wait().ok().flatten();
        let result = match (end, status) {
            (End::Budget, _) => StepResult::TimedOut,
            (End::Exit, Some(status)) => result_of(status, &tail.render()),
            (End::Exit, None) => StepResult::Failed("ended, but its exit status was lost".to_owned()),
        };
        StepEnding { result, took: span(started.elapsed()), output: tail.render() }
    }

    /// Ends the waiting process and reaps it.
    pub(super) async fn abandon(mut self) {
        signal_group(self.pid, Signal::KILL);
        timeout(STUCK_AFTER, self.exit.readable()).await.ok();
        self.leader.try_wait().ok();
    }
}

/// Why watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The program exited within its budget.
    Exit,
    /// The budget was used up; the group has been ended.
    Budget,
}

/// How far a program over its budget has been pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    None,
    Terminated,
    Killed,
}

/// Reads output and waits for the exit; at `deadline` sends SIGTERM to the group, later SIGKILL.
async fn watch(
    exit: &AsyncFd<OwnedFd>,
    group: Pid,
    output: &mut pipe::Receiver,
    tail: &mut Tail,
    mut deadline: Instant,
) -> End {
    let mut pressure = Pressure::None;
    let mut buffer = vec![0; READ_BYTES];
    let mut output_open = true;
    loop {
        tokio::select! {
            // In this order, so that a flood of output delays neither the exit nor the budget.
            biased;
            _ = exit.readable() => {
                return if pressure == Pressure::None { End::Exit } else { End::Budget };
            }
            () = sleep_until(deadline) => match pressure {
                Pressure::None => {
                    signal_group(group, Signal::TERM);
                    pressure = Pressure::Terminated;
                    deadline += GRACE;
                }
                Pressure::Terminated => {
                    signal_group(group, Signal::KILL);
                    pressure = Pressure::Killed;
                    deadline += STUCK_AFTER;
                }
                Pressure::Killed => return End::Budget,
            },
            read = output.read(&mut buffer), if output_open => match read {
                Ok(0) | Err(_) => output_open = false,
                Ok(length) => tail.push(&buffer[..length]),
            },
        }
    }
}

/// Reads until nobody holds the pipe's other end.
async fn read_all(output: &mut pipe::Receiver, tail: &mut Tail) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        tail.push(&buffer[..length]);
    }
}

/// Returns the result of a program that ended by itself.
fn result_of(status: ExitStatus, output: &str) -> StepResult {
    if status.success() {
        return StepResult::Succeeded;
    }
    let own_codes = [gate::NOTHING_RAN, gate::NOT_RUNNABLE, gate::NOT_FOUND].map(i32::from);
    let gate_said = output.lines().find_map(|line| line.strip_prefix(gate::PREFIX));
    StepResult::Failed(match (status.code(), status.signal(), gate_said) {
        (Some(code), _, Some(reason)) if own_codes.contains(&code) => reason.to_owned(),
        (Some(code), ..) => format!("exit code {code}"),
        (None, Some(signal), _) => format!("killed by {}", signal_name(signal)),
        (None, None, _) => format!("ended abnormally: {status}"),
    })
}

/// Returns when the process started, in clock ticks since boot.
fn start_ticks(pid: u32) -> Option<u64> {
    let pid = i32::try_from(pid).ok()?;
    let stat = procfs::process::Process::new(pid).ok()?.stat().ok()?;
    // A zombie has ended; only its exit status is still there.
    (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat.starttime)
}

/// Returns the identity of this boot: a pid of another one means nothing.
fn boot_id() -> Option<String> {
    procfs::sys::kernel::random::boot_id().ok().map(|id| id.trim().to_owned())
}

/// Returns whether the step's process is still there: the same pid, start and boot. Requests never outlive us.
pub fn is_alive(handle: &StepHandle) -> bool {
    match handle {
        StepHandle::Process { pid, start_ticks: expected, boot_id: boot } => {
            boot_id().as_ref() == Some(boot) && start_ticks(*pid) == Some(*expected)
        }
        StepHandle::Request => false,
    }
}

/// Waits until a step's process, started by an earlier run of the daemon, is gone.
pub async fn until_gone(handle: &StepHandle) {
    if let Some((_, exit)) = open(handle) {
        // Fails only where the runtime is going down; then nobody waits for the answer.
        exit.readable().await.map(|_| ()).ok();
    }
}

/// Ends the process group of a step that an earlier run of the daemon started: SIGTERM, then SIGKILL.
pub async fn end(handle: &StepHandle) {
    let Some((pid, exit)) = open(handle) else { return };
    signal_group(pid, Signal::TERM);
    timeout(GRACE, exit.readable()).await.map(|_| ()).ok();
    // Also where the leader went in time: what it forked may have stayed. Its number cannot name another group yet, for
    // pids are given out in a circle.
    signal_group(pid, Signal::KILL);
}

/// Opens a process that is known by its handle alone.
fn open(handle: &StepHandle) -> Option<(Pid, AsyncFd<OwnedFd>)> {
    let StepHandle::Process { pid, .. } = handle else { return None };
    let pid = Pid::from_raw(i32::try_from(*pid).ok()?)?;
    let exit = exit_of(pid).ok()?;
    // Checked after opening: from here on the descriptor names the process that was checked.
    is_alive(handle).then_some((pid, exit))
}
