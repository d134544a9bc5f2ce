//! The demo's child processes: the trading app and the daemon.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::app::ANNOUNCEMENT;

/// How long a child may take to go down in order.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long the app may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What a service manager or a proxy set-up has told this process and must not reach its children: the daemon would
/// report to the wrong service, or look for the loopback behind a proxy.
const NOT_INHERITED: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "CREDENTIALS_DIRECTORY",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The trading app's process.
pub struct AppProcess {
    /// Its address.
    pub url: String,
    /// The process; its standard input is what tells it that we are gone.
    pub child: Child,
}

/// Starts the trading app and waits until it listens.
///
/// # Errors
///
/// When it does not come up or says something unexpected.
pub async fn start_app(executable: &Path) -> std::io::Result<AppProcess> {
    let mut command = command(executable);
    command.arg("demo-app").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn()?;
    let mut first_line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        tokio::time::timeout(START_LIMIT, stdout.read_line(&mut first_line)).await??;
    }
    match first_line.trim_end().strip_prefix(ANNOUNCEMENT) {
        Some(url) => Ok(AppProcess { url: url.to_owned(), child }),
        None => Err(std::io::Error::other(format!(
            "the trading app did not come up: expected `{ANNOUNCEMENT}URL`, got `{}`",
            first_line.trim_end()
        ))),
    }
}

/// Starts the daemon; what it says goes into `log`.
///
/// # Errors
///
/// When the log cannot be written or the process cannot be started.
pub fn start_daemon(executable: &Path, config: &Path, log: &Path) -> std::io::Result<Child> {
    let log = std::fs::File::create(log)?;
    let mut command = command(executable);
    command.arg("run").arg("--config").arg(config);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Asks a child to go down, and ends it when it does not.
///
/// # Errors
///
/// When it cannot be signalled or waited for.
pub async fn stop(child: &mut Child) -> std::io::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    kill_process(pid, Signal::TERM)?;
    match tokio::time::timeout(STOP_LIMIT, child.wait()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => child.kill().await,
    }
}

/// A process group of its own, so that Ctrl-C reaches the demo alone and it can stop the others in order.
fn command(executable: &Path) -> Command {
    let mut command = Command::new(executable);
    command.kill_on_drop(true).process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command
}
