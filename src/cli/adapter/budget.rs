//! How long an adapter may take: a little less than its step, so that it can say what became of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::time::Span;

/// The budget where nobody says one.
const DEFAULT: Duration = Duration::from_secs(60);

/// What is left of a step's budget for the answer itself.
const FOR_THE_ANSWER: Duration = Duration::from_millis(500);

/// The longest time that one read may take: a healthy API server answers in a fraction of it.
const READ: Duration = Duration::from_secs(10);

/// Less time than this is not enough for a reading; one that is cut off would say less than the one before.
const READ_MIN: Duration = Duration::from_millis(250);

/// The longest time that one change of an API's object may take. What did not answer by then is read back instead: it may
/// have been done.
const CHANGE: Duration = Duration::from_secs(15);

/// How an adapter goes about its work; every adapter takes these.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConductArguments {
    /// Read and judge, change nothing, and say what a real run would do
    #[arg(long)]
    pub(super) check: bool,
    /// How long all of it may take; by default the step's budget (REARGUARD_TIMEOUT_MS), else 60s
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// The time between two readings while a change is watched
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    every: Span,
}

/// The time that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    started: Instant,
    whole: Duration,
    every: Duration,
}

impl Budget {
    /// Begins now.
    pub(super) fn new(arguments: &ConductArguments) -> Self {
        let step = std::env::var("REARGUARD_TIMEOUT_MS").ok().and_then(|text| text.parse().ok());
        let whole = whole(arguments.timeout.map(Span::to_std), step.map(Duration::from_millis));
        Self { started: Instant::now(), whole, every: arguments.every.to_std() }
    }

    /// Returns all of it, for people: `45s`.
    pub(super) fn shown(&self) -> Span {
        Span::from_millis(i64::try_from(self.whole.as_millis()).unwrap_or(i64::MAX))
    }

    pub(super) fn left(&self) -> Duration {
        self.whole.saturating_sub(self.started.elapsed())
    }

    /// Returns how long one read may take from now on.
    pub(super) fn for_a_read(&self) -> Duration {
        self.left().min(READ)
    }

    /// Returns how long one change of an API's object may take from now on.
    pub(super) fn for_a_change(&self) -> Duration {
        self.left().min(CHANGE)
    }

    /// Waits until the next reading; false where there is no time for one any more.
    pub(super) async fn pause(&self) -> bool {
        if self.left() < self.every + READ_MIN {
            return false;
        }
        tokio::time::sleep(self.every).await;
        true
    }
}

/// Returns the budget: what was asked for, within what the step has.
fn whole(asked: Option<Duration>, step: Option<Duration>) -> Duration {
    let step = step.map(|step| step.saturating_sub(FOR_THE_ANSWER.min(step / 4)));
    match (asked, step) {
        (Some(asked), Some(step)) => asked.min(step),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_given_before_the_step_is_ended() {
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        let cases = [
            (None, None, DEFAULT),
            (ms(3000), None, Duration::from_secs(3)),
            (None, ms(10_000), Duration::from_millis(9500)),
            (ms(3000), ms(10_000), Duration::from_secs(3)),
            (ms(30_000), ms(10_000), Duration::from_millis(9500)),
            (None, ms(1000), Duration::from_millis(750)),
        ];
        for (asked, step, expected) in cases {
            assert_eq!(whole(asked, step), expected, "{asked:?} within {step:?}");
        }
    }
}
