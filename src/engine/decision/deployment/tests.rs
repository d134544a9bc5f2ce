//! Deployments as short stories: words go in, what happened comes out as lines.

use std::collections::BTreeSet;

use super::super::event::Refusal;
use super::super::tests::{Story, setup};
use super::super::{Command, Input, Mode, StepResult};
use super::*;
use crate::engine::evaluation::{Judged, Verdict};
use crate::engine::rules::{Calendar, DayOfWeek};

const ANA: &str = "uid 1000";

fn start(version: &str) -> DeploymentNews {
    DeploymentNews::Start { version: version.to_owned(), previous: None }
}

fn stage(share: f64, settle_s: i64) -> DeploymentNews {
    DeploymentNews::Stage { share, name: None, settle: Span::from_secs(settle_s) }
}

fn finish(ending: Ending) -> DeploymentNews {
    DeploymentNews::Finish { ending }
}

/// Tells something of target `app`; returns why it was denied, if it was.
fn tell(story: &mut Story, at_s: i64, news: DeploymentNews) -> Result<(), String> {
    tell_of(story, at_s, "app", news)
}

fn tell_of(story: &mut Story, at_s: i64, target: &str, news: DeploymentNews) -> Result<(), String> {
    story.at(at_s);
    let input = Input::Command(Command::Deployment { target: target.into(), news, by: ANA.to_owned() });
    let decision = super::super::decide(&story.state, &story.setup, story.now, &input);
    let denied = decision.report.lines.first().map(|line| line.reason.to_string());
    story.feed(input);
    denied.map_or(Ok(()), Err)
}

fn shows(story: &mut Story, at_s: i64, version: &str) {
    story.at(at_s);
    let versions = vec![("app".into(), version.to_owned())];
    story.feed(Input::Judged(Judged { versions, ..Judged::default() }));
}

/// Returns the lines that speak of deployments, without their constant beginning.
fn lines(story: &Story) -> Vec<&str> {
    story.lines.iter().filter_map(|line| line.strip_prefix("deployment ")).collect()
}

fn only(story: &Story) -> &Deployment {
    story.state.deployments.values().next_back().expect("a deployment")
}

#[test]
fn an_announced_deployment_goes_through_its_stages_soaks_and_is_over() {
    let mut story = Story::new(setup());
    tell(&mut story, 0, start("v42")).unwrap();
    tell(&mut story, 10, stage(0.1, 30)).unwrap();
    tell(&mut story, 310, stage(0.25, 0)).unwrap();
    tell(&mut story, 400, DeploymentNews::Progress { share: 0.5 }).unwrap();
    tell(&mut story, 500, finish(Ending::RolledOut)).unwrap();
    story.at(500 + 1799).feed(Input::Woke);
    assert!(only(&story).is_active(), "the soak of half an hour is not over");
    story.at(500 + 1800).feed(Input::Woke);
    assert_eq!(
        lines(&story),
        [
            "D1 of app begins: version v42, announced by uid 1000",
            "D1 is at stage 10%, by uid 1000",
            "D1 is at stage 25%, by uid 1000",
            "D1 is at 50%, by uid 1000",
            "D1 is rolled out, by uid 1000; its soak begins",
            "D1 succeeded: its soak is over",
        ]
    );
    let deployment = only(&story);
    assert_eq!(deployment.duration(Timestamp::from_millis(i64::MAX)), Some(Span::from_secs(500)));
    assert_eq!(deployment.stages.len(), 2);
    let history = &story.state.targets["app"].deployments;
    assert_eq!((history.active, history.success_ratio(story.now)), (None, Some(1.0)));
}

#[test]
fn s0_19_the_estimate_is_elapsed_over_progress_less_elapsed() {
    // (elapsed, progress, asked at, left), seconds.
    let cases = [
        (300, 0.5, 300, 300),
        (300, 0.5, 350, 250),
        (300, 0.5, 700, 0),
        (300, 0.0, 300, 0),
        (300, 1.0, 300, 0),
        (60, 0.25, 60, 180),
        (100, 1.0 / 3.0, 100, 200),
    ];
    for (elapsed, share, asked, left) in cases {
        let mut story = Story::new(setup());
        tell(&mut story, 0, start("v42")).unwrap();
        tell(&mut story, elapsed, DeploymentNews::Progress { share }).unwrap();
        let remaining = only(&story).remaining(Timestamp::from_millis(asked * 1000));
        assert_eq!(remaining, Span::from_secs(left), "{share} after {elapsed}, asked at {asked}");
    }
    let mut story = Story::new(setup());
    tell(&mut story, 0, start("v42")).unwrap();
    assert_eq!(only(&story).remaining(Timestamp::from_millis(60_000)), Span::ZERO, "nothing was told yet");
}

#[test]
fn what_does_not_fit_is_denied_with_a_reason_and_changes_nothing() {
    type Case = (&'static str, fn(&mut Story), DeploymentNews, &'static str);
    let none = |_: &mut Story| {};
    let runs = |story: &mut Story| tell(story, 0, start("v42")).unwrap();
    let soaks = |story: &mut Story| {
        tell(story, 0, start("v42")).unwrap();
        tell(story, 1, finish(Ending::RolledOut)).unwrap();
    };
    let rolls_back = |story: &mut Story| drop(story.fire("Errors"));
    let name = "x".repeat(129);
    let cases: [Case; 13] = [
        ("stage without one", none, stage(0.1, 0), "no deployment of app is under way"),
        ("finish without one", none, finish(Ending::RolledOut), "no deployment of app is under way"),
        ("the same again", runs, start("v42"), "D1 of app brings version v42 already"),
        ("stage in soak", soaks, stage(0.1, 0), "D1 of app is rolled out already and soaks"),
        ("finish in soak", soaks, finish(Ending::Failed), "soaks"),
        ("during a rollback", rolls_back, start("v43"), "R1 is rolling app back"),
        ("more than all", runs, DeploymentNews::Progress { share: 1.1 }, "not a part of the whole"),
        ("less than none", runs, DeploymentNews::Progress { share: -0.1 }, "not a part of the whole"),
        ("no number", runs, stage(f64::NAN, 0), "not a part of the whole"),
        ("settles before", runs, stage(0.1, -1), "cannot be negative"),
        ("no version", none, start(" "), "the version must be 1 to 128 characters"),
        ("two lines", none, start("v1\nv2"), "none of them a control character"),
        ("too long", none, start(&name), "1 to 128 characters"),
    ];
    for (case, prepare, news, why) in cases {
        let mut story = Story::new(setup());
        prepare(&mut story);
        let (before, told) = (story.state.deployments.clone(), story.lines.len());
        let denied = tell(&mut story, 5, news).unwrap_err();
        assert!(denied.contains(why), "{case}: {denied}");
        assert_eq!((before, told), (story.state.deployments.clone(), story.lines.len()), "{case}");
    }
    let mut story = Story::new(setup());
    let denied = tell_of(&mut story, 0, "shop", start("v1")).unwrap_err();
    assert!(denied.contains("there is no target `shop`; there are: app"), "{denied}");
}

/// What happens to a target, second by second.
type Play = fn(&mut Story);

/// Plays each case; what is said of deployments must be this.
fn check(cases: &[(&str, Play, &[&str])]) {
    for (case, play, expected) in cases {
        let mut story = Story::new(setup());
        play(&mut story);
        assert_eq!(lines(&story), *expected, "{case}");
    }
}

#[test]
fn a_version_that_changes_begins_a_deployment_unless_it_is_known() {
    check(&[
        ("the first version", |story| shows(story, 0, "v1"), &[]),
        (
            "another one",
            |story| {
                shows(story, 0, "v1");
                shows(story, 5, "v2");
                shows(story, 10, "v2");
            },
            &[
                "D1 of app begins: version v2 (before: v1), detected",
                "D1 is rolled out, by the version that the target shows; its soak begins",
            ],
        ),
        (
            "one that was announced under the same name",
            |story| {
                shows(story, 0, "v1");
                tell(story, 5, start("v2")).unwrap();
                shows(story, 10, "v2");
            },
            &["D1 of app begins: version v2 (before: v1), announced by uid 1000"],
        ),
        (
            "one that was announced under another name, once",
            |story| {
                shows(story, 0, "abc123");
                tell(story, 5, start("v2")).unwrap();
                shows(story, 10, "def456");
                shows(story, 15, "def456");
            },
            &["D1 of app begins: version v2 (before: abc123), announced by uid 1000"],
        ),
    ]);
}

#[test]
fn a_version_that_changes_ends_what_was_there_before() {
    check(&[
        (
            "a third one in the soak of the second",
            |story| {
                shows(story, 0, "v1");
                shows(story, 5, "v2");
                shows(story, 65, "v3");
            },
            &[
                "D1 of app begins: version v2 (before: v1), detected",
                "D1 is rolled out, by the version that the target shows; its soak begins",
                "D1 succeeded: D2 begins",
                "D2 of app begins: version v3 (before: v2), detected",
                "D2 is rolled out, by the version that the target shows; its soak begins",
            ],
        ),
        (
            "the old one again, without us",
            |story| {
                shows(story, 0, "v1");
                shows(story, 5, "v2");
                shows(story, 65, "v1");
            },
            &[
                "D1 of app begins: version v2 (before: v1), detected",
                "D1 is rolled out, by the version that the target shows; its soak begins",
                "D1 was ROLLED BACK: version v1 runs again; Rearguard did not do it",
            ],
        ),
        (
            "announced late: the label was there first",
            |story| {
                shows(story, 0, "v1");
                shows(story, 5, "v2");
                assert!(
                    tell(story, 6, start("v2")).unwrap_err().contains("D1 of app brings version v2 already")
                );
            },
            &[
                "D1 of app begins: version v2 (before: v1), detected",
                "D1 is rolled out, by the version that the target shows; its soak begins",
            ],
        ),
        (
            "announced twice without an end",
            |story| {
                tell(story, 0, start("v2")).unwrap();
                tell(story, 60, start("v3")).unwrap();
            },
            &[
                "D1 of app begins: version v2, announced by uid 1000",
                "D1 is abandoned: D2 begins, and nobody told its end",
                "D2 of app begins: version v3, announced by uid 1000",
            ],
        ),
    ]);
}

/// Runs the plan of the story's rollback to its end.
fn roll_back(story: &mut Story, at_s: i64, result: StepResult) {
    story.at(at_s).fire("Errors");
    story.end_step(result.clone());
    if result == StepResult::Succeeded {
        story.end_step(StepResult::Succeeded);
        story.check(Verdict::Holds);
    }
}

#[test]
fn a_rollback_that_works_ends_the_deployment_and_its_version_is_no_new_one() {
    let mut story = Story::new(setup());
    shows(&mut story, 0, "v1");
    shows(&mut story, 5, "v2");
    roll_back(&mut story, 60, StepResult::Succeeded);
    shows(&mut story, 70, "v1");
    assert_eq!(lines(&story)[2..], ["D1 was ROLLED BACK: R1 succeeded"]);
    let target = &story.state.targets["app"];
    assert_eq!(target.deployments.success_ratio(story.now), Some(0.0));
    assert_eq!(target.rollbacks.totals[&Outcome::Succeeded], 1);
    assert_eq!((target.rollbacks.last_took, target.rollbacks.last_verified), (Some(Span::ZERO), Some(true)));
    shows(&mut story, 700, "v3");
    assert_eq!(lines(&story)[3], "D2 of app begins: version v3 (before: v1), detected");
}

/// A story in which a unit's starts are deployments; its versions are looked at every 5 s.
fn restarting() -> Story {
    let mut setup = setup();
    let detect =
        setup.targets.get_mut("app").and_then(|target| target.detect.as_mut()).expect("is looked at");
    detect.tells = Tells::Restart;
    Story::new(setup)
}

#[test]
fn a_unit_that_starts_anew_is_a_deployment_unless_it_belongs_to_one() {
    let begins = "D1 of app begins: version restart b (before: restart a), detected";
    let soaks = "D1 is rolled out, by the version that the target shows; its soak begins";
    let mut story = restarting();
    shows(&mut story, 0, "restart a");
    shows(&mut story, 5, "restart b");
    // It crashes while it soaks.
    shows(&mut story, 60, "restart c");
    assert_eq!(lines(&story), [begins, soaks]);
    story.at(5 + 1800).feed(Input::Woke);
    shows(&mut story, 2000, "restart d");
    assert_eq!(lines(&story)[3], "D2 of app begins: version restart d (before: restart c), detected");

    let mut announced = restarting();
    shows(&mut announced, 0, "restart a");
    tell(&mut announced, 10, start("v2")).unwrap();
    shows(&mut announced, 20, "restart b");
    shows(&mut announced, 30, "restart c");
    assert_eq!(lines(&announced).len(), 1, "{:?}", lines(&announced));

    let mut another = restarting();
    shows(&mut another, 0, "v1");
    shows(&mut another, 5, "restart a");
    assert_eq!(lines(&another), [""; 0], "another way of looking is no deployment");
}

#[test]
fn what_a_rollback_starts_anew_is_no_deployment() {
    for (seen_after_s, is_new) in [(0, false), (5, false), (15, false), (20, true)] {
        let mut story = restarting();
        shows(&mut story, 0, "restart a");
        shows(&mut story, 5, "restart b");
        roll_back(&mut story, 60, StepResult::Succeeded);
        shows(&mut story, 60 + seen_after_s, "restart c");
        assert_eq!(lines(&story).len() > 3, is_new, "after {seen_after_s} s: {:?}", lines(&story));
    }
}

#[test]
fn a_rollback_that_does_not_work_leaves_the_deployment_watched_and_it_never_counts_as_a_success() {
    let mut story = Story::new(setup());
    shows(&mut story, 0, "v1");
    shows(&mut story, 5, "v2");
    roll_back(&mut story, 60, StepResult::Failed("exit code 3".to_owned()));
    assert!(only(&story).is_active(), "the new version still runs");
    story.at(5 + 1800).feed(Input::Woke);
    assert_eq!(lines(&story)[2..], ["D1 FAILED: R1 should have taken it back and did not work"]);
    let rollbacks = &story.state.targets["app"].rollbacks;
    assert_eq!((rollbacks.last_verified, rollbacks.totals[&Outcome::Failed]), (None, 1));
}

#[test]
fn ends_that_people_tell_and_ends_that_nobody_tells() {
    for (ending, line) in [
        (Ending::Failed, "D1 FAILED: uid 1000 says so"),
        (Ending::Abandoned, "D1 is abandoned: uid 1000 gave it up"),
    ] {
        let mut story = Story::new(setup());
        tell(&mut story, 0, start("v2")).unwrap();
        tell(&mut story, 60, finish(ending)).unwrap();
        assert_eq!(lines(&story)[1], line);
    }
    let mut story = Story::new(setup());
    tell(&mut story, 0, start("v2")).unwrap();
    tell(&mut story, 3600, stage(0.5, 0)).unwrap();
    story.at(86_400 + 3599).feed(Input::Woke);
    assert_eq!(lines(&story).len(), 2, "a day since the last news is not over");
    story.at(86_400 + 3600).feed(Input::Woke);
    assert_eq!(lines(&story)[2], "D1 is abandoned: nothing was heard of it for 1d");
    let history = &story.state.targets["app"].deployments;
    assert_eq!(history.success_ratio(story.now), None, "neither a success nor a failure");
    // Without a soak it is over at once.
    let mut setup = setup();
    setup.targets.get_mut("app").unwrap().deployments.soak = Span::ZERO;
    let mut story = Story::new(setup);
    tell(&mut story, 0, start("v2")).unwrap();
    tell(&mut story, 60, finish(Ending::RolledOut)).unwrap();
    assert_eq!(lines(&story)[2], "D1 succeeded: it is rolled out");
}

#[test]
fn a_target_that_is_taken_out_of_the_files_takes_its_deployment_along() {
    let mut story = Story::new(setup());
    tell(&mut story, 0, start("v2")).unwrap();
    story.setup.targets.clear();
    story.at(10).feed(Input::SetupLoaded { fingerprint: "g".to_owned(), degraded: None });
    assert_eq!(lines(&story)[1], "D1 is abandoned: its target is no longer configured");
}

#[test]
fn s0_15_past_the_point_of_no_return_a_rollback_is_refused_and_paged() {
    let told = |story: &mut Story| {
        tell(story, 0, start("v2")).unwrap();
        tell(story, 20, DeploymentNews::PointOfNoReturn {}).unwrap();
    };
    let mut story = Story::new(setup());
    told(&mut story);
    story.at(60).fire("Errors");
    assert!(story.said(
        "no rollback of app by `back` for I1: the point of no return is passed (uid 1000): what it would bring back is gone"
    ));
    assert_eq!(story.alarms().len(), 1, "a human is called");
    assert!(story.alarms()[0].contains("REFUSED: the point of no return was passed 40s ago (uid 1000)"));
    let refused = story.state.incidents.values().next().and_then(|incident| incident.refused.clone());
    assert!(matches!(refused, Some(Refusal::PastReturn { .. })));
    // The next deployment has something to go back to.
    story.at(70).judge("Errors", Verdict::Holds, false);
    tell(&mut story, 80, start("v3")).unwrap();
    assert!(story.at(90).fire("Slow").len() > 2, "a rollback begins");
    assert!(story.said("rollback R1 of app"));
    // A target in shadow mode is in shadow mode first of all.
    let mut setup = setup();
    setup.targets.get_mut("app").unwrap().mode = Mode::Shadow;
    let mut story = Story::new(setup);
    told(&mut story);
    story.at(60).fire("Errors");
    assert!(story.said("shadow mode") && story.alarms().is_empty());
}

#[test]
fn s4_09_thirty_seconds_after_the_switch_the_old_environment_is_gone() {
    for (at_s, refused) in [(129, false), (130, true)] {
        let mut setup = setup();
        setup.targets.get_mut("app").unwrap().deployments.point_of_no_return = Some(Span::from_secs(30));
        let mut story = Story::new(setup);
        tell(&mut story, 0, start("v2")).unwrap();
        tell(&mut story, 100, finish(Ending::RolledOut)).unwrap();
        story.at(at_s).fire("Errors");
        assert_eq!(story.said("point of no return is passed (rearguard.yaml)"), refused, "at {at_s}");
        assert_eq!(story.said("rollback R1 of app"), !refused, "at {at_s}");
    }
}

#[test]
fn s3_12_a_deployment_outside_of_its_window_goes_on_and_people_hear_of_it() {
    let releases = Calendar {
        time_zone: jiff::tz::TimeZone::UTC,
        days: BTreeSet::from([DayOfWeek::from(jiff::civil::Weekday::Thursday)]),
        from: jiff::civil::time(16, 0, 0, 0),
        to: Some(jiff::civil::time(18, 0, 0, 0)),
        except: BTreeSet::new(),
    };
    // 1 January 1970 was a Thursday.
    for (hour, outside) in [(15, true), (16, false), (17, false), (18, true), (40, true)] {
        let mut setup = setup();
        setup.calendars.insert("releases".into(), releases.clone());
        let settings = &mut setup.targets.get_mut("app").unwrap().deployments;
        settings.window = vec!["releases".into()];
        settings.page = Some("oncall".into());
        let mut story = Story::new(setup);
        tell(&mut story, hour * 3600, start("v2")).unwrap();
        let opened = "incident I1 opens, low, app: D1 of version v2 begins outside of `releases`";
        assert_eq!(story.said(opened), outside, "{hour}:00");
        assert_eq!(
            story.said("page to mail, pd: app: D1 of version v2 begins outside of"),
            outside,
            "{hour}:00"
        );
        assert_eq!(only(&story).outside.is_some(), outside);
        tell(&mut story, hour * 3600 + 60, finish(Ending::RolledOut)).unwrap();
        story.at(hour * 3600 + 1860).feed(Input::Woke);
        assert_eq!(story.said("incident I1 is resolved: the deployment is over"), outside, "{hour}:00");
    }
}

#[test]
fn journals_of_before_there_were_deployments_can_be_read() {
    let mut story = Story::new(setup());
    shows(&mut story, 0, "v1");
    let mut stored = serde_json::to_value(&story.state).unwrap();
    let state = stored.as_object_mut().unwrap();
    state.remove("deployments").unwrap();
    state.remove("next_deployment").unwrap();
    let target = state["targets"]["app"].as_object_mut().unwrap();
    target.remove("deployments").unwrap();
    target.remove("rollbacks").unwrap();
    story.state = serde_json::from_value(stored).unwrap();
    tell(&mut story, 5, start("v2")).unwrap();
    assert_eq!(story.state.deployments.keys().copied().collect::<Vec<_>>(), [DeploymentId(1)]);
    let again: State = serde_json::from_str(&serde_json::to_string(&story.state).unwrap()).unwrap();
    assert_eq!(again, story.state);
}
