//! Units, and releases behind a link.

use std::path::Path;

use crate::bench::{Answer, Bench};

fn unit(state: &str, invocation: &str, since: &str) -> String {
    format!(
        "Type=notify\nLoadState=loaded\nActiveState={state}\nSubState={}\nResult=success\nNRestarts=0\n\
         InvocationID={invocation}\nNeedDaemonReload=no\nActiveEnterTimestamp={since}\n",
        if state == "active" { "running" } else { "dead" }
    )
}

const EARLIER: &str = "Sat 2020-11-21 12:00:00.000000 UTC";
/// After anything that a test makes.
const LATER: &str = "Sat 2099-11-21 12:00:00.000000 UTC";

#[track_caller]
fn systemd(bench: &Bench, action: &str, arguments: &[&str]) -> Answer {
    let systemctl = bench.path("systemctl");
    let mut all = vec!["systemd", action, "--systemctl", systemctl.to_str().expect("UTF-8")];
    all.extend(["app.service"]);
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn a_restart_is_seen_to_hold() {
    let bench = Bench::new();
    bench.write("unit", unit("active", "a", EARLIER));
    bench.write("after/restart", unit("active", "b", LATER));
    systemd(&bench, "restart", &["--check"]).is(0, "would_do", "would restart it; it is active (running)");
    assert!(bench.changes().is_empty());
    systemd(&bench, "restart", &[]).is(0, "done", "it is active (running)");
    systemd(&bench, "start", &[]).is(0, "already_there", "it is active (running) already");
    bench.write("after/stop", unit("inactive", "", LATER));
    systemd(&bench, "stop", &[]).is(0, "done", "it is inactive (dead)");
    systemd(&bench, "stop", &[]).is(0, "already_there", "");
    assert_eq!(
        bench.changes(),
        ["--no-ask-password restart -- app.service", "--no-ask-password stop -- app.service"]
    );
}

#[test]
fn a_unit_that_fails_or_does_not_stay_up_is_a_failure() {
    let bench = Bench::new();
    bench.write("unit", unit("active", "a", EARLIER));
    bench.write("after/restart", unit("active", "b", LATER));
    bench.write("after/restart.3", unit("active", "c", LATER));
    systemd(&bench, "restart", &["--watch", "10s"]).is(1, "failed", "it does not stay up");

    let bench = Bench::new();
    bench.write("unit", unit("active", "a", EARLIER));
    bench.write("after/restart", unit("failed", "b", LATER));
    let said = "Job for app.service failed because the control process exited with error code.\n";
    bench.write("fail/restart", said);
    systemd(&bench, "restart", &[]).is(1, "failed", "Job for app.service failed because").is(
        1,
        "failed",
        "it is failed",
    );

    bench.write("fail/restart", "Failed to restart app.service: Interactive authentication required.\n");
    bench.write("after/restart", unit("active", "a", EARLIER));
    systemd(&bench, "restart", &[]).is(1, "failed", "Interactive authentication required");

    bench.write("unit", "LoadState=not-found\nActiveState=inactive\n");
    systemd(&bench, "restart", &[]).is(1, "refused", "there is no such unit");
}

/// Releases v1 and v2 of which v2 runs.
fn released(bench: &Bench) {
    for version in ["v1", "v2"] {
        std::fs::create_dir_all(bench.path("releases").join(version)).expect("created");
    }
    std::os::unix::fs::symlink("releases/v2", bench.path("current")).expect("linked");
    bench.write("unit", unit("active", "a", EARLIER));
    bench.write("after/restart", unit("active", "b", LATER));
}

#[track_caller]
fn switch(bench: &Bench, arguments: &[&str]) -> Answer {
    let (link, releases) = (bench.path("current"), bench.path("releases"));
    let paths = [&link, &releases].map(|path| path.to_str().expect("UTF-8"));
    let fixed = ["--link", paths[0], "--releases", paths[1], "--bad-version", "v2", "--good-version"];
    systemd(bench, "switch-release", &[&fixed[..], arguments].concat())
}

#[test]
fn a_link_is_pointed_back_to_the_good_release_and_the_unit_restarted() {
    let bench = Bench::new();
    released(&bench);
    let link = |bench: &Bench| bench.path("current").canonicalize().expect("leads somewhere");
    let good = bench.path("releases/v1").canonicalize().expect("there");
    switch(&bench, &["v1", "--check"]).is(0, "would_do", "would switch");
    assert!(link(&bench).ends_with("releases/v2"));
    let done = switch(&bench, &["v1"]);
    done.is(0, "done", "it is active (running)").is(0, "done", "switched");
    assert_eq!(Path::new(done.text("to")), good);
    assert_eq!(link(&bench), good);
    switch(&bench, &["v1"]).is(0, "already_there", "");
    assert_eq!(bench.changes(), ["--no-ask-password restart -- app.service"]);
    // An earlier run ended between the link and the restart.
    bench.write("unit", unit("active", "a", EARLIER));
    switch(&bench, &["v1", "--check"]).is(0, "would_do", "it has not been restarted since");
    switch(&bench, &["v1"]).is(0, "done", "was switched already");
    let left: Vec<_> = std::fs::read_dir(bench.path(".")).expect("listed").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".rearguard")));
}

#[test]
fn a_release_that_is_not_there_or_is_the_bad_one_is_refused() {
    let bench = Bench::new();
    released(&bench);
    switch(&bench, &["v0"]).is(1, "refused", "nothing to go back to: no release v0; there are v1, v2");
    switch(&bench, &["v2"]).is(1, "refused", "the good and the bad version are both v2");
    switch(&bench, &["../releases/v1"]).is(1, "refused", "is not the name of a directory");
    switch(&bench, &[""]).is(1, "refused", "the good version is not known");
    std::fs::remove_file(bench.path("current")).expect("removed");
    switch(&bench, &["v1"]).is(1, "refused", "not a symbolic link");
    assert!(bench.changes().is_empty());
}
