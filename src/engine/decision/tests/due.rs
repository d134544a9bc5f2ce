//! The clocks of incidents.

use super::*;
use crate::engine::rules::Clock;

/// `Errors` must be rolled back within 60 s and proven within 120 s, and somebody looks into it within 30 min.
fn clocked() -> Setup {
    let mut setup = setup();
    let clocks =
        [(Clock::Rollback, 60), (Clock::Verified, 120), (Clock::Task("find the cause".to_owned()), 1800)];
    let due = clocks.map(|(clock, within_s)| (clock, Span::from_secs(within_s)));
    let errors = Trigger { due: BTreeMap::from(due), ..trigger("Errors") };
    setup.rules.triggers.insert(("app".into(), "Errors".into()), Arc::new(errors));
    setup
}

fn wakes_at(story: &Story) -> Option<i64> {
    let decision = decide(&story.state, &story.setup, story.now, &Input::Woke);
    decision.wake_at.map(|at| at.as_millis() / 1000)
}

/// The first lines of pages about clocks.
fn overdue(effects: &[Effect]) -> Vec<String> {
    let message = |effect: &Effect| match effect {
        Effect::Deliver(delivery) if delivery.message.dedup_key.ends_with("-overdue") => {
            Some(delivery.message.summary.clone())
        }
        _ => None,
    };
    let mut told: Vec<String> = effects.iter().filter_map(message).collect();
    told.dedup();
    told
}

#[test]
fn s3_09_what_is_done_in_time_is_never_overdue() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    for _ in 0..2 {
        story.at(20).end_step(StepResult::Succeeded);
    }
    story.at(40).check(Verdict::Holds);
    assert_eq!(wakes_at(&story), Some(10 + 1800), "only people are waited for");
    let done = |task: &str| Command::TaskDone {
        incident: IncidentId(1),
        task: task.to_owned(),
        by: "ana".to_owned(),
    };
    story.at(50).feed(Input::Command(done("find the cause")));
    assert!(story.said("I1: task `find the cause` is done, says ana"), "{:#?}", story.lines);
    assert_eq!(wakes_at(&story), None);
    assert_eq!(overdue(&story.at(10_000).feed(Input::Woke)), [] as [&str; 0]);
}

#[test]
fn s3_09_what_has_not_happened_in_time_is_paged_once_under_a_key_of_its_own() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    story.at(20).end_step(StepResult::Failed("exit code 1".to_owned()));
    assert_eq!(wakes_at(&story), Some(70));
    assert_eq!(overdue(&story.at(69).feed(Input::Woke)), [] as [&str; 0]);
    let late = overdue(&story.at(70).feed(Input::Woke));
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(late[0].starts_with("app: OVERDUE: not rolled back within 1m: "), "{late:?}");
    assert_eq!(overdue(&story.at(129).feed(Input::Woke)), [] as [&str; 0]);
    assert_eq!(overdue(&story.at(1810).feed(Input::Woke)).len(), 2, "the proof, and the people");
    assert_eq!(wakes_at(&story), None);
}

#[test]
fn s3_09_a_proof_that_fails_later_does_not_undo_that_the_steps_were_done_in_time() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    for _ in 0..2 {
        story.at(20).end_step(StepResult::Succeeded);
    }
    story.at(46).check(Verdict::Breached);
    story.at(60).feed(Input::Woke);
    assert!(story.said("R1 is PARTIAL"), "{:#?}", story.lines);
    let late = overdue(&story.at(130).feed(Input::Woke));
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(late[0].starts_with("app: OVERDUE: no rollback is proven within 2m: "), "{late:?}");
}

#[test]
fn the_end_of_an_incident_stops_its_clocks_and_closes_their_page() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    story.at(20).end_step(StepResult::Failed("exit code 1".to_owned()));
    story.at(70).feed(Input::Woke);
    let effects = story.at(80).judge("Errors", Verdict::Holds, false);
    let resolved = |effect: &&Effect| {
        matches!(effect, Effect::Deliver(delivery)
        if delivery.message.kind == MessageKind::Resolve && delivery.message.dedup_key.ends_with("-overdue"))
    };
    assert_eq!(effects.iter().filter(resolved).count(), 2);
    assert_eq!(story.at(10_000).feed(Input::Woke), []);
}

#[test]
fn a_task_that_nobody_waits_for_is_denied_with_those_that_are_left() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    for (incident, task, expected) in [
        (1, "coffee", "I1 does not wait for the task `coffee`; it waits for: `find the cause`"),
        (2, "find the cause", "there is no open incident I2"),
    ] {
        let command =
            Command::TaskDone { incident: IncidentId(incident), task: task.to_owned(), by: "ana".to_owned() };
        let decision = decide(&story.state, &story.setup, story.now, &Input::Command(command));
        assert_eq!(decision.events, []);
        assert!(format!("{:?}", decision.report).contains(expected), "{:?}", decision.report);
    }
}
