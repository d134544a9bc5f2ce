//! The rules of the house, checked on the sources themselves: who may name whom, what the pure core must not know, how
//! large things may grow. A violation is told as `file:line: rule`.

#[path = "house/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// A part of the program and the parts that it may name. `engine` as a whole stands for everything in it.
struct Room {
    name: &'static str,
    may_name: &'static [&'static str],
    rule: &'static str,
}

/// The parts of the engine, in the order in which data flows.
const INSIDE: &str =
    "inside the engine: time, model <- series <- promql <- rules <- evaluation <- decision <- root";

/// `decision` judges verdicts. If it saw samples, what was decided could not be told from its events.
const DECISION: &str = "decision never sees samples: it names neither series nor promql";

/// Each of these can be changed, tested and replaced without the others.
const SHELL: &str = "sources, effects, journal and config name the engine and never each other";

/// Only the drivers know more than one of them.
const DRIVERS: &str =
    "daemon and replay put the shell together; they name neither each other nor web nor cli";

/// It shows what the daemon is and changes nothing; whoever starts the daemon brings it along.
const WINDOW: &str = "web looks into the daemon, which knows nothing of it";

/// Who may name whom. What is not here may not exist.
const HOUSE: &[Room] = &[
    Room { name: "engine::time", may_name: &[], rule: INSIDE },
    Room { name: "engine::model", may_name: &["engine::time"], rule: INSIDE },
    // Plain values too: the reasons that a decision gives.
    Room { name: "engine::report", may_name: &["engine::time", "engine::model"], rule: INSIDE },
    Room { name: "engine::series", may_name: &["engine::time", "engine::model"], rule: INSIDE },
    Room {
        name: "engine::promql",
        may_name: &["engine::time", "engine::model", "engine::series"],
        rule: INSIDE,
    },
    Room {
        name: "engine::rules",
        may_name: &["engine::time", "engine::model", "engine::series", "engine::promql"],
        rule: INSIDE,
    },
    Room {
        name: "engine::evaluation",
        may_name: &["engine::time", "engine::model", "engine::series", "engine::promql", "engine::rules"],
        rule: INSIDE,
    },
    Room {
        name: "engine::decision",
        may_name: &["engine::time", "engine::model", "engine::report", "engine::rules", "engine::evaluation"],
        rule: DECISION,
    },
    Room { name: "engine", may_name: &["engine"], rule: "the engine names nothing outside itself" },
    Room { name: "secret", may_name: &[], rule: "secret is a leaf" },
    Room { name: "process", may_name: &[], rule: "process is a leaf" },
    Room { name: "probe", may_name: &["engine"], rule: "probe is plain values, beside the engine's" },
    Room { name: "sources", may_name: &["engine", "secret", "probe", "process"], rule: SHELL },
    Room { name: "effects", may_name: &["engine", "secret", "probe", "process"], rule: SHELL },
    Room { name: "journal", may_name: &["engine", "secret"], rule: SHELL },
    Room { name: "config", may_name: &["engine", "secret", "probe"], rule: SHELL },
    Room {
        name: "daemon",
        may_name: &["engine", "secret", "probe", "sources", "effects", "journal", "config"],
        rule: DRIVERS,
    },
    Room {
        name: "replay",
        may_name: &["engine", "secret", "probe", "sources", "effects", "journal", "config"],
        rule: DRIVERS,
    },
    Room {
        name: "web",
        may_name: &["engine", "secret", "sources", "effects", "journal", "config", "daemon"],
        rule: WINDOW,
    },
    Room {
        name: "ingest",
        may_name: &["engine", "daemon", "web"],
        rule: "ingest takes what tokens may say to the daemon, over web's connections, and knows nothing else",
    },
    Room {
        name: "cli",
        may_name: &[
            "engine", "secret", "sources", "effects", "journal", "config", "daemon", "replay", "web",
            "ingest",
        ],
        rule: "cli sits on top",
    },
];

/// What of `evaluation` holds samples and is therefore closed to `decision`.
const HOLDS_SAMPLES: [&str; 4] = ["Measurements", "measurements", "SavedWindow", "*"];

/// The crates that the engine may use: they compute, and that is all they do.
const PURE_CRATES: [&str; 7] = ["serde", "thiserror", "regex", "strsim", "sha2", "granit_parser", "jiff"];

/// What of the standard library the engine must not know.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::future",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::*",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::collections::*",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::OnceLock",
    "std::sync::LazyLock",
    "std::sync::*",
    "std::hash::RandomState",
];

/// Words that have no place in the engine, in any position.
const IMPURE_WORDS: [&str; 4] = ["static", "async", "await", "unsafe"];

/// Macros that have no place in the engine.
const IMPURE_MACROS: [&str; 6] = ["println", "eprintln", "print", "eprint", "dbg", "thread_local"];

/// Drawers for leftovers: what is in them has no name yet.
const DRAWERS: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "misc", "shared"];

/// How many lines a file may have, tests not counted.
const LINES_MAX: usize = 500;

/// Files that are longer, with the length that they must not exceed and the reason why they may. It only ever shrinks.
const LONGER: &[(&str, usize, &str)] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file below `directory` (from the root on) that `wanted` accepts, in order.
fn files(directory: &str, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | ".git") {
                waiting.push(path);
            } else if path.is_file() && wanted(&path) {
                found.push(path.strip_prefix(root()).expect("is below").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Returns the program without the files that only tests see.
fn program() -> Vec<Source> {
    let all: Vec<Source> = files("src", &is_rust).iter().map(|path| Source::new(path, &read(path))).collect();
    let tests: BTreeSet<PathBuf> = all.iter().flat_map(|source| source.test_files.clone()).collect();
    let is_test =
        |path: &Path| tests.iter().any(|test| path == test || path.starts_with(test.with_extension("")));
    let program: Vec<Source> = all.into_iter().filter(|source| !is_test(&source.path)).collect();
    assert!(program.len() > 100, "the sources are found: {}", program.len());
    program
}

/// Returns the engine's files.
fn engine(program: &[Source]) -> impl Iterator<Item = &Source> {
    program.iter().filter(|source| source.module.first().is_some_and(|first| first == "engine"))
}

/// Returns the room in which a path ends: `engine::series` of `engine::series::Store`.
fn room_of(path: &[String]) -> String {
    match path {
        [first, second, ..]
            if first == "engine" && HOUSE.iter().any(|room| room.name == format!("engine::{second}")) =>
        {
            format!("engine::{second}")
        }
        [first, ..] => first.clone(),
        [] => String::new(),
    }
}

/// Returns whether one room lies in another: `engine::time` in `engine`.
fn lies_in(room: &str, other: &str) -> bool {
    room == other || room.strip_prefix(other).is_some_and(|rest| rest.starts_with("::"))
}

/// Fails with every violation, each on a line of its own.
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn violation(path: &Path, line: usize, rule: impl std::fmt::Display) -> String {
    format!("{}:{line}: {rule}", path.display())
}

/// Returns what is wrong with what `source` names.
fn import_violations(source: &Source) -> Vec<String> {
    let own = room_of(&source.module);
    if own.is_empty() {
        // The crate's root only lists its modules.
        return Vec::new();
    }
    let Some(room) = HOUSE.iter().find(|room| room.name == own) else {
        return vec![violation(
            &source.path,
            1,
            format!("`{own}` is not in the house: add it to the table with a reason"),
        )];
    };
    let mut violations = Vec::new();
    for named in source.named() {
        let other = room_of(&named.path);
        let text = named.path.join("::");
        let may = other == own || room.may_name.iter().any(|may| lies_in(&other, may));
        if !may {
            let rule = room.rule;
            violations.push(violation(
                &source.path,
                named.line,
                format!("`{own}` names `{text}`, but {rule}"),
            ));
        }
        let item = named.path.get(2).map_or("*", String::as_str);
        if own == "engine::decision" && other == "engine::evaluation" && HOLDS_SAMPLES.contains(&item) {
            violations.push(violation(
                &source.path,
                named.line,
                format!("`{own}` names `{text}`, but {DECISION}"),
            ));
        }
    }
    violations
}

#[test]
fn imports_run_one_way() {
    let violations: Vec<String> = program().iter().flat_map(import_violations).collect();
    assert_none(&violations);
}

#[test]
fn the_table_is_enforced() {
    let cases = [
        ("src/engine/decision/x.rs", "use crate::engine::series::Store;", true),
        ("src/engine/decision/x.rs", "fn f(plan: &crate::engine::promql::Plan) {}", true),
        ("src/engine/decision/x.rs", "use crate::engine::evaluation::{Verdict, Measurements};", true),
        ("src/engine/decision/x.rs", "use crate::engine::evaluation::*;", true),
        ("src/engine/decision/x.rs", "use crate::engine; fn f(_: engine::series::Store) {}", true),
        ("src/engine/decision/x.rs", "use super::super::series;", true),
        (
            "src/engine/decision/x.rs",
            "use crate::engine::evaluation::Verdict; use super::state::State;",
            false,
        ),
        ("src/engine/decision/x.rs", "use crate::engine::rules::{Condition, RuleSet};", false),
        ("src/engine/series/x.rs", "use crate::engine::promql::parse;", true),
        ("src/engine/mod.rs", "use crate::journal::Journal;", true),
        ("src/engine/mod.rs", "use self::series::Store; use crate::engine::decision::State;", false),
        ("src/engine/time.rs", "use crate::secret::Secret;", true),
        ("src/sources/x/mod.rs", "use super::super::effects::http;", true),
        ("src/sources/x/mod.rs", "use super::identity; use crate::engine::series::Observation;", false),
        ("src/journal/x.rs", "use crate::config::Config;", true),
        ("src/journal/x.rs", "use crate::{engine::Engine, daemon::core::Core};", true),
        ("src/effects/x.rs", "use crate::secret::Secret;", false),
        ("src/daemon/x.rs", "use crate::{config, effects, journal, sources};", false),
        ("src/daemon/x.rs", "use crate::cli::Exit;", true),
        ("src/web/x.rs", "use crate::daemon::queries::Queries;", false),
        ("src/web/x.rs", "use crate::cli::Exit;", true),
        ("src/daemon/x.rs", "use crate::web::serve;", true),
        ("src/cli/x.rs", "use crate::daemon::control::Request;", false),
        ("src/leftovers.rs", "", true),
    ];
    for (path, text, is_wrong) in cases {
        let violations = import_violations(&Source::new(Path::new(path), text));
        assert_eq!(!violations.is_empty(), is_wrong, "{path}: {text}: {violations:?}");
    }
}

#[test]
fn the_engine_is_pure() {
    let manifest = read(Path::new("Cargo.toml"));
    let dependencies: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .take_while(|line| *line != "[dev-dependencies]")
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .filter(|name| !name.starts_with('#'))
        .collect();
    assert!(dependencies.len() > 20, "the dependencies are found: {dependencies:?}");
    let standard = BTreeSet::from(["std", "core", "alloc"].map(str::to_owned));
    let mut violations = Vec::new();
    for source in engine(&program()) {
        let mut wrong = |line, rule: String| violations.push(violation(&source.path, line, rule));
        for named in source.named_of(&dependencies) {
            if !PURE_CRATES.contains(&named.path[0].as_str()) {
                wrong(
                    named.line,
                    format!("the engine uses `{}`, which may do more than compute", named.path[0]),
                );
            }
        }
        for named in source.named_of(&standard) {
            let text = format!("std::{}", named.path[1..].join("::"));
            if IMPURE.iter().any(|impure| lies_in(&text, impure)) {
                wrong(named.line, format!("the engine names `{text}`: no clock, no IO, no threads (E1)"));
            }
        }
        for (at, token) in source.tokens.iter().enumerate() {
            let clock = token.text == "now" && at > 0 && source.text(at - 1) == "::";
            let word = token.text.as_str();
            let called = source.text(at + 1) == "!" && IMPURE_MACROS.contains(&word);
            if clock || called || IMPURE_WORDS.contains(&word) {
                wrong(
                    token.line,
                    format!("the engine says `{}`: it is told the time and returns data (E1)", token.text),
                );
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn the_purity_lints_are_on_and_every_ban_has_a_reason() {
    let engine = read(Path::new("src/engine/mod.rs"));
    let head: Vec<&str> = engine.lines().take_while(|line| !line.starts_with("pub mod")).collect();
    assert!(
        head.contains(&"#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"),
        "src/engine/mod.rs: the purity lints are denied at its top"
    );
    let manifest = read(Path::new("Cargo.toml"));
    for lint in [
        "unsafe_code = \"forbid\"",
        "unused_must_use = \"deny\"",
        "allow_attributes_without_reason = \"deny\"",
        "todo = \"deny\"",
        "too_many_lines = \"warn\"",
    ] {
        assert!(manifest.contains(lint), "Cargo.toml: the lint `{lint}` is on");
    }
    let clippy = read(Path::new("clippy.toml"));
    assert!(clippy.contains("too-many-lines-threshold = 70"), "clippy.toml: functions fit a screen");
    let bans: Vec<&str> = clippy.lines().filter(|line| line.contains("path = ")).collect();
    assert!(bans.len() > 10, "clippy.toml: the bans are found: {bans:?}");
    for ban in bans {
        assert!(ban.contains("reason = \""), "clippy.toml: each ban says why: {ban}");
    }
}

#[test]
fn files_are_short_and_have_names() {
    let mut violations = Vec::new();
    let mut longer: BTreeMap<&str, usize> = LONGER.iter().map(|(path, lines, _)| (*path, *lines)).collect();
    for source in program() {
        let path = source.path.to_string_lossy().into_owned();
        let limit = longer.remove(path.as_str()).unwrap_or(LINES_MAX);
        if source.lines > limit {
            let rule =
                format!("{} lines without tests; {limit} is the limit: split it by noun", source.lines);
            violations.push(violation(&source.path, limit, rule));
        } else if limit > LINES_MAX && source.lines < limit {
            violations.push(violation(
                &source.path,
                1,
                format!("it has shrunk to {} lines: lower its limit", source.lines),
            ));
        }
        if let Some(drawer) = source.module.iter().find(|part| DRAWERS.contains(&part.as_str())) {
            violations.push(violation(
                &source.path,
                1,
                format!("`{drawer}` is a drawer for leftovers: name what is in it"),
            ));
        }
    }
    violations.extend(longer.keys().map(|gone| format!("{gone}: is gone or short: take it off the list")));
    assert_none(&violations);
}

#[test]
fn shortcuts_are_not_taken() {
    let program = program();
    let mut violations = Vec::new();
    for source in &program {
        let says = |at: usize, words: &[&str]| {
            words.iter().enumerate().all(|(offset, word)| source.text(at + offset) == *word)
        };
        for (at, token) in source.tokens.iter().enumerate() {
            let rule = if says(at, &["cfg", "!", "(", "test"]) {
                "no switch for tests inside the program: pass what differs"
            } else if says(at, &["todo", "!"]) || says(at, &["unimplemented", "!"]) {
                "nothing is left for later"
            } else {
                continue;
            };
            violations.push(violation(&source.path, token.line, rule));
        }
    }
    // In pieces, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for path in ["src", "tests", "benches"]
        .iter()
        .filter(|path| root().join(path).exists())
        .flat_map(|path| files(path, &is_rust))
    {
        let source = Source::new(&path, &read(&path));
        for comment in &source.comments {
            if comment.text.split(|char: char| !char.is_alphanumeric()).any(|word| marks.contains(&word)) {
                violations.push(violation(
                    &path,
                    comment.line,
                    "nothing is left for later: do it, or write an issue",
                ));
            }
        }
        for (at, token) in source.tokens.iter().enumerate() {
            let attribute = at > 0 && matches!(source.text(at - 1), "[") && source.text(at + 1) == "(";
            if token.text == "allow" && attribute {
                let rule = "`#[expect(lint, reason = \"...\")]` instead of `allow`: it tells when it is no longer needed";
                violations.push(violation(&path, token.line, rule));
            }
        }
    }
    assert_none(&violations);
}

/// The project must mean the same wherever it lies: no file names the directory in which it was written.
#[test]
fn no_file_names_the_place_where_it_was_written() {
    let is_own = |place: &Path| {
        let first = place.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
        // Directories that every host has may well be named: `/usr/local/bin`.
        let everywhere =
            ["bin", "dev", "etc", "lib", "mnt", "opt", "proc", "run", "srv", "sys", "tmp", "usr", "var"];
        first.is_some_and(|first| !everywhere.contains(&first.as_str()))
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let places = [Some(root().to_owned()), root().parent().map(Path::to_owned), home];
    let places: Vec<String> = places
        .into_iter()
        .flatten()
        .filter(|place| place == root() || is_own(place))
        .map(|place| format!("{}/", place.display()))
        .collect();
    let is_text = |path: &Path| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
        let extension = extension.unwrap_or_default();
        ["rs", "md", "toml", "yaml", "txt", "test", "service", "conf", "sh", ""].contains(&extension.as_str())
    };
    let mut violations = Vec::new();
    for path in files("", &is_text) {
        // Not every file without an extension is text.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                violations.push(violation(
                    &path,
                    number + 1,
                    format!("names `{place}`, which only one machine has"),
                ));
            }
        }
    }
    assert_none(&violations);
}
