//! Deployments told to a running daemon: over the control socket, and over HTTP with a token.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rearguard::daemon::listener::Listening;
use serde_json::{Value, json};

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::process::Daemon;
use crate::daemon_fixture::site::Site;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A daemon with one target and, where it is asked for, a listener for what comes in.
fn start(ingest: &str) -> (Site, Daemon, Application) {
    let (site, app) = (Site::new(), Application::start("errors 0\nbuild_info{version=\"v1\"} 1\n"));
    site.write("ci.token", TOKEN);
    std::fs::set_permissions(site.path("ci.token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("it is ours");
    site.configure(&format!(
        "\
{ingest}
targets:
  shop:
    deployments: {{ detect: {{ source: app, metric: build_info, label: version }}, soak: 1h, window: never, page: on-call }}
  other: {{}}
calendars: {{ never: {{ time_zone: UTC, days: [mon], from: '00:00', to: '00:01' }} }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
",
        app.url()
    ));
    site.write(
        "rules/shop.yaml",
        "\
target: shop
sources: [app]
indicators: { errors: { unit: ratio, expr: errors } }
triggers: [{ name: Errors, when: errors > 1%, during: deployment, then: { page: on-call } }]
",
    );
    let daemon = site.start();
    site.status();
    eventually("the version is seen", || site.told(&["status"]).contains("version v1").then_some(()));
    (site, daemon, app)
}

fn listed(site: &Site) -> Vec<Value> {
    serde_json::from_str(&site.told(&["deployment", "list", "--output", "json"])).expect("a list")
}

/// Runs a command that fails, and returns what it says.
fn refused(site: &Site, arguments: &[&str], code: i32) -> String {
    let output = site.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_pipeline_tells_of_its_deployment_on_the_command_line() {
    let (site, mut daemon, app) = start("");
    assert_says(&site.told(&["deployment", "list"]), &["no deployments"]);
    assert_says(&site.told(&["status"]), &["asleep", "not judged: only during deployment"]);
    assert_eq!(site.status().ingest, Listening::Off, "nothing comes in where nothing is written");

    let output = site.run(&["deployment", "start", "shop", "v2"]);
    assert!(output.status.success());
    assert_says(&String::from_utf8_lossy(&output.stdout), &["D1: shop v2, running"]);
    assert_says(&String::from_utf8_lossy(&output.stderr), &["warning: D1 began outside of `never`"]);
    eventually("people hear of the bad time", || {
        let events = site.pager.events();
        events
            .iter()
            .any(|event| event.summary.contains("D1 of version v2 begins outside of `never`"))
            .then_some(())
    });
    site.told(&["deployment", "stage", "shop", "25%", "--name", "canary", "--settle", "1h"]);
    let told = site.told(&["deployment", "progress", "shop", "40%"]);
    assert_says(&told, &["stage 25% `canary`, settles for another", "40% done, about"]);
    // The rule is awake, and what is told is on the record with who said it.
    app.expose("errors 1\nbuild_info{version=\"v1\"} 1\n");
    eventually("the rule fires", || site.told(&["status"]).contains("FIRING").then_some(()));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(listed(&site)[0]["origin"], json!({ "announced": { "by": format!("uid {uid}") } }));

    // A crash forgets nothing of it.
    daemon.signal(rustix::process::Signal::KILL);
    eventually("it is dead", || daemon.ended());
    let daemon = site.start();
    let told = eventually("it is up again", || {
        let output = site.run(&["deployment", "progress", "shop", "50%"]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert_says(&told, &["D1: shop v2, running, stage 25% `canary`", "50% done"]);
    assert_says(&site.told(&["deployment", "no-return", "shop"]), &["D1: shop v2"]);
    assert_says(&site.told(&["status"]), &["PAST ITS POINT OF NO RETURN", "DEPLOYMENTS", "v1 -> v2"]);
    assert_says(&site.told(&["deployment", "finish", "shop"]), &["rolled out, soaks for another 1h"]);

    let cases: [(&[&str], i32, &str); 7] = [
        (&["deployment", "finish", "shop"], 1, "D1 of shop is rolled out already and soaks"),
        (&["deployment", "stage", "other", "10%"], 1, "no deployment of other is under way"),
        (&["deployment", "start", "shopp", "v2"], 1, "there is no target `shopp`; there are: other, shop"),
        (&["deployment", "start", "shop", "v2"], 1, "D1 of shop brings version v2 already"),
        (&["deployment", "stage", "shop", "110%"], 2, "a part of the whole"),
        (&["deployment", "stage", "shop", "10%", "--settle", "soon"], 2, "is not a duration"),
        (&["deployment", "finish", "shop", "--failed", "--abandoned"], 2, "cannot be used with"),
    ];
    for (arguments, code, why) in cases {
        assert_says(&refused(&site, arguments, code), &[why]);
    }
    let last = &listed(&site)[0];
    assert_eq!(
        (&last["id"], &last["version"], &last["standing"]),
        (&json!("D1"), &json!("v2"), &json!("soaking"))
    );
    assert!(last["duration_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(daemon.stop().success());
}

/// Sends a request; returns the status and the body, which is always JSON.
fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: whoever.example\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // A server that has seen enough may close before everything is sent.
    stream.write_all(request.as_bytes()).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert_says(&head.to_ascii_lowercase(), &["content-type: application/json", "nosniff", "no-store"]);
    let status = head[9..12].parse().expect("a status");
    if status == 401 {
        assert_says(&head.to_ascii_lowercase(), &["www-authenticate: bearer"]);
    }
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

fn nothing_else_is_taken(site: &Site, address: SocketAddr) {
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let start = r#"{"target": "shop", "version": "v2"}"#;
    let long = format!(r#"{{"target": "shop", "version": "{}"}}"#, "x".repeat(17 * 1024));
    let wrong = format!("Authorization: Bearer {}0\r\n", &TOKEN[1..]);
    let half = format!("Authorization: Bearer {}\r\n", &TOKEN[..16]);
    let basic = format!("Authorization: Basic {TOKEN}\r\n");
    let twice = format!("{bearer}{bearer}");
    let cases: [(&str, &str, &str, &str, u16, &str); 17] = [
        ("POST", "/deployments", "", start, 401, "a token is needed"),
        ("POST", "/deployments", &wrong, start, 401, "this token is not known"),
        ("POST", "/deployments", &half, start, 401, "this token is not known"),
        ("POST", "/deployments", &basic, start, 401, "a token is needed"),
        ("POST", "/deployments", &twice, start, 401, "a token is needed"),
        ("POST", "/deployments/shop/stage", "", "no JSON either", 401, "a token is needed"),
        ("GET", "/deployments", &bearer, "", 405, "only POST"),
        ("POST", "/rollback/shop", &bearer, "{}", 404, "nothing at this path"),
        ("POST", "/arm/shop", &bearer, "{}", 404, "nothing at this path"),
        ("POST", "/deployments", &bearer, "{}", 400, "missing field `target`"),
        (
            "POST",
            "/deployments",
            &bearer,
            r#"{"target": "shop", "version": "v2", "rollback": true}"#,
            400,
            "unknown field `rollback`",
        ),
        ("POST", "/deployments", &bearer, "v2", 400, "the body"),
        ("POST", "/deployments", &bearer, &long, 413, "longer than 16384 bytes"),
        (
            "POST",
            "/deployments",
            &bearer,
            r#"{"target": "nobody", "version": "v2"}"#,
            409,
            "there is no target `nobody`",
        ),
        (
            "POST",
            "/deployments/shop/progress",
            &bearer,
            r#"{"share": 0.5}"#,
            409,
            "no deployment of shop is under way",
        ),
        ("POST", "/deployments/..%2f/progress", &bearer, r#"{"share": 0.5}"#, 409, "there is no target"),
        (
            "POST",
            "/deployments/shop/stage",
            &bearer,
            r#"{"share": 0.5, "settle": "soon"}"#,
            400,
            "is not a duration",
        ),
    ];
    for (method, path, headers, body, status, why) in cases {
        let (answered, reply) = send(address, method, path, headers, body);
        assert_eq!(answered, status, "{method} {path}: {reply}");
        assert_says(reply["error"].as_str().unwrap_or_default(), &[why]);
    }
    assert_eq!(listed(site), [] as [Value; 0], "none of that did anything");
}

#[test]
fn e12_over_ingest_a_token_can_say_what_it_may_and_nothing_else() {
    let (site, daemon, _app) = start(
        "ingest: { listen: '127.0.0.1:0', tokens: [{ name: ci, may: [deployments], token: { file: ci.token } }] }",
    );
    let address = eventually("it listens", || match site.status().ingest {
        Listening::Served(address) => Some(address),
        _ => None,
    });
    nothing_else_is_taken(&site, address);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let start = r#"{"target": "shop", "version": "v2"}"#;
    let good = [
        ("/deployments", start),
        ("/deployments/shop/stage", r#"{"share": 0.25, "name": "canary", "settle": "30s"}"#),
        ("/deployments/shop/progress", r#"{"share": 0.4}"#),
        ("/deployments/shop/no-return", ""),
        ("/deployments/shop/finish", r#"{"ending": "failed"}"#),
    ];
    for (path, body) in good {
        assert_eq!(
            send(address, "POST", path, &bearer, body),
            (200, json!({ "status": "success" })),
            "{path}"
        );
    }
    let last = &listed(&site)[0];
    assert_eq!(last["origin"], json!({ "announced": { "by": "token ci" } }));
    assert_eq!((&last["standing"], &last["stages"][0]["share"]), (&json!("failed"), &json!(0.25)));

    // A token that is taken away is worth nothing after a reload.
    site.write("ci.token", "ffffffffffffffffffffffffffffffff");
    std::fs::set_permissions(site.path("ci.token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("ours");
    daemon.signal(rustix::process::Signal::HUP);
    eventually("the old token is refused", || {
        (send(address, "POST", "/deployments", &bearer, start).0 == 401).then_some(())
    });
    assert!(daemon.stop().success());
    assert!(!site.read("log").contains(TOKEN), "a token is never logged");
}
