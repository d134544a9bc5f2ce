//! A world under virtual time in which everything works.

use rearguard::engine::decision::{
    DeliveryReport, Effect, EffectOutcome, Input, StepEnding, StepHandle, StepResult,
};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::replay::Timed;

/// Pages are accepted, steps begin at once and succeed a second later.
pub fn obliging(now: Timestamp, effect: &Effect) -> Vec<(Timestamp, Timed)> {
    let soon = now + Span::from_secs(1);
    let finished = |effect, outcome| vec![(soon, Timed::Input(Input::EffectFinished { effect, outcome }))];
    match effect {
        Effect::Deliver(delivery) => {
            let report = DeliveryReport::Accepted("202".to_owned());
            finished(delivery.effect, EffectOutcome::Delivery(report))
        }
        Effect::PrepareStep(order) => {
            let handle = StepHandle::Process { pid: 7, start_ticks: 1, boot_id: "boot".to_owned() };
            vec![(now, Timed::Input(Input::EffectStarted { effect: order.effect, handle }))]
        }
        Effect::ReleaseStep(effect) => {
            let ending =
                StepEnding { result: StepResult::Succeeded, took: Span::from_secs(1), output: String::new() };
            finished(*effect, EffectOutcome::Step(ending))
        }
        Effect::AbandonStep(_) => Vec::new(),
    }
}
