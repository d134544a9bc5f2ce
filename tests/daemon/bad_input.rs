//! Sources that stop making sense: nothing is taken for healthy, nothing is rolled back, and people hear of it.

use std::collections::BTreeMap;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::endpoint::answer;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// What is exposed at first: one condition is met and would be met no longer if absence were zero, another is not met
/// and would be met then.
const ILL: &str = "app_broken 1\napp_orders 50\n";

/// What is exposed at last: neither is met.
const WELL: &str = "app_broken 0\napp_orders 50\n";

/// Bad answers, each with what `status` says of it.
fn bad_answers() -> BTreeMap<&'static str, (Vec<u8>, &'static str)> {
    let whole = String::from_utf8(crate::daemon_fixture::endpoint::metrics(ILL)).expect("text");
    BTreeMap::from([
        // An answer without a single byte is what a dying process gives.
        ("dying", (Vec::new(), "broken or cut off")),
        ("html", (answer("200 OK", "text/html", "<html>log in</html>"), "got HTML, not metrics")),
        ("cut", (whole.as_bytes()[..whole.len() - 5].to_vec(), "broken or cut off")),
        ("line", (crate::daemon_fixture::endpoint::metrics("app_broken 0\napp_orders fifty\n"), "line 2")),
        ("empty", (crate::daemon_fixture::endpoint::metrics(""), "the page is empty")),
        ("busy", (answer("503 Service Unavailable", "text/plain", "later"), "answered 503")),
    ])
}

/// The source whose process goes away altogether.
const DOWN: &str = "down";

#[test]
fn bad_answers_are_never_healthy_never_act_and_are_paged() {
    let site = Site::new();
    let bad = bad_answers();
    let names: Vec<&str> = bad.keys().copied().chain([DOWN]).collect();
    let mut apps: BTreeMap<&str, Application> =
        names.iter().map(|name| (*name, Application::start(ILL))).collect();
    configure(&site, &apps);
    let _daemon = site.start();
    let incidents = |what: &str| {
        let events = site.pager.events();
        let told = |name: &&&str| {
            events
                .iter()
                .any(|event| event.action == "trigger" && event.summary.contains(&format!("{name}{what}")))
        };
        names.iter().filter(told).count()
    };
    eventually("every application is reported", || (incidents("-app: Broken") == names.len()).then_some(()));

    for (name, (bytes, _)) in &bad {
        apps[name].answer(bytes.clone());
    }
    apps.remove(DOWN);
    eventually("every silence is paged", || {
        (incidents(" has been silent for ") == names.len()).then_some(())
    });
    let status = site.told(&["status"]);
    for (name, reason) in bad.iter().map(|(name, (_, reason))| (*name, *reason)).chain([(DOWN, "refused")]) {
        let row = |title: &str| {
            status.lines().find(|line| line.trim_start().starts_with(title)).unwrap_or_default()
        };
        assert_says(row(&format!("{name} ")), &["FAILS: ", reason, "last good answer"]);
        assert_says(row(&format!("{name}-app/Broken")), &["FIRING", "cannot be judged: source ", reason]);
        assert_says(row(&format!("{name}-app/Starved")), &["quiet", "cannot be judged: source ", reason]);
    }
    let events = site.pager.events();
    assert!(
        events.iter().all(|event| event.action == "trigger"),
        "nothing was taken for healthy: {events:?}"
    );
    assert!(events.iter().all(|event| !event.summary.contains("Starved")), "nothing was made up: {events:?}");

    let down = apps.is_empty();
    assert!(!down);
    for app in apps.values() {
        app.expose(WELL);
    }
    let resolved = |reason: &str| {
        let list = site.told(&["incident", "list", "--limit", "100"]);
        list.lines().filter(|line| line.contains(reason) && line.contains("resolved after")).count()
    };
    eventually("whatever answers again is heard", || (resolved("silent for") == apps.len()).then_some(()));
    eventually("and is found well", || (resolved("app_broken > 0") == apps.len()).then_some(()));
    assert_eq!(site.read("steps"), "", "no rollback was made");
    assert_says(&site.told(&["status"]), &["FAILS: ", "0 rollbacks so far"]);
}

fn configure(site: &Site, apps: &BTreeMap<&str, Application>) {
    let step = site.program("step", &format!("#!/bin/sh\necho ran >> {}\n", site.path("steps").display()));
    let targets: String =
        apps.keys().map(|name| format!("  {name}-app: {{ mode: armed, plans: [back] }}\n")).collect();
    let source = |(name, app): (&&str, &Application)| {
        format!("  {name}: {{ scrape: '{}', every: 250ms, timeout: 250ms, silent_after: 2s }}\n", app.url())
    };
    let sources: String = apps.iter().map(source).collect();
    site.configure(&format!(
        "\
targets:
{targets}sources:
{sources}rollbacks:
  back: {{ steps: [{{ name: back, exec: [{}], timeout: 20s }}] }}
",
        step.display()
    ));
    for name in apps.keys() {
        site.write(
            &format!("rules/{name}.yaml"),
            &format!(
                "\
target: {name}-app
sources: [{name}]
indicators:
  app_broken: {{ unit: count, expr: app_broken }}
  app_orders: {{ unit: count, expr: app_orders }}
triggers:
  - {{ name: Broken, when: app_broken > 0, for: 500ms, severity: high, then: {{ page: on-call }} }}
  - {{ name: Starved, when: app_orders < 10, for: 500ms, severity: high, then: {{ rollback: back, page: on-call }} }}
"
            ),
        );
    }
}
