//! Files that change, break and are mended under a running daemon, and daemons that start on broken ones.

use std::process::Command;
use std::time::{Duration, Instant};

use rearguard::daemon::core::DaemonStatus;
use rearguard::engine::evaluation::TriggerLook;
use rustix::process::Signal;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::{REARGUARD, Site};

/// A rule file whose first trigger is always the same; it is pending for ever.
fn rules(second_threshold: &str) -> String {
    format!(
        "\
target: app
sources: [app]
indicators:
  load: {{ unit: count, expr: app_load }}
triggers:
  - {{ name: Slow, when: load > 5, for: 1h, severity: low, then: {{ page: on-call }} }}
  - {{ name: Other, when: load > {second_threshold}, for: 1h, severity: low, then: {{ page: on-call }} }}
"
    )
}

/// Three mistakes in one file.
const BROKEN: &str = "\
target: app
sources: [nowhere]
indicators:
  load: { unit: count, expr: 'sum(app_load' }
triggers:
  - { name: Slow, when: load > 5, for: soon, severity: low, then: { page: on-call } }
";

fn configure(site: &Site, app: &Application, mode: &str) {
    site.configure(&format!(
        "\
targets:
  app: {{ mode: {mode}, plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back: {{ steps: [{{ name: back, exec: [/bin/true], timeout: 20s }}] }}
",
        app.url()
    ));
}

fn look<'a>(status: &'a DaemonStatus, trigger: &str) -> &'a TriggerLook {
    let found = status.engine.triggers.iter().find(|look| look.key.trigger.as_str() == trigger);
    found.unwrap_or_else(|| panic!("trigger {trigger} is there: {:?}", status.engine.triggers))
}

#[test]
fn rules_reload_when_they_change_and_bad_ones_never_replace_good_ones() {
    let site = Site::new();
    let app = Application::start("app_load 7\n");
    configure(&site, &app, "armed");
    site.write("rules/app.yaml", &rules("100"));
    let _daemon = site.start();
    let filled = eventually("a window fills", || {
        let window = look(&site.status(), "Slow").window;
        (window.breached.as_millis() > 500).then_some(window.breached)
    });

    site.write("rules/app.yaml", &rules("200"));
    let replaced = Instant::now();
    eventually("the new rule is in force", || {
        let status = site.status();
        let evidence = look(&status, "Other").evidence.clone()?;
        (evidence.threshold == Some(200.0)).then_some(())
    });
    // 300 ms of quiet and the next scrape; the rest is for a busy machine.
    assert!(replaced.elapsed() < Duration::from_secs(5), "{:?}", replaced.elapsed());
    let kept = look(&site.status(), "Slow").window.breached;
    assert!(kept > filled, "the unchanged rule keeps its window: {kept} after {filled}");

    site.write("rules/app.yaml", BROKEN);
    let page = eventually("bad files are paged", || site.pager.events().first().cloned());
    assert_says(
        &page.summary,
        &["rearguard: the files on disk are refused: ", "rules/app.yaml:2:", "(and 2 more)"],
    );
    let status = site.told(&["status"]);
    assert_says(
        &status,
        &["DEGRADED: the files on disk are refused: ", "rules/app.yaml:2:", "app/Slow", "app/Other"],
    );
    assert_eq!(look(&site.status(), "Other").evidence.as_ref().map(|seen| seen.threshold), Some(Some(200.0)));

    site.write("rules/app.yaml", &rules("300"));
    eventually("mended files are in force", || {
        (look(&site.status(), "Other").evidence.as_ref()?.threshold == Some(300.0)).then_some(())
    });
    eventually("the all-clear is given", || {
        site.pager.events().into_iter().find(|event| event.resolves("-I1"))
    });
    assert!(!site.told(&["status"]).contains("DEGRADED"));
    assert!(look(&site.status(), "Slow").window.breached > kept, "the window has lost nothing by all that");
}

#[test]
fn what_may_be_executed_changes_on_sighup_alone() {
    let site = Site::new();
    let app = Application::start("app_load 7\n");
    configure(&site, &app, "armed");
    site.write("rules/app.yaml", &rules("100"));
    let daemon = site.start();
    site.status();
    assert_says(&site.told(&["status"]), &["armed"]);

    configure(&site, &app, "shadow");
    site.write("rules/app.yaml", &rules("200"));
    eventually("the rules are in force", || {
        (look(&site.status(), "Other").evidence.as_ref()?.threshold == Some(200.0)).then_some(())
    });
    assert!(!site.told(&["status"]).contains("shadow"), "rearguard.yaml is not read again with the rules");

    daemon.signal(Signal::HUP);
    eventually("rearguard.yaml is in force", || {
        site.told(&["status"]).contains("shadow: decides").then_some(())
    });

    site.write("rearguard.yaml", "targets: {");
    daemon.signal(Signal::HUP);
    let page = eventually("a bad rearguard.yaml is paged", || site.pager.events().first().cloned());
    assert_says(&page.summary, &["the files on disk are refused: ", "rearguard.yaml:"]);
    assert!(daemon.stop().success());
}

#[test]
fn a_start_on_broken_files_runs_the_last_good_ones_degraded_and_paged() {
    let site = Site::new();
    let app = Application::start("app_load 7\n");
    configure(&site, &app, "armed");
    site.write("rules/app.yaml", &rules("100"));
    let daemon = site.start();
    site.status();
    assert!(daemon.stop().success());

    site.write("rules/app.yaml", BROKEN);
    let daemon = site.start();
    let page = eventually("the degraded start is paged", || site.pager.events().first().cloned());
    assert_says(&page.summary, &["the files on disk are refused: ", "rules/app.yaml:2:"]);
    assert!(
        page.says("The last good set stays in force. `rearguard check` lists every problem."),
        "{page:?}"
    );
    eventually("the last good rules are judged", || {
        (look(&site.status(), "Other").evidence.as_ref()?.threshold == Some(100.0)).then_some(())
    });
    assert_says(&site.told(&["status"]), &["DEGRADED"]);
    assert!(daemon.stop().success());

    for (how, arguments) in [("--strict", &["--strict"][..]), ("without a last good set", &[])] {
        if arguments.is_empty() {
            std::fs::remove_dir_all(site.path("state")).expect("the state can be removed");
            std::fs::create_dir(site.path("state")).expect("a directory");
        }
        let mut command = Command::new(REARGUARD);
        let refused = command.args(["run", "--config"]).arg(site.config()).args(arguments).output();
        let refused = refused.expect("it starts and ends");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{how}: {said}");
        assert_says(
            &said,
            &["rules/app.yaml:2:", "`nowhere`", "rules/app.yaml:4:", "rules/app.yaml:6:", "`soon`"],
        );
        assert_says(&said, &["`rearguard check` shows the same without starting"]);
    }
}
