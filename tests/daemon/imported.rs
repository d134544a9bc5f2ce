//! Prometheus rule files under a real daemon: an alert that rolls back, a kill, an end.

use rearguard::engine::evaluation::AlertState;
use rustix::process::Signal;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

const RULES: &str = "\
groups:
  - name: app
    interval: 1s
    rules:
      - { record: 'app:load', expr: max without (instance) (app_load) }
      - alert: LoadHigh
        expr: app:load > 5
        for: 2s
        labels: { severity: critical }
        annotations: { summary: the load is too high, runbook_url: 'https://wiki.example/load' }
      - { alert: Broken, expr: 'app_load + on () {__name__=~\"app_load|up\"}' }
";

#[test]
fn an_alert_of_an_imported_group_rolls_back_once_and_outlives_a_kill() {
    let site = Site::new();
    let app = Application::start("app_load 7\n");
    let switch =
        site.program("switch", &format!("#!/bin/sh\necho done >> {}\n", site.path("done").display()));
    site.configure(&format!(
        "\
targets:
  app: {{ mode: armed, plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back: {{ steps: [{{ name: back, exec: ['{}'], timeout: 20s }}] }}
routes:
  - {{ match: {{ severity: critical }}, target: app, then: {{ rollback: back, page: on-call }} }}
",
        app.url(),
        switch.display()
    ));
    site.write("rules/prometheus.yaml", RULES);
    let daemon = site.start();
    eventually("the rollback is done", || (site.read("done") == "done\n").then_some(()));
    let page = eventually("it is paged", || site.pager.events().first().cloned());
    assert_says(&page.summary, &["the load is too high"]);
    let status = site.told(&["status"]);
    assert_says(
        &status,
        &["ALERTS OF IMPORTED RULES", "LoadHigh", "FIRING", "IMPORTED RULES THAT FAIL", "Broken"],
    );

    // What fires is saved; a kill loses nothing of it.
    eventually("the alert is saved", || {
        let store = rusqlite::Connection::open(site.path("state/samples.sqlite")).ok()?;
        let saved: String = store.query_row("SELECT body FROM windows", [], |row| row.get(0)).ok()?;
        saved.contains(r#""state":"firing""#).then_some(())
    });
    daemon.signal(Signal::KILL);
    drop(daemon);
    let _daemon = site.start();
    let alerts = site.status().engine.alerts;
    let firing: Vec<_> = alerts.iter().filter(|alert| alert.state == AlertState::Firing).collect();
    assert_eq!(firing.len(), 1, "{alerts:?}");
    assert!(firing[0].fired_at.is_some());

    app.expose("app_load 1\n");
    eventually("the alert is over", || site.status().engine.alerts.is_empty().then_some(()));
    eventually("the all-clear is given", || {
        site.pager.events().into_iter().find(|event| event.resolves("-I1"))
    });
    assert_eq!(site.read("done"), "done\n", "rolled back once");
    let told = site.pager.events().into_iter().filter(|event| event.summary.contains("the load is too high"));
    assert_eq!(told.count(), 1, "paged once");
}
