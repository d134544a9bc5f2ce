//! The demo's files: a configuration and a rule file such as anybody would write, in a directory of their own.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Sabotage;

/// The rules that the demo runs, which are also an example of a rule file.
const RULES: &str = include_str!("../../../rules/demo.yaml");

/// What is guarded.
pub const TARGET: &str = "trading-app";

/// The receiver that pages PagerDuty.
pub const PAGERDUTY: &str = "pagerduty";

/// The receiver that sends mail.
pub const MAIL: &str = "mail";

/// Who gets the mail.
pub const ON_CALL: &str = "on-call@demo.example";

/// A routing key of the form that PagerDuty gives out; it opens nothing.
const ROUTING_KEY: &str = "0000demo0000demo0000demo0000demo";

/// How often a free name for the directory is looked for.
const NAMES_TRIED_MAX: u32 = 100;

/// The addresses and programs that the demo's configuration names.
pub struct Scenario<'a> {
    /// This program; it is also the actuator that the plan runs.
    pub executable: &'a Path,
    /// The trading app.
    pub app_url: &'a str,
    /// The stand-in for PagerDuty.
    pub pagerduty_url: &'a str,
    /// The stand-in for a mail server, as `host:port`.
    pub smtp: &'a str,
    /// What is made to fail.
    pub sabotage: Option<Sabotage>,
}

/// The directory of one demo and what lies in it.
#[derive(Clone, Debug)]
pub struct Files {
    /// The directory.
    pub directory: PathBuf,
    /// The daemon's configuration.
    pub config: PathBuf,
    /// The daemon's control socket, once it runs.
    pub control: PathBuf,
    /// What the daemon says.
    pub log: PathBuf,
}

impl Files {
    /// Makes a directory that only this user can read.
    ///
    /// # Errors
    ///
    /// When the temporary directory cannot be written.
    pub fn create() -> io::Result<Self> {
        let base = std::env::temp_dir();
        for attempt in 0..NAMES_TRIED_MAX {
            let directory = base.join(format!("rearguard-demo-{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(Self::in_directory(directory)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", directory.display())));
                }
            }
        }
        Err(io::Error::other(format!("{}: too many directories named rearguard-demo-*", base.display())))
    }

    fn in_directory(directory: PathBuf) -> Self {
        Self {
            config: directory.join("rearguard.yaml"),
            control: directory.join("control.sock"),
            log: directory.join("daemon.log"),
            directory,
        }
    }

    /// Writes configuration, rules and routing key.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn write(&self, scenario: &Scenario<'_>) -> io::Result<()> {
        let rules = self.directory.join("rules");
        fs::create_dir(&rules)?;
        fs::write(rules.join("demo.yaml"), RULES)?;
        fs::create_dir(self.directory.join("received"))?;
        fs::create_dir(self.state())?;
        let mut options = fs::OpenOptions::new();
        let mut key = options.write(true).create_new(true).mode(0o600).open(self.routing_key())?;
        key.write_all(ROUTING_KEY.as_bytes())?;
        fs::write(&self.config, self.configuration(scenario))
    }

    /// Keeps what a stand-in received, so that people can read it in full.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn keep_received(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join("received").join(name), text)
    }

    /// Removes the directory with everything in it.
    ///
    /// # Errors
    ///
    /// When something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn routing_key(&self) -> PathBuf {
        self.directory.join("pagerduty.key")
    }

    /// Returns the text of `rearguard.yaml`.
    fn configuration(&self, scenario: &Scenario<'_>) -> String {
        let sabotage = match scenario.sabotage {
            Some(Sabotage::Actuator) => ", --instead, fail",
            Some(Sabotage::Verify) => ", --instead, pretend",
            Some(Sabotage::Receiver) | None => "",
        };
        let app = scenario.app_url;
        let executable = quoted(&scenario.executable.display().to_string());
        let actuator = format!("{executable}, demo-actuator, --app, {}", quoted(app));
        let metrics = quoted(&format!("{app}/metrics"));
        let freeze = quoted(&format!("{app}/admin/freeze"));
        let state = quoted(&self.state().display().to_string());
        let control = quoted(&self.control.display().to_string());
        let key = quoted(&self.routing_key().display().to_string());
        let (pagerduty, smtp) = (quoted(scenario.pagerduty_url), quoted(scenario.smtp));
        format!(
            "\
# Written by `rearguard demo`. A real one differs in addresses, programs and durations only.
rules: [rules/*.yaml]
state: {state}
control: {control}
interval: 1s

targets:
  {TARGET}:
    mode: armed
    plans: [emergency]
    at_most: 3 per 24h
    cooldown: 10m
    deployments: {{ detect: {{ source: app, metric: app_build_info, label: version }} }}

sources:
  app: {{ scrape: {metrics}, every: 1s, timeout: 800ms }}

rollbacks:
  emergency:
    deadline: 60s
    steps:
      - {{ name: freeze deployments, http: {{ post: {freeze} }}, timeout: 5s }}
      - {{ name: switch back, exec: [{actuator}, switch-back{sabotage}], timeout: 10s }}
      - {{ name: warm caches, exec: [{actuator}, warm-caches], timeout: 10s, on_error: continue }}
    verify:
      warm_up: 3s
      within: 20s
      conditions: [ 'error_rate < 2%', 'avg_response_time < 100ms' ]

receivers:
  {PAGERDUTY}: {{ pagerduty: {{ routing_key: {{ file: {key} }}, url: {pagerduty} }} }}
  {MAIL}: {{ email: {{ smtp: {smtp}, tls: plain, from: 'rearguard@demo.example', to: ['{ON_CALL}'] }} }}

escalations:
  on-call:
    - {{ after: 0s, notify: [{PAGERDUTY}, {MAIL}] }}
"
        )
    }
}

/// Quotes a text for YAML: single quotes know one escape only, their own doubling.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config;
    use crate::engine::decision::{Mode, StepAction};
    use crate::engine::model::ReceiverName;

    /// A name that YAML needs quotes for.
    const EXECUTABLE: &str = "/opt/it's: here/rearguard";

    fn scenario(sabotage: Option<Sabotage>) -> Scenario<'static> {
        Scenario {
            executable: Path::new(EXECUTABLE),
            app_url: "http://127.0.0.1:1",
            pagerduty_url: "http://127.0.0.1:2",
            smtp: "127.0.0.1:3",
            sabotage,
        }
    }

    #[test]
    fn the_daemon_loads_what_is_written_without_a_warning() {
        let cases = [
            (None, None),
            (Some(Sabotage::Receiver), None),
            (Some(Sabotage::Actuator), Some("fail")),
            (Some(Sabotage::Verify), Some("pretend")),
        ];
        for (sabotage, instead) in cases {
            let files = Files::create().expect("a directory");
            files.write(&scenario(sabotage)).expect("the files are written");
            let loaded = config::load(&files.config)
                .unwrap_or_else(|refused| panic!("{}", refused.render(config::Style::Plain)));
            assert_eq!(loaded.render_warnings(config::Style::Plain), "");
            assert_eq!(loaded.config.control, files.control);
            config::read_secrets(&loaded.config, None).expect("the routing key can be read");

            assert_eq!(loaded.setup.targets[TARGET].mode, Mode::Armed);
            assert_eq!(loaded.setup.rules.triggers.len(), 1);
            let receivers: Vec<_> = loaded.setup.receivers.iter().map(ReceiverName::as_str).collect();
            assert_eq!(receivers, [MAIL, PAGERDUTY]);
            let StepAction::Exec { argv } = &loaded.setup.plans["emergency"].steps[1].action else {
                panic!("the second step runs a program");
            };
            assert_eq!(argv[0], EXECUTABLE);
            assert_eq!(argv.get(6).map(String::as_str), instead, "{sabotage:?}");
            files.remove().expect("it can be removed");
        }
    }

    #[test]
    fn the_directory_and_the_key_are_for_this_user_alone() {
        let files = Files::create().expect("a directory");
        files.write(&scenario(None)).expect("the files are written");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&files.directory), mode(&files.routing_key())), (0o700, 0o600));
        assert!(files.control.as_os_str().len() < 108, "a socket's path has 107 bytes at most");
        files.remove().expect("it can be removed");
        assert!(!files.directory.exists());
    }
}
