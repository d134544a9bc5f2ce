//! Shadow: decides and pages, and touches nothing.

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

#[test]
fn a_target_in_shadow_pages_what_would_have_been_done_and_nothing_is_done() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    let step = site.program("step", &format!("#!/bin/sh\necho ran >> {}\n", site.path("steps").display()));
    // Nothing is said of a mode: shadow is the default.
    site.configure(&format!(
        "\
targets:
  app: {{ plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back: {{ steps: [{{ name: back, exec: [{}], timeout: 20s }}] }}
",
        app.url(),
        step.display()
    ));
    site.write(
        "rules/app.yaml",
        "\
target: app
sources: [app]
indicators:
  broken: { unit: count, expr: app_broken }
triggers:
  - { name: Broken, when: broken > 0, for: 1s, severity: high, then: { rollback: back, page: on-call } }
",
    );
    let _daemon = site.start();
    let page = eventually("it is paged", || site.pager.events().first().cloned());
    assert!(page.triggers("-I1"), "{page:?}");
    let would =
        "No rollback by plan `back`: the target is in shadow mode; it would have been rolled back now";
    assert!(page.says(would), "{page:?}");
    eventually("it is mailed", || (site.mail.subjects().len() == 1).then_some(()));
    let scrapes = app.scrapes();
    eventually("the condition stays met", || (app.scrapes() > scrapes + 4).then_some(()));
    assert_eq!(site.read("steps"), "", "nothing is done");
    assert_eq!(site.pager.events().len(), 1, "and nothing more is said");
    assert_says(
        &site.told(&["status"]),
        &[
            "shadow: decides and pages, never acts",
            "0 rollbacks so far",
            "no rollback: the target is in shadow mode",
        ],
    );
}
