//! Receivers that are down or say no: another one is told at once, and what was decided arrives in the end.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::endpoint::{Endpoint, answer};
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// PagerDuty as it is on a bad day: its answer is set, and only what it says yes to is kept.
struct Moody {
    endpoint: Endpoint,
    reply: Arc<Mutex<(&'static str, &'static str)>>,
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

const YES: (&str, &str) = ("202 Accepted", r#"{"status":"success","message":"Event processed"}"#);

impl Moody {
    fn start(status: &'static str, body: &'static str) -> Self {
        let (reply, taken) = (Arc::new(Mutex::new((status, body))), Arc::new(Mutex::new(Vec::new())));
        let (current, log) = (Arc::clone(&reply), Arc::clone(&taken));
        let endpoint = Endpoint::start(move |body| {
            let reply = *current.lock().expect("nobody panics here");
            if reply == YES {
                let event: Value = serde_json::from_str(body).unwrap_or_default();
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                log.lock().expect("nobody panics here").push((text("event_action"), text("dedup_key")));
            }
            answer(reply.0, "application/json", reply.1)
        });
        Self { endpoint, reply, taken }
    }

    fn recovers(&self) {
        *self.reply.lock().expect("nobody panics here") = YES;
    }

    fn taken(&self) -> Vec<(String, String)> {
        self.taken.lock().expect("nobody panics here").clone()
    }
}

/// A daemon's files with `moody` in PagerDuty's place, and mail only where PagerDuty fails.
fn configure(site: &Site, app: &Application, moody: &Moody) {
    site.configure(&format!(
        "\
targets:
  app: {{}}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
",
        app.url()
    ));
    let common = site.read("rearguard.yaml");
    let moody = common.replace(&site.pager.url(), &moody.endpoint.url(""));
    site.write("rearguard.yaml", &moody.replace("notify: [pager, mail]", "notify: [pager]"));
    site.write(
        "rules/app.yaml",
        "\
target: app
sources: [app]
indicators:
  broken: { unit: count, expr: app_broken }
triggers:
  - { name: Broken, when: broken > 0, for: 500ms, severity: high, then: { page: on-call } }
",
    );
}

#[test]
fn what_a_receiver_in_trouble_does_not_take_goes_elsewhere_at_once_and_to_it_later() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    let moody = Moody::start("503 Service Unavailable", "later");
    configure(&site, &app, &moody);
    let daemon = site.start();
    let subject = eventually("mail is used instead", || site.mail.subjects().first().cloned());
    assert_says(&subject, &["[Rearguard] HIGH app: ", "broken > 0"]);
    assert_says(&site.told(&["status"]), &["RECEIVER pager FAILS: ", "503"]);
    app.expose("app_broken 0\n");
    eventually("the incident ends meanwhile", || {
        site.told(&["incident", "list"]).contains("resolved after").then_some(())
    });
    // What waits for a receiver outlives the daemon.
    assert!(daemon.stop().success());
    let _daemon = site.start();
    moody.recovers();
    let taken = eventually("everything arrives", || Some(moody.taken()).filter(|taken| taken.len() >= 2));
    let actions: Vec<&str> = taken.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["trigger", "resolve"], "in the order of their decisions, each once");
    assert_eq!(taken[0].1, taken[1].1, "under one key");
    eventually("the receiver is no longer in trouble", || {
        (!site.told(&["status"]).contains("FAILS")).then_some(())
    });
}

#[test]
fn a_receiver_that_says_no_for_good_is_an_incident_that_others_are_told_of() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    let moody = Moody::start("400 Bad Request", r#"{"status":"invalid event","errors":["no such key"]}"#);
    configure(&site, &app, &moody);
    let _daemon = site.start();
    let subjects =
        eventually("both are mailed", || Some(site.mail.subjects()).filter(|mails| mails.len() >= 2));
    let all = subjects.join("\n");
    assert_says(
        &all,
        &["HIGH app: ", "HIGH rearguard: ", "receiver pager refuses messages for good: ", "400"],
    );
    let story = site.told(&["incident", "show", "I1"]);
    assert_says(&story, &["pager REFUSES a message for good: PagerDuty answered", "no such key"]);
    assert!(!story.contains("0123456789abcdef"), "the routing key is told to nobody:\n{story}");
}
