//! One eventful life of a daemon in real time, lived through again in virtual time: the same timeline, event for event.
//!
//! The daemon fires, rolls back and proves it, is refused a second rollback, is blind for a while, is stopped and is
//! killed, and gets other rules. Then everything that it has recorded goes through the driver of the rule tests, at the
//! engine times at which the daemon took it in. Every event must come out again with its time, its reasons and its
//! evidence, equal to the last bit (E1, E6).
//!
//! One thing is not claimed, because nobody can: what the daemon heard in the last second before it was killed is not
//! recorded, so it is killed when what it last decided on has been.

use std::sync::Arc;

use rearguard::config;
use rearguard::engine::decision::{Cause, Event, Happening, Outcome, Refusal};
use rearguard::engine::time::Timestamp;
use rearguard::journal::Reader;
use rearguard::replay::timeline_difference;
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

use crate::again::{Record, Setups};
use crate::application::Application;
use crate::daemon_fixture::endpoint::answer;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::process::Daemon;
use crate::daemon_fixture::site::Site;

const WELL: &str = "app_error_ratio 0.001\napp_latency_seconds 0.05\n";
const FAILING: &str = "app_error_ratio 0.05\napp_latency_seconds 0.05\n";
const SLOW: &str = "app_error_ratio 0.001\napp_latency_seconds 0.5\n";

fn rules(slow: &str) -> String {
    format!(
        "\
target: app
sources: [app]
indicators:
  error_rate: {{ unit: ratio, expr: app_error_ratio }}
  latency: {{ unit: seconds, expr: app_latency_seconds }}
triggers:
  - name: ErrorRateHigh
    when: error_rate > 2%
    for: 600ms
    clear: {{ when: error_rate < 1%, for: 400ms }}
    no_data: {{ page_after: 900ms }}
    severity: critical
    summary: '{{target}}: {{value}} of requests fail'
    then: {{ rollback: back, page: on-call }}
  - name: Slow
    when: latency > {slow}
    for: 80% of 1s
    severity: medium
    then: {{ page: on-call }}
  - name: Sluggish
    when: latency > {slow}
    for: 4 in 3s
    severity: low
    then: {{ page: on-call }}
"
    )
}

/// A daemon's installation while it is lived in.
struct Stage {
    site: Site,
    app: Application,
    setups: Setups,
}

impl Stage {
    fn new() -> Self {
        let (site, app) = (Site::new(), Application::start(WELL));
        let back = site.program("back", "#!/bin/sh -eu\necho going back\ntouch \"$0.done\"\n");
        site.configure(&format!(
            "\
targets:
  app: {{ mode: armed, plans: [back], cooldown: 1h }}
sources:
  app: {{ scrape: '{}', every: 200ms, timeout: 200ms, silent_after: 1s }}
rollbacks:
  back:
    steps: [{{ name: back, exec: [{}], timeout: 20s }}]
    verify: {{ warm_up: 300ms, within: 20s, conditions: ['error_rate < 1%'] }}
",
            app.url(),
            back.display()
        ));
        Self { site, app, setups: Setups::new() }
    }

    /// Puts rules in place, where a running daemon will find them.
    fn rules(&mut self, slow: &str) {
        self.site.write("rules/app.yaml", &rules(slow));
        let loaded = config::load(&self.site.config());
        let setup = loaded.unwrap_or_else(|refused| panic!("{}", refused.render(config::Style::Plain))).setup;
        self.setups.insert(setup.fingerprint.clone(), Arc::new(setup));
    }

    fn events(&self) -> Vec<Event> {
        let Ok(reader) = Reader::open(&self.site.path("state")) else { return Vec::new() };
        let records = reader.events(0, usize::MAX).expect("the journal can be read");
        records.into_iter().map(|record| record.event).collect()
    }

    /// Waits until something has happened that had not when `since` events had.
    fn happens(&self, what: &str, since: usize, is_it: impl Fn(&Happening) -> bool) {
        eventually(what, || self.events().iter().skip(since).any(|event| is_it(&event.what)).then_some(()));
    }

    /// Waits until every incident of this journal is over; returns how many events there are.
    fn is_at_peace(&self) -> usize {
        eventually("every incident is over", || {
            let events = self.events();
            let count =
                |is_it: fn(&Happening) -> bool| events.iter().filter(|event| is_it(&event.what)).count();
            let opened = count(|what| matches!(what, Happening::IncidentOpened { .. }));
            let over = count(|what| matches!(what, Happening::IncidentResolved { .. }));
            (opened == over).then_some(events.len())
        })
    }

    /// Waits until more has been recorded than what the last event rests on.
    fn is_recorded(&self) {
        eventually("samples are saved", || {
            let last = self.events().last()?.at;
            let file = self.site.path("state/samples.sqlite");
            let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
            let newest =
                file.query_row("SELECT max(turn_ms) FROM turns", [], |row| row.get::<_, i64>(0)).ok()?;
            (Timestamp::from_millis(newest) > last).then_some(())
        });
    }

    fn kill(&self, mut daemon: Daemon) {
        self.is_recorded();
        daemon.signal(Signal::KILL);
        eventually("it is dead", || daemon.ended());
    }
}

fn opens(trigger: &'static str) -> impl Fn(&Happening) -> bool {
    move |what| matches!(what, Happening::IncidentOpened { cause: Cause::Trigger(key), .. } if key.trigger.as_str() == trigger)
}

fn is_refused(what: &Happening) -> bool {
    matches!(what, Happening::RollbackNotBegun { refusal: Refusal::Cooldown { .. }, .. })
}

/// Lives through everything that a daemon's life has to offer.
fn live(stage: &mut Stage) {
    stage.rules("400ms");
    let daemon = stage.site.start();
    eventually("it is well", || (stage.app.scrapes() > 4).then_some(()));

    // A bad release, rolled back and proven; then another, too soon.
    stage.app.expose(FAILING);
    eventually("it is rolled back", || stage.site.path("back.done").exists().then_some(()));
    stage.app.expose(WELL);
    let then = stage.is_at_peace();
    stage.app.expose(FAILING);
    stage.happens("a second rollback is refused", then, is_refused);

    // Nothing to be seen, while something is wrong.
    stage.app.answer(answer("503 Service Unavailable", "text/plain", "away"));
    let silent = |what: &Happening| matches!(what, Happening::IncidentOpened { cause: Cause::Silent(_), .. });
    let blind = |what: &Happening| matches!(what, Happening::IncidentOpened { cause: Cause::Blind(_), .. });
    stage.happens("the silence is told", then, silent);
    stage.app.expose("app_latency_seconds 0.05\n");
    stage.happens("the blindness is told", then, blind);
    stage.app.expose(WELL);
    let then = stage.is_at_peace();

    // Stopped while two windows fill.
    stage.app.expose(SLOW);
    let pending = |what: &Happening| matches!(what, Happening::TriggerPending { .. });
    stage.happens("a window fills", then, pending);
    assert!(daemon.stop().success());
    let daemon = stage.site.start();
    stage.happens("it fires after the restart", then, opens("Slow"));
    stage.happens("the other fires after the restart", then, opens("Sluggish"));

    // Other rules, and the same again.
    let then = stage.events().len();
    stage.rules("700ms");
    stage.happens("the rules are in force", then, |what| matches!(what, Happening::SetupLoaded { .. }));
    let then = stage.is_at_peace();
    stage.rules("300ms");
    stage.happens("the stricter rule fires", then, opens("Slow"));
    stage.happens("the other fires, too", then, opens("Sluggish"));

    // Killed while that is so; what was done is not forgotten.
    stage.kill(daemon);
    let daemon = stage.site.start();
    stage.app.expose(WELL);
    let then = stage.is_at_peace();
    stage.app.expose(FAILING);
    stage.happens("the cooldown has outlived the crash", then, is_refused);
    assert!(daemon.stop().success());
}

/// Makes sure that the life was eventful: a comparison of nothing proves nothing.
fn was_eventful(events: &[Event]) {
    let count = |is_it: fn(&Happening) -> bool| events.iter().filter(|event| is_it(&event.what)).count();
    assert!(count(|what| matches!(what, Happening::TriggerFiring { .. })) >= 7);
    assert_eq!(count(|what| matches!(what, Happening::RollbackDecided { .. })), 1);
    let succeeded =
        |what: &Happening| matches!(what, Happening::RollbackEnded { outcome: Outcome::Succeeded, .. });
    assert_eq!(count(succeeded), 1);
    assert_eq!(count(is_refused), 2);
    assert_eq!(count(|what| matches!(what, Happening::Restarted(_))), 3);
    assert_eq!(count(|what| matches!(what, Happening::SetupLoaded { .. })), 5);
    assert_eq!(count(|what| matches!(what, Happening::Stopping)), 2);
}

#[test]
fn e1_a_daemons_life_through_the_rule_tests_driver_is_the_same_event_for_event() {
    let mut stage = Stage::new();
    live(&mut stage);
    let record = Record::read(&stage.site.path("state"));
    was_eventful(&record.events);
    let again = record.lived_again(&stage.setups);
    let difference = timeline_difference(&record.events, &again, record.events[0].at);
    assert_eq!(
        difference,
        None,
        "- in real time, + in virtual time:\n{}",
        difference.as_deref().unwrap_or_default()
    );
}
