//! Flags: set in the file, read back from flagd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use crate::bench::{Answer, Bench};

const FLAGS: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "FORCE_V2_FALLBACK": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "ALPHASTACK_V3_DISABLED": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "READ_ONLY_MODE": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "ALPHASTACK_PROTECTION": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
    "error-budget-enforcement": {"state": "ENABLED", "variants": {"strict": "strict", "permissive": "permissive"}, "defaultVariant": "permissive"}
  }
}
"#;

/// Stands in for flagd: answers from the file as it is at each request. For the flags in `deaf`, whatever the file says,
/// it stays with the variant `off`.
fn flagd(file: PathBuf, deaf: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("known"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &std::fs::read_to_string(&file).unwrap_or_default(), deaf);
        }
    });
    url
}

/// Answers one request: `{"code":"not_found",...}` for what is not there, and without `value` where that is false, as
/// JSON of protocol buffers leaves out what is zero.
fn answer(mut stream: TcpStream, file: &str, deaf: &[&str]) {
    let mut reader = BufReader::new(&stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = asked["flagKey"].as_str().unwrap_or_default();
    let flags: Value = serde_json::from_str(file).unwrap_or_default();
    let flag = &flags["flags"][name];
    let variant =
        if deaf.contains(&name) { "off" } else { flag["defaultVariant"].as_str().unwrap_or_default() };
    let value = &flag["variants"][variant];
    let fits = match first.split_whitespace().nth(1) {
        Some("/flagd.evaluation.v1.Service/ResolveBoolean") => value.is_boolean(),
        Some("/flagd.evaluation.v1.Service/ResolveString") => value.is_string(),
        _ => false,
    };
    let (status, said) = if flag.is_null() || !fits {
        ("404 Not Found", json!({"code": "not_found", "message": "Flag not found"}))
    } else if *value == json!(false) {
        ("200 OK", json!({"reason": "STATIC", "variant": variant}))
    } else {
        ("200 OK", json!({"value": value, "reason": "STATIC", "variant": variant, "metadata": {}}))
    };
    let said = said.to_string();
    let length = said.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}").ok();
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("flags.json", FLAGS);
    bench
}

#[track_caller]
fn set(bench: &Bench, url: &str, arguments: &[&str]) -> Answer {
    let file = bench.path("flags.json");
    let mut all = vec!["flagd", "set", "--file", file.to_str().expect("UTF-8"), "--url", url];
    all.extend(["--immutable", "ALPHASTACK_PROTECTION"]);
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn s3_08_flags_are_set_in_order_and_each_is_read_back() {
    let bench = bench();
    let url = flagd(bench.path("flags.json"), &[]);
    let wanted = ["FORCE_V2_FALLBACK=true", "ALPHASTACK_V3_DISABLED=on", "READ_ONLY_MODE=true"];
    set(&bench, &url, &[&["--check"], &wanted[..]].concat()).is(0, "would_do", "flagd says false");
    assert_eq!(bench.read("flags.json"), FLAGS);
    let done = set(&bench, &url, &wanted);
    done.is(0, "done", "READ_ONLY_MODE: flagd says true (variant on, STATIC)");
    let mut expected: Value = serde_json::from_str(FLAGS).expect("JSON");
    for name in ["FORCE_V2_FALLBACK", "ALPHASTACK_V3_DISABLED", "READ_ONLY_MODE"] {
        expected["flags"][name]["defaultVariant"] = "on".into();
    }
    let text = bench.read("flags.json");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
    assert_eq!(text.lines().count(), FLAGS.lines().count(), "its form is kept");
    set(&bench, &url, &wanted).is(0, "already_there", "");
    set(&bench, &url, &["READ_ONLY_MODE=false"]).is(0, "done", "flagd says false (variant off, STATIC)");
}

#[test]
fn s3_08_it_stops_at_the_first_flag_that_does_not_read_back() {
    let bench = bench();
    let url = flagd(bench.path("flags.json"), &["ALPHASTACK_V3_DISABLED"]);
    let wanted = ["FORCE_V2_FALLBACK=true", "ALPHASTACK_V3_DISABLED=true", "READ_ONLY_MODE=true"];
    let answer = set(&bench, &url, &[&["--timeout", "500ms"], &wanted[..]].concat());
    answer.is(1, "partial", "ALPHASTACK_V3_DISABLED: written to the file, but it did not read back");
    let results: Vec<&Value> =
        answer.json["targets"].as_array().expect("targets").iter().map(|one| &one["result"]).collect();
    assert_eq!(results, ["done", "failed", "not_tried"]);
    let flags: Value = serde_json::from_str(&bench.read("flags.json")).expect("JSON");
    assert_eq!(flags["flags"]["READ_ONLY_MODE"]["defaultVariant"], "off");
}

#[test]
fn s3_07_a_plan_with_an_immutable_flag_sets_none() {
    let bench = bench();
    let url = flagd(bench.path("flags.json"), &[]);
    let answer = set(&bench, &url, &["READ_ONLY_MODE=true", "ALPHASTACK_PROTECTION=off"]);
    answer.is(1, "refused", "ALPHASTACK_PROTECTION is immutable");
    assert_eq!(bench.read("flags.json"), FLAGS);
}

#[test]
fn s2_09_a_mode_is_switched_and_only_flagd_s_word_counts() {
    let bench = bench();
    let url = flagd(bench.path("flags.json"), &[]);
    let done = set(&bench, &url, &["error-budget-enforcement=strict"]);
    done.is(0, "done", "flagd says \"strict\" (variant strict, STATIC)");
    assert_eq!((done.text("from"), done.text("to")), ("permissive", "strict"));
    // flagd watches another file.
    let elsewhere = self::bench();
    let url = flagd(elsewhere.path("flags.json"), &[]);
    set(&bench, &url, &["--timeout", "300ms", "READ_ONLY_MODE=true"]).is(
        1,
        "failed",
        "written to the file, but it did not read back within 300ms: flagd says false",
    );
    // Nobody is there.
    let nobody = "http://127.0.0.1:1";
    set(&bench, nobody, &["--timeout", "300ms", "FORCE_V2_FALLBACK=true"]).is(75, "retry", "does not answer");
    set(&bench, nobody, &["no-such-flag=true"]).is(1, "refused", "has no flag no-such-flag");
}
