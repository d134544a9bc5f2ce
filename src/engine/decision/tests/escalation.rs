//! Who is told next when an incident stays open.

use super::*;

/// Levels at once, after five minutes, and after fifteen.
fn levels() -> Setup {
    let level = |after_s, notify: &[&str], always| Level {
        after: Span::from_secs(after_s),
        notify: notify.iter().map(|name| ReceiverName::from(*name)).collect(),
        always,
    };
    let levels = vec![
        level(0, &["pd", "mail"], false),
        level(300, &["spare"], false),
        level(900, &["mail", "pd"], true),
    ];
    Setup { policies: BTreeMap::from([("oncall".into(), Policy { levels })]), ..shadow() }
}

/// Nothing but pages: rollbacks have stories of their own.
fn shadow() -> Setup {
    let mut setup = setup();
    for target in setup.targets.values_mut() {
        target.mode = Mode::Shadow;
    }
    setup
}

/// Who was given which messages by these effects.
fn told(effects: &[Effect]) -> Vec<(String, MessageKind)> {
    let message = |effect: &Effect| match effect {
        Effect::Deliver(delivery) => Some((delivery.receiver.to_string(), delivery.message.kind)),
        _ => None,
    };
    effects.iter().filter_map(message).collect()
}

fn triggers(names: &[&str]) -> Vec<(String, MessageKind)> {
    names.iter().map(|name| ((*name).to_owned(), MessageKind::Trigger)).collect()
}

/// Fires at second 10; returns when the next level is due.
fn opened(story: &mut Story) -> Option<Timestamp> {
    let effects = story.at(10).fire("Errors");
    assert_eq!(told(&effects), triggers(&["mail", "pd"]));
    decide(&story.state, &story.setup, story.now, &Input::Woke).wake_at
}

#[test]
fn s1_10_each_level_is_told_once_at_its_time_from_the_decision_on() {
    let mut story = Story::new(levels());
    let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
    assert_eq!(opened(&mut story), at(310));
    assert_eq!(story.at(309).feed(Input::Woke), []);
    assert_eq!(told(&story.at(310).feed(Input::Woke)), triggers(&["spare"]));
    assert!(story.said("I1 is still open: level 2 is told (spare)"), "{:#?}", story.lines);
    assert_eq!(decide(&story.state, &story.setup, story.now, &Input::Woke).wake_at, at(910));
    assert_eq!(told(&story.at(910).feed(Input::Woke)), triggers(&["mail", "pd"]));
    assert_eq!(story.at(10_000).feed(Input::Woke), [], "everybody has been told");
    assert_eq!(story.state.incidents[&IncidentId(1)].notify.len(), 3);
}

#[test]
fn an_incident_that_is_over_is_told_to_nobody_else_and_its_end_to_all_who_know() {
    let mut story = Story::new(levels());
    opened(&mut story);
    story.at(310).feed(Input::Woke);
    let mut over = told(&story.at(400).judge("Errors", Verdict::Holds, false));
    over.sort();
    let known = ["mail", "pd", "spare"].map(|name| (name.to_owned(), MessageKind::Resolve));
    assert_eq!(over, known);
    assert_eq!(decide(&story.state, &story.setup, story.now, &Input::Woke).wake_at, None);
    assert_eq!(story.at(910).feed(Input::Woke), []);
}

#[test]
fn what_came_due_while_the_daemon_was_away_is_told_in_order_by_the_next_one() {
    let mut story = Story::new(levels());
    opened(&mut story);
    story.at(20).feed(Input::Stopping);
    assert_eq!(story.at(2000).feed(Input::Woke), [], "the outbox goes down too");
    story.feed(Input::Restarted(Restart { gap: Span::ZERO, alive: Vec::new(), version: String::new() }));
    assert_eq!(told(&story.feed(Input::Woke)), triggers(&["spare", "mail", "pd"]));
}

#[test]
fn a_policy_that_is_gone_after_a_reload_tells_nobody_else() {
    let mut story = Story::new(levels());
    opened(&mut story);
    story.setup.policies.clear();
    assert_eq!(story.at(10_000).feed(Input::Woke), []);
}
