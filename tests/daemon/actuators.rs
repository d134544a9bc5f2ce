//! Actuators that do not do what they should: recorded, paged under a key of their own, and the target is free again.

use std::path::Path;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// How an actuator is bad, and what the page says of it.
struct Case {
    name: &'static str,
    /// The program; `None` where there is none.
    program: Option<&'static str>,
    executable: bool,
    says: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case { name: "missing", program: None, executable: false, says: &["FAILED", "not found"] },
    Case {
        name: "plain",
        program: Some("#!/bin/sh\n"),
        executable: false,
        says: &["FAILED", "not executable"],
    },
    Case {
        name: "hanging",
        program: Some("#!/bin/sh\necho $$ > \"$0.pid\"\necho begun\nsleep 600\n"),
        executable: true,
        says: &["was ended at its limit", "hanging printed: begun"],
    },
    Case {
        name: "flooding",
        program: Some("#!/bin/sh\necho $$ > \"$0.pid\"\nexec yes flood\n"),
        executable: true,
        says: &["was ended at its limit", "flooding printed: flood"],
    },
    Case {
        name: "failing",
        program: Some("#!/bin/sh\necho the load balancer says no\nexit 3\n"),
        executable: true,
        says: &["FAILED", "exit code 3", "failing printed: the load balancer says no"],
    },
];

#[test]
fn bad_actuators_are_recorded_and_paged_and_the_target_is_free_again() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    configure(&site, &app);
    let _daemon = site.start();
    for case in &CASES {
        let page = eventually(&format!("the {} actuator is paged", case.name), || {
            let events = site.pager.events();
            let own = format!("{}-app: rollback ", case.name);
            events.into_iter().find(|event| event.triggers("-rollback") && event.summary.starts_with(&own))
        });
        for phrase in case.says {
            assert!(page.says(phrase), "{phrase}: {page:?}");
        }
        let hands_off =
            format!("Rearguard will not try again for this incident: look at {}-app now.", case.name);
        assert!(page.says(&hands_off), "{page:?}");
        let pid = site.read(&format!("{}.pid", case.name));
        if !pid.is_empty() {
            let process = Path::new("/proc").join(pid.trim());
            eventually("the process at its limit is gone", || (!process.exists()).then_some(()));
        }
    }
    let rows = |title: &str| {
        let status = site.told(&["status"]);
        status.lines().filter(|line| line.contains(title)).count()
    };
    assert_eq!(rows("1 rollback so far"), CASES.len(), "{}", site.told(&["status"]));
    let list = || site.told(&["incident", "list"]);
    app.expose("app_broken 0\n");
    eventually("every incident ends", || {
        (list().matches("resolved after").count() == CASES.len()).then_some(())
    });
    app.expose("app_broken 1\n");
    eventually("no target is still held by its failed rollback", || {
        (rows("2 rollbacks so far") == CASES.len()).then_some(())
    });
    let failing = list().lines().rfind(|line| line.contains("failing-app")).unwrap_or_default().to_owned();
    let id = failing.split_whitespace().next().expect("the list begins with ids").to_owned();
    let told = site.told(&["incident", "show", &id]);
    assert_says(
        &told,
        &["FAILED (exit code 3)", "| the load balancer says no", "step `failing` failed: exit code 3"],
    );
}

fn configure(site: &Site, app: &Application) {
    let (mut targets, mut rollbacks) = (String::new(), String::new());
    for Case { name, program, executable, .. } in &CASES {
        match program {
            Some(text) if *executable => drop(site.program(name, text)),
            Some(text) => site.write(name, text),
            None => {}
        }
        let path = site.path(name);
        targets.push_str(&format!("  {name}-app: {{ mode: armed, plans: [{name}], cooldown: 0s }}\n"));
        rollbacks.push_str(&format!(
            "  {name}: {{ steps: [{{ name: {name}, exec: [{}], timeout: 1s }}] }}\n",
            path.display()
        ));
        site.write(
            &format!("rules/{name}.yaml"),
            &format!(
                "\
target: {name}-app
sources: [app]
indicators:
  broken: {{ unit: count, expr: app_broken }}
triggers:
  - {{ name: Broken, when: broken > 0, for: 500ms, severity: high, then: {{ rollback: {name}, page: on-call }} }}
"
            ),
        );
    }
    let url = app.url();
    site.configure(&format!(
        "targets:\n{targets}sources:\n  app: {{ scrape: '{url}', every: 250ms, timeout: 250ms }}\nrollbacks:\n{rollbacks}"
    ));
}
