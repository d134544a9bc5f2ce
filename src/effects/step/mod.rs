//! Rollback steps: a program behind a gate, or an HTTP request.
//!
//! Both come in two halves, so that no step runs before its start is durable (E4): [`StepRunner::prepare`] makes
//! everything ready and says by what the step can be recognised after a crash; [`Prepared::release`] lets it run. What
//! was prepared and not released has done nothing.

mod environment;
pub mod gate;
mod output;
mod process;
mod request;

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::decision::setup::StepAction;
use crate::engine::decision::{StepEnding, StepHandle, StepOrder, StepResult};
use crate::engine::time::Span;

pub use process::{end, is_alive, until_gone};

/// Prepares steps.
#[derive(Clone, Debug)]
pub struct StepRunner {
    gate: PathBuf,
    http: reqwest::Client,
}

/// A step that is ready and waits; nothing of it has happened yet.
///
/// Dropping it is safe too: the gate sees the end of its input and exits. [`Prepared::abandon`] waits for that.
#[must_use = "a prepared step holds a process until it is released or abandoned"]
#[derive(Debug)]
pub struct Prepared {
    timeout: Duration,
    work: Work,
}

/// What waits.
#[derive(Debug)]
enum Work {
    Process(process::Gated),
    Request(Box<request::Ready>),
}

impl StepRunner {
    /// Takes the path of the program that serves as the gate and the client for HTTP steps.
    ///
    /// The gate is this very program, `/proc/self/exe`, which stays the same file while an upgrade replaces the one on
    /// disk; it is called with [`gate::COMMAND`].
    pub fn new(gate: PathBuf, http: reqwest::Client) -> Self {
        Self { gate, http }
    }

    /// Makes the step ready without letting it run.
    ///
    /// # Errors
    ///
    /// Returns the step's ending where it can never run: no process could be made, the program's path is not absolute,
    /// the URL is not one. Nothing has happened then.
    pub async fn prepare(&self, order: &StepOrder) -> Result<Prepared, StepEnding> {
        let timeout = order.timeout.to_std();
        let work = match &order.action {
            StepAction::Exec { argv } => {
                let gate_order = environment::gate_order(order, argv);
                process::Gated::spawn(&self.gate, &gate_order).await.map(Work::Process)
            }
            StepAction::Http { method, url, body } => {
                request::Ready::new(&self.http, order, method, url, body.as_deref())
                    .map(|ready| Work::Request(Box::new(ready)))
            }
        };
        match work {
            Ok(work) => Ok(Prepared { timeout, work }),
            Err(reason) => Err(never_ran(reason)),
        }
    }
}

impl Prepared {
    /// Returns what the step can be recognised by after a restart.
    pub fn handle(&self) -> StepHandle {
        match &self.work {
            Work::Process(gated) => gated.handle().clone(),
            Work::Request(_) => StepHandle::Request,
        }
    }

    /// Lets the step run and waits for its end or the end of its budget, which is counted from here.
    ///
    /// Dropping the future does not end a running program: it outlives us and is recognised by its handle.
    pub async fn release(self) -> StepEnding {
        match self.work {
            Work::Process(gated) => gated.run(self.timeout).await,
            Work::Request(ready) => ready.send(self.timeout).await,
        }
    }

    /// Ends the waiting process; nothing was run.
    pub async fn abandon(self) {
        match self.work {
            Work::Process(gated) => gated.abandon().await,
            Work::Request(_) => {}
        }
    }
}

/// Returns the ending of a step that did not run at all.
fn never_ran(reason: String) -> StepEnding {
    StepEnding { result: StepResult::Failed(reason), took: Span::ZERO, output: String::new() }
}

/// Returns a measured time as the engine's span.
fn span(duration: Duration) -> Span {
    Span::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
