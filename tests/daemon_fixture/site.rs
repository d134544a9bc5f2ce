//! One installation: a directory with its files, and the people who are paged.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rearguard::daemon::core::DaemonStatus;

use super::eventually;
use super::mail::MailServer;
use super::pager::{Event, Pager};
use super::process::Daemon;

/// The program under test.
pub const REARGUARD: &str = env!("CARGO_BIN_EXE_rearguard");

/// An installation. Its directory goes with it.
pub struct Site {
    directory: tempfile::TempDir,
    pub pager: Pager,
    pub mail: MailServer,
}

impl Site {
    /// Makes a directory with everything but configuration and rules.
    pub fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().expect("a directory"),
            pager: Pager::start(),
            mail: MailServer::start(),
        };
        for directory in ["rules", "state"] {
            std::fs::create_dir(site.path(directory)).expect("a directory");
        }
        site.write_with_mode("pager.key", "0123456789abcdef0123456789abcdef", 0o600);
        site
    }

    /// Returns where a file of the installation is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("rearguard.yaml")
    }

    /// Writes `rearguard.yaml`: what every installation here has in common, then `rest`.
    pub fn configure(&self, rest: &str) {
        let directory = self.directory.path().display();
        let (pager, mail) = (self.pager.url(), self.mail.address);
        self.write(
            "rearguard.yaml",
            &format!(
                "\
rules: [rules/*.yaml]
state: {directory}/state
control: {directory}/control.sock
receivers:
  pager: {{ pagerduty: {{ routing_key: {{ file: pager.key }}, url: '{pager}' }} }}
  mail: {{ email: {{ smtp: '{mail}', tls: plain, from: 'rearguard@example.com', to: ['ana@example.com'] }} }}
escalations:
  on-call: [{{ notify: [pager, mail] }}]
{rest}"
            ),
        );
    }

    /// Writes a file in one step, as careful editors and ConfigMaps do.
    pub fn write(&self, name: &str, text: &str) {
        self.write_with_mode(name, text, 0o644);
    }

    /// Writes a program and returns its path.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        self.write_with_mode(name, text, 0o755);
        self.path(name)
    }

    fn write_with_mode(&self, name: &str, text: &str, mode: u32) {
        let beside = self.path(".new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&beside).expect("a file");
        file.write_all(text.as_bytes()).expect("it takes the text");
        std::fs::rename(&beside, self.path(name)).expect("it takes the name");
    }

    /// Returns a file's text, empty where there is none.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        Daemon::start(Command::new(REARGUARD).args(["run", "--config"]).arg(self.config()), &self.path("log"))
    }

    /// Runs another command against this installation.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(REARGUARD);
        command.args(arguments).arg("--config").arg(self.config());
        command.output().expect("the command runs")
    }

    /// Returns what the daemon says of itself, once it answers.
    pub fn status(&self) -> DaemonStatus {
        eventually("the daemon answers", || {
            let output = self.run(&["status", "--output", "json"]);
            output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("a status"))
        })
    }

    /// Runs a command and returns what it printed; panics where it fails.
    pub fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

impl Drop for Site {
    /// Tells what the outside has seen where a test has failed, and keeps the files for people.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.directory.disable_cleanup(true);
        let event = |event: &Event| format!("{} {} {}\n", event.action, event.dedup_key, event.summary);
        println!(
            "--- pager\n{}--- mail\n{}\n--- log\n{}--- steps\n{}--- kept in {}",
            self.pager.events().iter().map(event).collect::<String>(),
            self.mail.subjects().join("\n"),
            self.read("log"),
            self.read("steps"),
            self.directory.path().display()
        );
    }
}
