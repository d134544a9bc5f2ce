//! A program that must end with 0, as a process group of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Asked, Found, not_asked, span};
use crate::engine::series::FailureKind;
use crate::probe::expectation::printable;
use crate::process::{exit_of, signal_group, signal_name};

/// How much of each stream is kept, in bytes; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// How many characters of a program's last line a reason shows.
const LINE_CHARS: usize = 120;

/// Time for output that is still in the pipe when the program has ended; a grandchild may hold it open for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// Time after SIGKILL after which a process is taken as stuck in the kernel and left to itself.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Where programs that call others look for them; the same for every probe and every host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A group that ends with whoever waits for it: a reload must leave no program behind.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Its leader is not reaped before, so the number names no other group.
        signal_group(self.0, Signal::KILL);
    }
}

/// Runs the program; ends it, with all that it has started, when the budget is used up.
pub(super) async fn ask(argv: &[String], budget: Duration) -> Asked {
    let failed = |why: String| not_asked(FailureKind::Unreachable, &why);
    let Some((program, arguments)) = argv.split_first() else {
        return Err(failed("no program is named".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot start {program}: {error}")))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Err(failed(format!("{program} has no process id"))) };
    let group = Group(pid);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = watch(&mut child, pid, (&mut stdout, &mut stderr), budget, &group)
        .await
        .map_err(|error| failed(format!("cannot wait for {program}: {error}")))?;
    drop(group);
    let status = timeout(STUCK_AFTER, child.wait()).await;
    Ok(match (ended, status) {
        (false, _) => Found::bad(format!("no answer within {}; the program was ended", span(budget))),
        (true, Ok(Ok(status))) => judge(status, &stdout, &stderr),
        (true, _) => Found::bad("the program ended, but its exit status was lost"),
    })
}

/// Waits for the program's end and reads what it prints. Returns whether it ended in time.
async fn watch(
    child: &mut Child,
    pid: Pid,
    (stdout, stderr): (&mut Vec<u8>, &mut Vec<u8>),
    budget: Duration,
    group: &Group,
) -> std::io::Result<bool> {
    let exit = exit_of(pid)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reading = async { tokio::join!(read(out, stdout), read(err, stderr)) };
    tokio::pin!(reading);
    let mut is_read = false;
    let ending = async {
        loop {
            tokio::select! {
                // In this order, so that a flood of output does not delay the exit.
                biased;
                _ = exit.readable() => return,
                _ = &mut reading, if !is_read => is_read = true,
            }
        }
    };
    let ended = timeout(budget, ending).await.is_ok();
    // Members of the group that the leader left behind hold its pipes.
    signal_group(group.0, Signal::KILL);
    if !is_read {
        timeout(DRAIN, reading).await.ok();
    }
    Ok(ended)
}

/// Reads a stream to its end and keeps its beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

fn judge(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Found {
    let verdict = match (status.code(), status.signal()) {
        (Some(0), _) => Ok("ended with 0".to_owned()),
        (code, signal) => {
            let how = match (code, signal) {
                (Some(code), _) => format!("ended with {code}, expected 0"),
                (None, Some(signal)) => format!("was killed by {}", signal_name(signal)),
                (None, None) => format!("ended abnormally: {status}"),
            };
            let said = last_line(stderr).or_else(|| last_line(stdout));
            Err(said.map_or_else(|| how.clone(), |said| format!("{how}: {said}")))
        }
    };
    let number = str::from_utf8(stdout).ok().and_then(|text| text.trim().parse().ok());
    Found { verdict, status: None, value: number.filter(|number: &f64| number.is_finite()) }
}

/// Returns the last line that says something, on one line.
fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(printable(&line.chars().take(LINE_CHARS).collect::<String>()))
}
