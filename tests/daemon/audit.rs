//! What auditors get: every event with what it rests on, and the proof that nobody has changed it.

use serde_json::Value;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// An application that the plan's only step heals.
fn configure(site: &Site, app: &Application) {
    let step = site.program("step", "#!/bin/sh\necho '=cmd: 3 of 3 backends'\n");
    site.configure(&format!(
        "\
targets:
  app: {{ mode: armed, plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back:
    deadline: 1m
    steps: [{{ name: switch, exec: [{}], timeout: 20s }}]
    verify: {{ warm_up: 300ms, within: 40s, conditions: ['errors < 5%'] }}
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
  errors: { unit: ratio, expr: app_errors }
triggers:
  - { name: Errors, when: errors > 5%, for: 500ms, severity: high, then: { rollback: back, page: on-call } }
",
    );
}

/// Returns the rows of an export.
fn rows(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let text = site.told(&[&["audit", "export"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object")).collect()
}

fn kinds(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["kind"].as_str()).collect()
}

#[test]
fn an_incident_can_be_audited_beside_the_daemon_without_it_and_after_it_was_tampered_with() {
    let site = Site::new();
    let app = Application::start("app_errors 0.123\n");
    configure(&site, &app);
    let daemon = site.start();
    eventually("the step has run", || {
        site.run(&["incident", "show", "I1"])
            .status
            .success()
            .then(|| site.told(&["incident", "show", "I1"]))
            .filter(|story| story.contains("verification begins"))
    });
    assert_says(
        &site.told(&["incident", "list", "--open", "--target", "app", "--since", "1h"]),
        &["I1", "OPEN"],
    );
    assert_eq!(site.told(&["incident", "list", "--target", "other"]), "no incidents\n");
    app.expose("app_errors 0.004\n");
    eventually("it is over", || site.told(&["incident", "list"]).contains("resolved after").then_some(()));
    assert_eq!(site.told(&["incident", "list", "--open"]), "no incidents\n");

    // Beside the daemon; the head of every page is in the chain.
    assert_says(&site.told(&["audit", "verify"]), &["the chain is whole", "events  1 ("]);
    let pages = site.pager.events();
    let head = pages[0].body.pointer("/payload/custom_details/journal_head").and_then(Value::as_str);
    let head = head.expect("a page names the head").to_owned();
    let proven = site.told(&["audit", "verify", "--anchor", &head]);
    assert_says(&proven, &[&format!("anchor  {head} is in it: event ")]);
    assert!(daemon.stop().success());

    // Without it.
    audited(&site);
    exported(&site);
    let foreign = site.run(&["audit", "verify", "--anchor", &"0".repeat(64)]);
    assert_eq!(foreign.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&foreign.stdout), &["IS NOT IN IT"]);
    let json: Value =
        serde_json::from_str(&site.told(&["audit", "verify", "--output", "json"])).expect("JSON");
    assert_eq!(json["sound"], true);

    tampered(&site);
}

/// Checks the rows of the export.
fn audited(site: &Site) {
    let all = rows(site, &[]);
    let kinds = kinds(&all);
    for kind in
        ["journal_created", "setup_loaded", "restarted", "trigger_firing", "incident_opened", "step_ended"]
    {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    let of = |kind: &str| all.iter().find(|row| row["kind"] == kind).expect("it is there");
    let fired = of("trigger_firing");
    assert_eq!((&fired["target"], &fired["subject"]), (&"app".into(), &"Errors".into()));
    assert_eq!(fired["evidence"][0]["value"], 0.123);
    assert_eq!(fired["program"], env!("CARGO_PKG_VERSION"));
    let loaded = of("setup_loaded");
    assert_eq!(fired["files"], loaded["event"]["setup_loaded"]["fingerprint"]);
    let ended = of("step_ended");
    assert_eq!((&ended["incident"], &ended["target"]), (&"I1".into(), &"app".into()));
    assert_says(ended["subject"].as_str().expect("a text"), &["R1", "switch"]);
    assert_says(ended["event"]["step_ended"]["ending"]["output"].as_str().expect("a text"), &["=cmd"]);
    assert_eq!(of("delivery_reported")["incident"], "I1");
    assert!(all.windows(2).all(|two| two[0]["seq"].as_u64() < two[1]["seq"].as_u64()));

    assert!(
        rows(site, &["--kind", "step"])
            .iter()
            .all(|row| row["kind"].as_str().expect("a text").starts_with("step_"))
    );
    assert_eq!(
        rows(site, &["--kind", "rollback_ended"])[0]["reason"],
        "every step was done and the verification passed"
    );
    assert!(rows(site, &["--target", "app"]).len() < all.len());
    assert_eq!(rows(site, &["--since", "1h"]).len(), all.len());
    assert!(rows(site, &["--until", "1h"]).is_empty());
    let none = site.run(&["audit", "export", "--kind", "nonsense"]);
    assert_says(&String::from_utf8_lossy(&none.stderr), &["no event is like that", "rollback_decided"]);
    let csv = site.told(&["audit", "export", "--output", "csv"]);
    assert!(csv.starts_with("seq,at_ms,wall,kind,target,"), "{csv}");
    assert_eq!(csv.lines().count(), all.len() + 1);
    for arguments in [["--since", "yesterday"], ["--output", "xml"]] {
        assert_eq!(site.run(&["audit", "export", arguments[0], arguments[1]]).status.code(), Some(2));
    }
}

/// Checks the documents of the incident.
fn exported(site: &Site) {
    let story = site.told(&["incident", "show", "I1"]);
    assert_says(
        &story,
        &[
            "incident I1, high, app: resolved after ",
            "before: 12.3%",
            "after: 0.4%",
            "R1's verification",
            "FOR THE RECORD",
        ],
    );
    let markdown = site.told(&["incident", "export", "I1", "--output", "md"]);
    assert_says(&markdown, &["# incident I1, high, app: resolved", "## ROLLBACK R1 by \\`back\\`", "    "]);
    let json: Value =
        serde_json::from_str(&site.told(&["incident", "export", "I1", "--output", "json"])).expect("JSON");
    assert!(json["events"].as_array().is_some_and(|events| events.len() > 10), "{json}");
    assert_eq!(json["sections"][0]["title"], "WHAT");
    let run = &json["rollbacks"][0];
    assert_eq!(
        (&run["rollback"], &run["plan"], &run["status"]),
        (&"R1".into(), &"back".into(), &"succeeded".into())
    );
    assert!(run["duration_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{run}");
    assert_eq!(run["verification"][0]["evidence"]["shown"], "0.4%");
    assert_eq!(run["steps"][0]["output"][0], "=cmd: 3 of 3 backends");
}

/// Checks what is said once somebody has changed the past.
fn tampered(site: &Site) {
    let file = rusqlite::Connection::open(site.path("state/journal.sqlite")).expect("it opens");
    let seq: i64 = file
        .query_row("SELECT seq FROM events WHERE body LIKE '%trigger_firing%'", [], |row| row.get(0))
        .expect("it is there");
    file.execute("UPDATE events SET body = replace(body, '12.3%', '0.1%') WHERE seq = ?1", [seq])
        .expect("it is ours");
    drop(file);
    let verify = site.run(&["audit", "verify"]);
    assert_eq!(verify.status.code(), Some(1));
    assert_says(
        &String::from_utf8_lossy(&verify.stdout),
        &[
            &format!("THE CHAIN IS BROKEN at event {seq}: its hash does not follow"),
            "expected  ",
            "found     ",
        ],
    );
    let export = site.run(&["audit", "export"]);
    assert_eq!(export.status.code(), Some(1));
    assert_says(
        &String::from_utf8_lossy(&export.stderr),
        &[&format!("broken at event {seq}"), "audit verify"],
    );
    assert!(
        String::from_utf8_lossy(&export.stdout).contains("\"broken\":\"its hash"),
        "it prints them all the same"
    );
    // A copy on a medium that cannot be written, or none at all.
    let missing = site.run(&["audit", "verify", "--state", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&missing.stderr), &["/nonexistent/journal.sqlite"]);
}
