//! The commands: one file or directory each. Exit codes are part of the interface, see [`Exit`].

mod adapter;
mod audit;
mod check;
mod client;
pub mod demo;
mod deployment;
mod explain;
mod incident;
mod logging;
mod moment;
mod query;
mod rollback;
mod run;
mod status;
mod test;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// What a command's end means to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, passed.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Passed with warnings, where asked for.
    Warned = 3,
    /// Could not be done now, and may be tried again; `EX_TEMPFAIL` of sysexits.h.
    TryAgain = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked: a kind, which decides the exit code, and a text.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl CommandError {
    fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), hint: None }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Judges live metrics, rolls a bad deployment back, proves that it helped, and pages whoever is on call.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The default place of the daemon's file.
const CONFIG: &str = "/etc/rearguard/rearguard.yaml";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a trading app, a bad deployment, a rollback and a page, in about a minute
    Demo(demo::DemoOptions),
    /// Run the daemon
    Run(run::RunArguments),
    /// Validate rearguard.yaml with its rule files, Prometheus rule files, or a /metrics page; lint them
    Check(check::CheckArguments),
    /// Evaluate PromQL against the running daemon, or a file of samples
    Query(query::QueryArguments),
    /// Run rule tests in the format of `promtool test rules`
    Test(test::TestArguments),
    /// Show what is watched, what is waited on, and why nothing was done
    Status(status::StatusArguments),
    /// Explain a trigger: what it sees, what it waits for, why it did or did not act
    Explain(explain::ExplainArguments),
    /// List incidents, or tell the whole story of one
    Incident(incident::IncidentArguments),
    /// Export the journal, or prove that nobody has changed it
    Audit(audit::AuditArguments),
    /// Settle a rollback that is in doubt
    Rollback(rollback::RollbackArguments),
    /// Announce deployments, or list them
    Deployment(deployment::DeploymentArguments),
    /// Careful actuators that plans call as steps
    Adapter(adapter::AdapterArguments),
    /// The demo's trading app
    #[command(hide = true)]
    DemoApp(demo::AppOptions),
    /// The demo's rollback commands
    #[command(hide = true)]
    DemoActuator(demo::ActuatorOptions),
}

/// Where a command finds the daemon.
#[derive(Clone, Debug, clap::Args)]
struct DaemonArguments {
    /// The daemon's file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    // Before anything else: the gate stands between the daemon and a rollback step, and must not read arguments.
    if std::env::args_os().nth(1).is_some_and(|command| command == crate::effects::step::gate::COMMAND) {
        return crate::effects::step::gate::run();
    }
    crate::sources::http_client::install_crypto_provider();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which stream and which code.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let result = match arguments.command {
        Command::Demo(options) => return block_on(demo::run(options)),
        Command::DemoActuator(options) => return block_on(demo::run_actuator(options)),
        Command::DemoApp(options) => block_on(demo::run_app(options))
            .map(|()| Exit::Done)
            .map_err(|error| CommandError::failed(format!("the trading app cannot go on: {error}"))),
        Command::Run(arguments) => block_on(run::run(arguments)),
        Command::Check(arguments) => check::run(&arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Incident(arguments) => incident::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Deployment(arguments) => deployment::run(&arguments),
        Command::Rollback(arguments) => rollback::run(&arguments),
        Command::Adapter(arguments) => adapter::run(arguments),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}", error.message);
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
            error.exit.into()
        }
    }
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::failed(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value for programs.
fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| CommandError::failed(error.to_string()))?;
    print(&format!("{text}\n"))
}

/// Runs a command that waits for things. Two workers: one may be busy with a page while the other serves a receiver.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            eprintln!("the host gives no threads or timers: {error}");
            std::process::exit(Exit::Failed as i32)
        }
    }
}
