//! What a service manager sees: readiness, status, signs of life, an orderly stop, and one daemon at a time.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::process::Daemon;
use crate::daemon_fixture::site::{REARGUARD, Site};

/// An application that stays broken, and a plan of two steps, of which the first waits for the file `go`.
fn configure(site: &Site, app: &Application) {
    let (steps, go) = (site.path("steps"), site.path("go"));
    let step = site.program(
        "step",
        &format!(
            "#!/bin/sh\necho \"$REARGUARD_STEP begins\" >> {0}\nwhile [ ! -e {1} ]; do sleep 0.05; done\n\
             echo \"$REARGUARD_STEP ends\" >> {0}\n",
            steps.display(),
            go.display()
        ),
    );
    let step = step.display();
    site.configure(&format!(
        "\
targets:
  app: {{ mode: armed, plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back:
    deadline: 5m
    steps:
      - {{ name: first, exec: [{step}], timeout: 60s }}
      - {{ name: second, exec: [{step}], timeout: 60s }}
",
        app.url()
    ));
    site.write(
        "rules/app.yaml",
        "\
target: app
sources: [app]
indicators:
  broken: { unit: count, expr: app_broken }
triggers:
  - { name: Broken, when: broken > 0, for: 500ms, severity: high, then: { rollback: back, page: on-call } }
",
    );
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_told_who_holds_it() {
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    let _daemon = site.start();
    site.status();
    let holder = site.status().pid;
    let second = Command::new(REARGUARD).args(["run", "--config"]).arg(site.config()).output();
    let second = second.expect("it starts and ends");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert_says(
        &said,
        &[&format!("is held by process {holder}"), "stop that one, or give this one a `state:`"],
    );
    assert_eq!(site.status().pid, holder, "the first one still answers on the socket");
}

#[test]
fn a_stop_waits_for_the_running_step_and_the_next_start_goes_on_without_doubt() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    configure(&site, &app);
    let mut first = site.start();
    eventually("the first step runs", || site.read("steps").contains("first begins").then_some(()));
    first.signal(Signal::TERM);
    eventually("the daemon goes down", || {
        site.read("log").contains("daemon goes down in order").then_some(())
    });
    assert!(first.ended().is_none(), "it waits for the step");
    site.write("go", "");
    let ended = eventually("it ends once the step has ended", || first.ended());
    assert!(ended.success(), "{ended}");
    assert_eq!(site.read("steps"), "first begins\nfirst ends\n", "no new act on the way down");

    let second = site.start();
    eventually("the plan goes on", || site.read("steps").contains("second ends").then_some(()));
    let page = eventually("its end is paged", || {
        site.pager.events().into_iter().find(|event| event.summary.contains("rolled back by `back`"))
    });
    assert!(page.says("Step first: done in "), "{page:?}");
    assert_eq!(site.read("steps"), "first begins\nfirst ends\nsecond begins\nsecond ends\n");
    assert!(site.pager.events().iter().all(|event| !event.summary.contains("DOUBT")));
    assert!(second.stop().success());
}

#[test]
fn a_step_that_outlives_its_daemon_is_in_doubt_until_somebody_says_what_became_of_it() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    configure(&site, &app);
    let mut first = site.start();
    eventually("the first step runs", || site.read("steps").contains("first begins").then_some(()));
    first.signal(Signal::KILL);
    eventually("the daemon is gone", || first.ended());

    let _second = site.start();
    let page = eventually("people are asked", || {
        site.pager.events().into_iter().find(|event| event.triggers("-I1-rollback"))
    });
    assert_says(
        &page.summary,
        &["app: rollback `back` is IN DOUBT: the daemon restarted while it ran; process "],
    );
    assert_says(&page.summary, &["still runs"]);
    for told in ["Step first: IN DOUBT", "Step second: not started", "rollback settle R1 --done | --not-done"]
    {
        assert!(page.says(told), "{told}: {page:?}");
    }
    assert_says(&site.told(&["status"]), &["rollback R1 IS IN DOUBT"]);
    site.write("go", "");
    eventually("the step ends by itself", || site.read("steps").contains("first ends").then_some(()));
    let scrapes = app.scrapes();
    eventually("the daemon goes on watching", || (app.scrapes() > scrapes + 4).then_some(()));
    assert_eq!(site.read("steps"), "first begins\nfirst ends\n", "nothing more is done");

    let wrong = site.run(&["rollback", "settle", "R7", "--done"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&wrong.stderr), &["R7 has no step in doubt"]);
    assert_says(&site.told(&["rollback", "settle", "R1", "--done"]), &["R1 is settled as done"]);
    eventually("the plan goes on", || site.read("steps").contains("second ends").then_some(()));
    assert_eq!(site.read("steps"), "first begins\nfirst ends\nsecond begins\nsecond ends\n");
    let story = site.told(&["incident", "show", "I1"]);
    assert_says(&story, &["IN DOUBT: the daemon restarted while it ran", "is settled as done by uid "]);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_a_reason_and_no_readiness() {
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    let socket = UnixDatagram::bind(site.path("notify")).expect("a socket");
    std::fs::remove_dir(site.path("state")).expect("it is empty");
    for (what, says) in [("missing", "it does not exist; create it"), ("a file", "it is not a directory")] {
        let mut command = Command::new(REARGUARD);
        command.args(["run", "--config"]).arg(site.config()).env("NOTIFY_SOCKET", site.path("notify"));
        let refused = command.output().expect("it starts and ends");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{what}: {said}");
        assert_says(&said, &["/state", says]);
        site.write("state", "");
    }
    let heard = told(&socket, Duration::from_millis(50));
    assert!(heard.iter().all(|line| line != "READY=1"), "{heard:?}");
    let status = site.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&status.stderr), &["no daemon answers at ", "is it running?"]);
}

/// Takes what the daemon has told its service manager, until nothing comes for `quiet`.
fn told(socket: &UnixDatagram, quiet: Duration) -> Vec<String> {
    socket.set_read_timeout(Some(quiet)).expect("a timeout");
    let mut buffer = [0; 4096];
    let mut told = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        told.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
    }
    told
}

#[test]
fn the_service_manager_hears_readiness_status_and_signs_of_life_only_while_the_engine_turns() {
    let site = Site::new();
    let app = Application::start("app_broken 1\n");
    configure(&site, &app);
    site.write("go", "");
    let socket = UnixDatagram::bind(site.path("notify")).expect("a socket");
    let mut command = Command::new(REARGUARD);
    command.args(["run", "--config"]).arg(site.config());
    command.env("NOTIFY_SOCKET", site.path("notify")).env("WATCHDOG_USEC", "1500000");
    let daemon = Daemon::start(&mut command, &site.path("log"));
    let mut heard = Vec::new();
    let mut hears = |what: &str, beginning: &str| {
        eventually(what, || {
            heard.extend(told(&socket, Duration::from_millis(20)));
            let at = heard.iter().position(|line| line.starts_with(beginning))?;
            // What follows is looked for behind what was found.
            Some(heard.drain(..=at).next_back())
        });
    };
    hears("it is ready", "READY=1");
    hears("and says what it watches", "STATUS=1 trigger, 1 target armed, 0 open incidents");
    hears("it is alive", "WATCHDOG=1");
    hears("the status follows what happens", "STATUS=1 trigger, 1 target armed, 1 open incident");
    hears("it is still alive", "WATCHDOG=1");

    daemon.signal(Signal::STOP);
    told(&socket, Duration::from_millis(300));
    // Twice the time after which systemd would end it.
    let silence = told(&socket, Duration::from_secs(3));
    assert!(silence.is_empty(), "a daemon that stands still gives no sign of life: {silence:?}");
    daemon.signal(Signal::CONT);
    eventually("it is alive again", || {
        told(&socket, Duration::from_millis(100)).iter().any(|line| line == "WATCHDOG=1").then_some(())
    });
    assert!(daemon.stop().success());
    assert!(told(&socket, Duration::from_millis(100)).iter().any(|line| line == "STOPPING=1"));
}
