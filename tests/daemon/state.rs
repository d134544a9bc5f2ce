//! A state directory that is full, damaged, of another version, or not ours, and what people see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::{REARGUARD, Site};

/// An armed target whose plan writes down that it ran.
fn configure(site: &Site, app: &Application) {
    let step = site.program("step", &format!("#!/bin/sh\necho ran >> {}\n", site.path("steps").display()));
    site.configure(&format!(
        "\
targets:
  app: {{ mode: armed, plans: [back] }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
rollbacks:
  back: {{ deadline: 1m, steps: [{{ name: back, exec: [{}], timeout: 20s }}] }}
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
  - { name: Broken, when: broken > 0, for: 500ms, severity: high, then: { rollback: back, page: on-call } }
",
    );
}

/// A small tmpfs in place of the state directory, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1500k", "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: a file system of a fixed size needs the right to mount tmpfs");
        None
    }

    fn remount_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "it can be mounted read-only");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a daemon may be on its way out.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn fault_07_while_the_disk_is_full_it_pages_from_memory_and_does_not_act() {
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    let Some(small) = Small::mount(site.path("state")) else { return };
    let daemon = site.start();
    site.status();
    let filler = small.0.join("filler");
    // As much as there is room for.
    fs::write(&filler, vec![0; 4 << 20]).expect_err("the file system is small");
    app.expose("app_broken 1\n");
    let page = eventually("the breach is paged all the same", || {
        site.pager.events().into_iter().find(|event| event.summary.contains("Broken"))
    });
    assert!(page.says("cannot be written"), "it says why there is no rollback: {page:?}");
    eventually("that nothing can be written is paged too", || {
        let about = |summary: &str| summary.contains("journal cannot be written");
        site.pager.events().iter().any(|event| about(&event.summary)).then_some(())
    });
    assert_says(&site.told(&["status"]), &["JOURNAL CANNOT BE WRITTEN"]);
    let scrapes = app.scrapes();
    eventually("it goes on judging", || (app.scrapes() > scrapes + 4).then_some(()));
    assert_eq!(site.read("steps"), "", "no rollback without a stored intent");
    fs::remove_file(&filler).expect("it is there");
    eventually("it recovers by itself", || {
        site.read("log").contains("journal can be written again").then_some(())
    });
    eventually("that incident is over", || {
        (!site.told(&["status"]).contains("JOURNAL CANNOT BE WRITTEN")).then_some(())
    });
    let story = site.told(&["audit", "export", "--kind", "journal", "--output", "csv"]);
    assert_says(&story, &["journal_lost", "journal_restored"]);
    assert_says(&site.told(&["audit", "verify"]), &["the chain is whole"]);
    assert!(daemon.stop().success());
}

#[test]
fn fault_08_a_damaged_journal_is_set_aside_paged_and_the_rules_run() {
    type Damage = fn(&Path);
    let flip: Damage = |path| {
        let mut content = fs::read(path).expect("it is there");
        // In the middle of the first event's text.
        let at = content.windows(15).position(|part| part == b"journal_created").expect("an event");
        content[at] ^= 1;
        fs::write(path, content).expect("it is ours");
    };
    let cases: [(&str, Damage); 4] = [
        ("one flipped bit", flip),
        ("cut to half", |path| {
            let content = fs::read(path).expect("it is there");
            fs::write(path, &content[..content.len() / 2]).expect("it is ours");
        }),
        ("zero length", |path| fs::write(path, b"").expect("it is ours")),
        ("wrong magic", |path| {
            let mut content = fs::read(path).expect("it is there");
            content[..16].copy_from_slice(b"SQLite format 4\0");
            fs::write(path, content).expect("it is ours");
        }),
    ];
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    for (nth, (name, damage)) in cases.into_iter().enumerate() {
        println!("{name}");
        let daemon = site.start();
        site.status();
        assert!(daemon.stop().success());
        let before = site.pager.events().len();
        damage(&site.path("state/journal.sqlite"));
        let verify = site.run(&["audit", "verify"]);
        assert_eq!(verify.status.code(), Some(1), "{name}: {verify:?}");
        let daemon = site.start();
        let page = eventually("the loss is paged", || site.pager.events().get(before).cloned());
        assert_says(&page.summary, &["the journal was damaged", &format!("journal.sqlite.bad-{}", nth + 1)]);
        let scrapes = app.scrapes();
        eventually("the rules run", || (app.scrapes() > scrapes + 2).then_some(()));
        assert!(site.path(&format!("state/journal.sqlite.bad-{}", nth + 1)).exists());
        assert!(daemon.stop().success());
    }
}

/// Starts a daemon that must refuse to, and checks that it never said it was ready.
fn refused(site: &Site, command: &mut Command) -> Output {
    let path = site.path("notify");
    // The test runs as root where it can; the daemon may not.
    drop(fs::remove_file(&path));
    let socket = UnixDatagram::bind(&path).expect("a socket");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let output = command.args(["run", "--config"]).arg(site.config()).env("NOTIFY_SOCKET", &path).output();
    let output = output.expect("it starts and ends");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(!told.contains("READY=1"), "{told}");
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn fault_09_a_journal_of_a_newer_version_keeps_the_daemon_from_starting() {
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    let daemon = site.start();
    site.status();
    assert!(daemon.stop().success());
    let journal = site.path("state/journal.sqlite");
    rusqlite::Connection::open(&journal)
        .and_then(|file| file.pragma_update(None, "user_version", 99))
        .expect("it can be written");
    let output = refused(&site, &mut Command::new(REARGUARD));
    assert_says(
        &said(&output),
        &["written by a newer Rearguard (schema version 99;", "run that version again"],
    );
    let kept = fs::read_dir(site.path("state")).expect("it is there");
    assert!(kept.flatten().all(|file| !file.file_name().to_string_lossy().contains(".bad-")));
    let show = site.run(&["incident", "list"]);
    assert_eq!(show.status.code(), Some(1));
    assert_says(&said(&show), &["written by a newer Rearguard"]);
}

#[test]
fn fault_10_a_state_directory_that_may_not_be_written_keeps_the_daemon_from_starting() {
    let site = Site::new();
    let app = Application::start("app_broken 0\n");
    configure(&site, &app);
    if let Some(small) = Small::mount(site.path("state")) {
        small.remount_read_only();
        let output = refused(&site, &mut Command::new(REARGUARD));
        assert_says(
            &said(&output),
            &["/state", "Read-only file system", "make it writable for the daemon's user"],
        );
    }
    // Somebody else's directory: only who is root can become somebody else.
    if !rustix::process::geteuid().is_root() {
        println!("skipped: another owner's directory needs the right to change users");
        return;
    }
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    open(&site.path("")).and_then(|()| open(&site.path("state"))).expect("they are ours");
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(REARGUARD);
    let works = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", REARGUARD, "--version"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        println!("skipped: `setpriv` is not there, or another user may not run {REARGUARD}");
        return;
    }
    let output = refused(&site, &mut as_nobody);
    assert_says(&said(&output), &["/state", "Permission denied", "make it writable for the daemon's user"]);
}
