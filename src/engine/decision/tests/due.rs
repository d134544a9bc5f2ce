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
fn s3_09_what_is_done_at_the_very_limit_is_late_and_a_moment_before_it_is_not() {
    for (done_at_ms, is_late) in [(69_999, false), (70_000, true), (70_001, true)] {
        let mut story = Story::new(clocked());
        story.at(10).fire("Errors");
        story.at(20).end_step(StepResult::Succeeded);
        let effect = story.start_step();
        story.now = Timestamp::from_millis(done_at_ms);
        // The step's end is heard first, and only then that the time has come.
        let mut late = overdue(&story.finish(effect, StepResult::Succeeded));
        late.extend(overdue(&story.at(71).feed(Input::Woke)));
        assert_eq!(late.len(), usize::from(is_late), "done at {done_at_ms}: {late:?}");
    }
}

#[test]
fn nothing_is_late_where_no_rollback_is_owed() {
    let soak = crate::engine::rules::During { is: true, scope: crate::engine::rules::Scope::Soak };
    let outside = |story: &mut Story| {
        let key = ("app".into(), "Errors".into());
        let errors = story.setup.rules.triggers.get_mut(&key).unwrap();
        Arc::make_mut(errors).then.rollback_during = vec![soak.clone()];
    };
    let shadow = |story: &mut Story| story.setup.targets.get_mut("app").unwrap().mode = Mode::Shadow;
    let cooling = |story: &mut Story| {
        story.state.targets.entry("app".into()).or_default().last_ended = Some(Timestamp::ZERO);
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Story), usize);
    let cases: [Case<'_>; 3] =
        [("outside of its time", &outside, 0), ("in shadow", &shadow, 0), ("cools down", &cooling, 2)];
    for (case, change, expected) in cases {
        let mut story = Story::new(clocked());
        change(&mut story);
        story.at(10).fire("Errors");
        let first = if expected > 0 { 10 + 60 } else { 10 + 1800 };
        assert_eq!(wakes_at(&story), Some(first), "{case}");
        assert_eq!(overdue(&story.at(1000).feed(Input::Woke)).len(), expected, "{case}");
    }
}

#[test]
fn a_rollback_that_is_wanted_later_has_its_time_from_then_on() {
    let mut story = Story::new(clocked());
    story.setup.targets.get_mut("app").unwrap().mode = Mode::Shadow;
    story.at(10).fire("Errors");
    story.setup.targets.get_mut("app").unwrap().mode = Mode::Armed;
    // The trigger is lost from sight with a reload, and fires again in the same incident.
    let key = TriggerKey { target: "app".into(), trigger: "Errors".into(), labels: Labels::empty() };
    story.state.triggers.remove(&key);
    story.at(500).fire("Errors");
    assert!(story.said("rollback R1 of app"), "{:#?}", story.lines);
    let late = overdue(&story.at(560).feed(Input::Woke));
    assert!(late.len() == 1 && late[0].contains("not rolled back within 1m: "), "{late:?}");
}

#[test]
fn a_rollback_that_it_has_joined_counts_as_its_own() {
    let mut setup = clocked();
    let errors = Arc::clone(&setup.rules.triggers[&("app".into(), "Errors".into())]);
    let slow = Trigger { due: errors.due.clone(), ..trigger("Slow") };
    setup.rules.triggers.insert(("app".into(), "Slow".into()), Arc::new(slow));
    let mut story = Story::new(setup);
    story.at(10).fire("Errors");
    story.at(11).fire("Slow");
    for _ in 0..2 {
        story.at(20).end_step(StepResult::Succeeded);
    }
    story.at(40).check(Verdict::Holds);
    assert_eq!(overdue(&story.at(1000).feed(Input::Woke)), [] as [&str; 0]);
}

#[test]
fn s3_09_tasks_go_on_after_the_end_of_their_incident() {
    let begin = || {
        let mut story = Story::new(clocked());
        story.at(10).fire("Errors");
        for _ in 0..2 {
            story.at(20).end_step(StepResult::Succeeded);
        }
        story.at(40).check(Verdict::Holds);
        story.at(60).judge("Errors", Verdict::Holds, false);
        assert!(story.said("incident I1 is resolved"));
        // A restart knows it from the events, and from a snapshot of the state.
        let saved = serde_json::to_string(&story.state).unwrap();
        story.state = serde_json::from_str(&saved).unwrap();
        assert_eq!(wakes_at(&story), Some(10 + 1800));
        story
    };
    let done = || {
        let (task, by) = ("find the cause".to_owned(), "ana".to_owned());
        Input::Command(Command::TaskDone { incident: IncidentId(1), task, by })
    };
    let mut story = begin();
    assert_eq!(story.at(1000).feed(done()), [], "in time: there is nothing to close");
    assert!(story.said("I1: task `find the cause` is done, says ana"), "{:#?}", story.lines);
    assert_eq!(wakes_at(&story), None);

    let mut story = begin();
    let late = overdue(&story.at(1810).feed(Input::Woke));
    assert!(late.len() == 1 && late[0].contains("`find the cause` is not done within 30m"), "{late:?}");
    assert_eq!(wakes_at(&story), None, "once");
    let closing = story.at(2000).feed(done());
    assert_eq!(deliveries(&closing).iter().filter(|(_, _, kind)| *kind == MessageKind::Resolve).count(), 2);
    assert_eq!(story.at(2001).feed(done()), [], "it is done already");
}

#[test]
fn tasks_of_incidents_that_ended_before_tasks_went_on_wake_nobody() {
    let old = r#"{"incident_resolved": {"incident": 1, "reason": "the condition is no longer met"}}"#;
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    let resolved = Event { at: story.now, what: serde_json::from_str(old).unwrap() };
    apply(&mut story.state, &resolved).unwrap();
    assert_eq!(overdue(&story.at(10_000).feed(Input::Woke)), [] as [&str; 0]);
}

#[test]
fn the_end_of_an_incident_stops_its_other_clocks_and_closes_their_page() {
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
    assert_eq!(overdue(&story.at(1809).feed(Input::Woke)), [] as [&str; 0], "only the task is left");
}

#[test]
fn a_task_that_nobody_waits_for_is_denied_with_those_that_are_left() {
    let mut story = Story::new(clocked());
    story.at(10).fire("Errors");
    for (incident, task, expected) in [
        (1, "coffee", "I1 does not wait for the task `coffee`; it waits for: `find the cause`"),
        (2, "find the cause", "there is no incident I2 that waits for a task"),
    ] {
        let command =
            Command::TaskDone { incident: IncidentId(incident), task: task.to_owned(), by: "ana".to_owned() };
        let decision = decide(&story.state, &story.setup, story.now, &Input::Command(command));
        assert_eq!(decision.events, []);
        assert!(format!("{:?}", decision.report).contains(expected), "{:?}", decision.report);
    }
}
