//! The unit under a real systemd: booted in a container, with the built daemon in it.
//!
//! The container needs root, `debootstrap` and `systemd-nspawn` (Debian: packages `debootstrap`, `systemd-container`) and,
//! the first time, a mirror. Where one of them is missing the test says so and passes, unless
//! `REARGUARD_REQUIRE_SYSTEMD=1`. The container's files are made once and kept in `$REARGUARD_SYSTEMD_ROOT`, by default
//! under `target`; a boot changes nothing in them. `tests/systemd/inside.sh` is what happens inside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The unit, as it is shipped.
const UNIT: &str = "systemd/rearguard.service";

/// The drop-ins that people copy.
const SAMPLES: [&str; 2] = ["credentials", "steps"];

/// The highest exposure that `systemd-analyze security` may find in the unit, in tenths.
const EXPOSURE_MAX_TENTHS: u32 = 15;

/// The secret that must arrive at the receiver and nowhere else.
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// How long everything inside may take. It takes less than half a minute.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a container may take to halt.
const HALT_TIMEOUT: Duration = Duration::from_secs(20);

/// What some line of a section of the report must contain, and what none may.
type Expectation = (&'static str, &'static [&'static str], &'static [&'static str]);

const EXPECTATIONS: &[Expectation] = &[
    ("install", &["done", "accepted"], &[]),
    (
        "first-start-with-bad-files",
        &["start says 1", "failed", "2", "restarts 0", "rearguard.yaml:4:1", "did you mean `interval`?"],
        &[],
    ),
    (
        "start",
        &[
            "start says 0",
            "active",
            "\"1 trigger, 0 targets armed",
            "runs as rearguard",
            "core dumps: 0",
            "/run/rearguard drwxr-x--- rearguard:rearguard",
            "/run/rearguard/control.sock srw-rw---- rearguard:rearguard",
            "/var/lib/rearguard drwx------ rearguard:rearguard",
            "/etc/rearguard drwxr-xr-x root:root",
            "ready: ",
            // Structured: by the journal's own protocol, with levels that `journalctl -p` knows.
            "\"PRIORITY\":\"5\"",
            "\"SYSLOG_IDENTIFIER\":\"rearguard\"",
            "\"_TRANSPORT\":\"journal\"",
        ],
        &[],
    ),
    (
        "status",
        &["FIRING", "status says 0", "a stranger's status says 1", "an operator's status says 0"],
        &["status says 2"],
    ),
    ("credential", &["in the environment: 0", "in systemctl show: 0"], &[]),
    ("reload-rules", &["reload says 0", "2 triggers"], &[]),
    ("reload-rules-unasked", &["1 trigger,"], &[]),
    // What belongs to root changes when root says so, and not before.
    (
        "reload-config",
        &["before: 1 trigger, 0 targets", "reload says 0", "after: 1 trigger, 1 target armed"],
        &[],
    ),
    (
        "reload-bad-files",
        &[
            "reload says 1",
            "DEGRADED",
            "active",
            "rearguard.yaml:20:1",
            "reload says 0",
            "the same process all along",
        ],
        &[],
    ),
    (
        "stop-during-step",
        &["stop says 0", "ended with its file", "success", "R1 succeeded", "Deactivated successfully"],
        &["Killing process", "timed out", "remains running"],
    ),
    (
        "stop",
        &["stop says 0", "inactive", "success", "0", "No such file or directory"],
        &["Killing process", "timed out", "remains running"],
    ),
    (
        "start-with-bad-files",
        &["start says 0", "active", "DEGRADED", "rules/trading.yaml:1:1"],
        &["start says 1"],
    ),
    (
        "watchdog",
        &[
            "Watchdog timeout (limit 4s)!",
            "code=killed, status=6/ABRT",
            "Failed with result 'watchdog'",
            "restart counter is at 1",
            "another process",
            "the step still runs",
            "in the unit's control group",
            "IN DOUBT: the daemon restarted while it ran; process",
            "still runs",
            "ended with its file",
        ],
        &["is gone"],
    ),
    ("over", &["stop says 0"], &[]),
];

/// How long an orderly stop may take where nothing is waited for, and where a step has one more second to run.
const STOPS_MS: [(&str, u64); 2] = [("stop", 5_000), ("stop-during-step", 10_000)];

/// Gives a reason not to run, or fails where systemd is required.
fn skip(why: &str) {
    assert!(std::env::var_os("REARGUARD_REQUIRE_SYSTEMD").is_none(), "systemd is required, but {why}");
    // Not by a macro: what a passing test prints with those is not shown.
    writeln!(std::io::stderr(), "SKIPPED, not tested under systemd: {why}").expect("standard error is open");
}

fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program to its end and returns whether it succeeded, and what it printed on both streams.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Writes the unit and a drop-in as `systemd-analyze` wants them: under their own names, the program where it is.
fn unit_for_analysis(directory: &Path, drop_in: Option<&str>) -> PathBuf {
    let unit = fs::read_to_string(UNIT).expect("the unit is there");
    let unit = unit.replace("/usr/bin/rearguard", env!("CARGO_BIN_EXE_rearguard"));
    let path = directory.join("rearguard.service");
    fs::write(&path, unit).expect("can be written");
    if let Some(drop_in) = drop_in {
        let drop_ins = directory.join("rearguard.service.d");
        fs::create_dir_all(&drop_ins).expect("can be made");
        fs::write(drop_ins.join("sample.conf"), drop_in).expect("can be written");
    }
    path
}

/// Returns a sample with every setting in it uncommented.
fn uncommented(sample: &str) -> String {
    let path = format!("systemd/rearguard.service.d/{sample}.conf.sample");
    let text = fs::read_to_string(&path).expect("the sample is there");
    let is_setting =
        |line: &str| line.starts_with('#') && line.chars().nth(1).is_some_and(char::is_uppercase);
    let lines = text.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn systemd_accepts_the_unit_and_every_line_of_the_samples() {
    if !is_installed("systemd-analyze") {
        return skip("systemd-analyze is not installed");
    }
    for sample in [None].into_iter().chain(SAMPLES.map(Some)) {
        let directory = tempfile::tempdir().expect("a directory");
        let unit = unit_for_analysis(directory.path(), sample.map(uncommented).as_deref());
        let (accepted, said) = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit));
        assert!(accepted && !said.contains("rearguard"), "with {sample:?}: {said}");
    }
}

#[test]
fn the_sandbox_is_as_tight_as_it_was() {
    if !is_installed("systemd-analyze") {
        return skip("systemd-analyze is not installed");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let unit = unit_for_analysis(directory.path(), None);
    let threshold = format!("--threshold={EXPOSURE_MAX_TENTHS}");
    let (low, said) =
        run(Command::new("systemd-analyze").args(["security", "--offline=yes", &threshold]).arg(unit));
    assert!(low, "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn the_daemon_lives_under_a_real_systemd() {
    let root = match container_root() {
        Ok(root) => root,
        Err(why) => return skip(&why),
    };
    let out = tempfile::tempdir().expect("a directory");
    let pages = out.path().join("paged");
    let pager = pagerduty(pages.clone());
    fs::write(out.path().join("install.sh"), install_commands()).expect("can be written");
    let console = boot(&root, out.path(), &pager);
    let report = fs::read_to_string(out.path().join("report")).unwrap_or_default();
    if !report.contains("@@ booted") {
        return skip(&format!("no container can be booted here:\n{console}"));
    }
    println!("{report}");
    let sections = sections(&report);
    let mut wrong = Vec::new();
    for (name, expected, unexpected) in EXPECTATIONS {
        let text = sections.get(*name).map(String::as_str).unwrap_or_default();
        let says = |what: &str| text.lines().any(|line| line.contains(what));
        wrong
            .extend(expected.iter().filter(|what| !says(what)).map(|what| format!("{name}: lacks {what:?}")));
        wrong.extend(unexpected.iter().filter(|what| says(what)).map(|what| format!("{name}: has {what:?}")));
    }
    for (name, limit_ms) in STOPS_MS {
        let took =
            sections.get(name).and_then(|text| text.lines().find_map(|line| line.strip_prefix("took ")));
        let took: u64 = took.and_then(|took| took.strip_suffix(" ms")?.parse().ok()).unwrap_or(u64::MAX);
        wrong.extend((took > limit_ms).then(|| format!("{name}: took {took} ms")));
    }
    wrong.extend(report.lines().filter(|line| line.starts_with("never true")).map(str::to_owned));
    assert!(wrong.is_empty(), "{}\n{console}", wrong.join("\n"));
    assert!(!report.contains(ROUTING_KEY), "the routing key is shown:\n{report}");
    let paged = fs::read_to_string(pages).unwrap_or_default();
    assert!(paged.contains(ROUTING_KEY), "the credential was not used: {paged}");
}

/// Returns the files of a Debian of this host's release with systemd in it; makes them where they are missing.
///
/// The same release, because the daemon was linked to this host's C library.
fn container_root() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can boot a container".to_owned());
    }
    for program in ["systemd-nspawn", "debootstrap"] {
        if !is_installed(program) {
            return Err(format!("{program} is not installed"));
        }
    }
    let release =
        fs::read_to_string("/etc/os-release").map_err(|error| format!("/etc/os-release: {error}"))?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or("/etc/os-release names no VERSION_CODENAME: only Debian's kin is known")?;
    let cache = std::env::var_os("REARGUARD_SYSTEMD_ROOT")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd-root"), PathBuf::from);
    let root = cache.join(codename.trim_matches('"'));
    if !root.exists() {
        make_root(&root, codename.trim_matches('"'))?;
    }
    Ok(root)
}

fn make_root(root: &Path, codename: &str) -> Result<(), String> {
    let partial = root.with_extension("partial");
    fs::remove_dir_all(&partial).unwrap_or_default();
    fs::create_dir_all(&partial).map_err(|error| format!("{}: {error}", partial.display()))?;
    writeln!(std::io::stderr(), "making {} once, which takes a minute", root.display())
        .expect("standard error is open");
    let (made, said) = run(Command::new("debootstrap")
        .args(["--variant=minbase", "--include=systemd,systemd-sysv,dbus", codename])
        .arg(&partial));
    if !made {
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        return Err(format!("debootstrap failed: {}", tail.join(" / ")));
    }
    fs::rename(&partial, root).map_err(|error| format!("{}: {error}", root.display()))
}

/// Returns the commands that `systemd/README.md` tells people to install with.
fn install_commands() -> String {
    let readme = fs::read_to_string("systemd/README.md").expect("the README is there");
    let begin = readme.find("```sh\n").expect("has commands") + "```sh\n".len();
    let end = readme[begin..].find("```").expect("they end");
    readme[begin..begin + end].to_owned()
}

/// Boots the container, waits until it is off, and returns what it printed.
fn boot(root: &Path, out: &Path, pager: &str) -> String {
    // Two systemds on one tree would be refused by nspawn; a second test run waits instead.
    let lock = File::create(root.with_extension("lock")).expect("a lock file");
    lock.lock().expect("can be locked");
    let unit = format!(
        "[Service]\nType=oneshot\nEnvironment=PAGER={pager} ROUTING_KEY={ROUTING_KEY}\nTimeoutStartSec=infinity\n\
         ExecStart=/test/inside.sh\nExecStopPost=+systemctl poweroff --no-block\n"
    );
    fs::write(out.join("inside.service"), unit).expect("can be written");
    let here = std::env::current_dir().expect("a current directory");
    let console = out.join("console");
    let bind = |from: &Path, to: &str| format!("{}:{to}", from.display());
    let mut container = Command::new("systemd-nspawn");
    container
        // All changes are lost: the tree stays as debootstrap made it.
        .args(["--quiet", "--volatile=overlay", "--register=no", "--keep-unit", "--console=pipe", "-D"])
        .arg(root)
        .arg(format!("--bind={}", bind(out, "/out")))
        .arg(format!("--bind-ro={}", bind(&here.join("tests/systemd"), "/test")))
        .arg(format!("--bind-ro={}", bind(&here.join("systemd"), "/src/systemd")))
        .arg(format!(
            "--bind-ro={}",
            bind(Path::new(env!("CARGO_BIN_EXE_rearguard")), "/src/target/release/rearguard")
        ))
        .arg(format!("--bind-ro={}", bind(&out.join("inside.service"), "/etc/systemd/system/inside.service")))
        .args(["-b", "systemd.unit=inside.service"])
        .stdin(Stdio::null())
        .stdout(File::create(&console).expect("can be written"))
        .stderr(File::options().append(true).open(&console).expect("can be written"));
    wait_for(container.spawn().expect("systemd-nspawn starts"));
    fs::read_to_string(console).unwrap_or_default()
}

/// Waits for the container's end; halts it after [`BOOT_TIMEOUT`].
fn wait_for(mut container: Child) {
    let started = Instant::now();
    let mut halting = false;
    while container.try_wait().expect("can be waited for").is_none() {
        if started.elapsed() > BOOT_TIMEOUT + HALT_TIMEOUT {
            container.kill().expect("can be killed");
        } else if started.elapsed() > BOOT_TIMEOUT && !halting {
            eprintln!("the container is not off after {BOOT_TIMEOUT:?} and is halted");
            let container = rustix::process::Pid::from_child(&container);
            rustix::process::kill_process(container, rustix::process::Signal::TERM).expect("can be halted");
            halting = true;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Splits the report at its lines `@@ NAME`.
fn sections(report: &str) -> BTreeMap<&str, String> {
    let mut sections = BTreeMap::new();
    let mut name = "";
    for line in report.lines() {
        match line.strip_prefix("@@ ") {
            Some(next) => name = next,
            None => {
                let text: &mut String = sections.entry(name).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    sections
}

/// Serves as PagerDuty, as far as the daemon needs: notes every event in `pages` and says yes. Returns its address.
fn pagerduty(pages: PathBuf) -> String {
    // The container shares this host's network.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // By name, so that the sandbox must let names be resolved.
    let address = format!("http://localhost:{port}");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = pages.clone();
            // A connection that breaks off is the daemon's end, not ours.
            thread::spawn(move || answer(stream, &pages).unwrap_or_default());
        }
    });
    address
}

/// Answers the requests of one connection.
fn answer(stream: TcpStream, pages: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        body.push(b'\n');
        File::options().create(true).append(true).open(pages)?.write_all(&body)?;
        let yes = r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#;
        write!(
            &stream,
            "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{yes}",
            yes.len()
        )?;
    }
}
