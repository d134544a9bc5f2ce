use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::engine::Engine;
use crate::engine::decision::{AtMost, Mode, State, StepAction};
use crate::engine::evaluation::Tells;
use crate::engine::model::{Labels, Sample};
use crate::engine::rules::Level;
use crate::engine::series::{Limits, Observation, Selector, Sources};
use crate::engine::time::{Span, Timestamp};

const ROOT: &str = r#"
rules: [rules/*.yaml]
targets: { app: { plans: [undo] } }
sources: { metrics: { scrape: "http://127.0.0.1:1/metrics" } }
rollbacks:
  undo:
    steps: [{ name: one, exec: [/bin/true, "{reason}"], timeout: 10s }, { name: two, http: { put: "http://127.0.0.1:2/" }, timeout: 20s }]
    verify: { warm_up: 5s, within: 25s, conditions: [e < 1%] }
receivers:
  pager: { pagerduty: { routing_key: { credential: pd } } }
  mail: { email: { smtp: "[::1]:465", from: a@example.com, to: [b@example.com], username: u, password: { file: pw } } }
escalations: { ops: [{ notify: [pager, mail] }] }
"#;

const RULES: &str = "
target: app
sources: [metrics]
indicators: { e: { unit: ratio, expr: avg(errors) } }
triggers: [{ name: T, when: e > 2%, then: { rollback: undo, page: ops } }]
";

fn set(root: &str, rules: &str) -> Vec<(PathBuf, String)> {
    vec![
        (PathBuf::from("/etc/rearguard/rearguard.yaml"), root.to_owned()),
        (PathBuf::from("/etc/rearguard/rules/app.yaml"), rules.to_owned()),
    ]
}

fn loaded(root: &str, rules: &str) -> Loaded {
    load_texts(set(root, rules)).unwrap_or_else(|refused| panic!("{}", refused.render(Style::Plain)))
}

fn codes(refused: &Refused) -> Vec<&'static str> {
    refused
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .map(|problem| problem.code)
        .collect()
}

#[test]
fn defaults_are_applied_and_paths_are_absolute() {
    let Loaded { config, setup, warnings, files } = loaded(ROOT, RULES);
    assert_eq!(warnings, []);
    assert_eq!(files.len(), 2);
    assert_eq!(config.state, Path::new("/var/lib/rearguard"));
    assert_eq!(config.control, Path::new("/run/rearguard/control.sock"));
    let target = &setup.targets["app"];
    assert_eq!(target.mode, Mode::Shadow);
    assert_eq!(target.at_most, AtMost { count: 3, per: Span::from_secs(86_400) });
    assert_eq!(target.cooldown, Span::from_secs(600));
    let scrape = &config.sources["metrics"];
    assert_eq!((scrape.every, scrape.timeout), (Span::from_secs(5), Span::from_secs(3)));
    assert_eq!(setup.sources["metrics"].silent_after, Span::from_secs(60));
    // 10 s and 20 s of steps, 5 s of warm-up, 25 s of looking.
    assert_eq!(setup.plans["undo"].deadline, Span::from_secs(60));
    let put =
        StepAction::Http { method: "PUT".to_owned(), url: "http://127.0.0.1:2/".to_owned(), body: None };
    assert_eq!(setup.plans["undo"].steps[1].action, put);
    let Receiver::Email(mail) = &config.receivers["mail"] else { panic!("mail is an email receiver") };
    assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("::1", 465, MailTls::Implicit));
    let password = mail.credentials.as_ref().map(|(_, password)| &password.source);
    assert_eq!(password, Some(&SecretSource::File("/etc/rearguard/pw".into())));
    assert_eq!(setup.receivers_of(Some(&"ops".into())).len(), 2);
    assert_eq!(setup.rules.triggers.len(), 1);
}

#[test]
fn what_is_remembered_is_bounded_and_may_be_widened() {
    let default = loaded(ROOT, RULES).setup.memory;
    assert_eq!((default.limits, default.keep.len()), (Limits::default(), 0));
    let limits = "limits: { reach: 12h, series_per_source: 10, labels_per_series: 20, label_bytes: 30 }";
    let source = r#"metrics" , every: 5s, keep: [go_goroutines, "http_*", "*", '{__name__=~"a|b", c!="d"}']"#;
    let root = format!("{limits}{}", ROOT.replace("metrics\" ", source));
    let memory = loaded(&root, RULES).setup.memory;
    let reach = Span::from_secs(12 * 3600);
    let expected = Limits { reach, series_per_source: 10, labels_per_series: 20, label_bytes: 30 };
    assert_eq!(memory.limits, expected);
    let names = ["go_goroutines", "http_requests_total", "a", "xhttp_"];
    let kept = |selector: &Selector| names.map(|name| selector.may_select_name(name));
    let kept: Vec<_> = memory.keep.iter().map(kept).collect();
    let expected =
        [[true, false, false, false], [false, true, false, false], [true; 4], [false, false, true, false]];
    assert_eq!(kept, expected);
    assert!(
        memory.keep.iter().all(|selector| selector.sources() == &Sources::Only(["metrics".into()].into()))
    );
}

#[test]
fn what_cannot_be_remembered_is_told() {
    let cases = [
        ("limits: { reach: 4m }", "", "bad-limit"),
        ("limits: { reach: 0s }", "", "bad-duration"),
        ("limits: { series_per_source: -1 }", "", "bad-limit"),
        ("limits: { label_bytes: many }", "", "bad-limit"),
        ("limits: { series: 1 }", "", "unknown-key"),
        ("", "rate(x[5m])", "bad-selector"),
        ("", "x offset 5m", "bad-selector"),
        ("", "x[5m]", "bad-selector"),
        ("", "1", "bad-selector"),
        ("", "http-*", "bad-selector"),
        ("", "{}", "bad-selector"),
    ];
    for (limits, keep, expected) in cases {
        let keep = if keep.is_empty() { String::new() } else { format!(", keep: ['{keep}']") };
        let root = format!("{limits}{}", ROOT.replace("metrics\" }", &format!("metrics\"{keep} }}")));
        let refused = load_texts(set(&root, RULES)).err().map(|refused| codes(&refused));
        assert_eq!(refused, Some(vec![expected]), "{root}");
    }
}

#[test]
fn what_is_kept_for_how_long_is_read_and_bounded() {
    let kept = |text: &str| loaded(&format!("{text}\n{ROOT}"), RULES).config.retention;
    let days = |count: i64| Span::from_secs(count * 86_400);
    assert_eq!(kept(""), Retention { events: days(365), outputs: days(90), journal_bytes: 1_000_000_000 });
    let said = kept("retention: { events: 2y, outputs: 1w, journal_size: 500MB }");
    assert_eq!(said, Retention { events: days(730), outputs: days(7), journal_bytes: 500_000_000 });
    for (retention, expected) in [
        ("{ events: 1h }", "bad-retention"),
        ("{ outputs: forever }", "bad-duration"),
        ("{ journal_size: 1MB }", "bad-retention"),
        ("{ journal_size: 1000000000 }", "bad-retention"),
        ("{ samples: 1d }", "unknown-key"),
        ("1y", "wrong-type"),
    ] {
        let refused = load_texts(set(&format!("retention: {retention}\n{ROOT}"), RULES)).err();
        assert_eq!(refused.map(|refused| codes(&refused)), Some(vec![expected]), "{retention}");
    }
}

#[test]
fn imported_rules_take_the_settings_of_the_file() {
    let rules = "groups: [{ name: g, rules: [{ alert: A, expr: 'sum_over_time(x[5m:]) > 1' }] }, { name: h, interval: 7s }]";
    // Imported rules have no indicators that a rollback could be proven by.
    let root: String =
        ROOT.lines().filter(|line| !line.contains("verify")).map(|line| format!("{line}\n")).collect();
    let without = loaded(&root, rules).setup;
    assert_eq!(without.rules.groups[0].interval, Span::from_secs(60), "Prometheus' own default");
    assert_eq!((without.routes.len(), without.external_url.as_str()), (0, ""));
    let root = format!(
        "interval: 15s\nexternal_url: http://r.example/\nexternal_labels: {{ region: eu }}\n{root}routes:
  - {{ match: {{ severity: critical }}, matchers: ['team=~\"a|b\"', 'env!=\"dev\"'], target: app, then: {{ rollback: undo, page: ops }} }}
  - {{ target: app, then: {{ page: ops }} }}
"
    );
    let setup = loaded(&root, rules).setup;
    let intervals: Vec<_> = setup.rules.groups.iter().map(|group| group.interval.as_millis()).collect();
    assert_eq!(intervals, [15_000, 7_000]);
    assert_eq!(setup.external_url, "http://r.example/");
    assert_eq!(setup.external_labels.get("region"), Some("eu"));
    let taken = |pairs: &[(&str, &str)]| {
        let labels = Labels::from_pairs(pairs.iter().copied());
        setup.routes.iter().position(|route| route.matches(&labels))
    };
    assert_eq!(taken(&[("severity", "critical"), ("team", "b")]), Some(0));
    assert_eq!(taken(&[("severity", "critical"), ("team", "bb")]), Some(1));
    assert_eq!(taken(&[("severity", "critical"), ("team", "a"), ("env", "dev")]), Some(1));
    assert_eq!(setup.routes[0].then.rollback, Some("undo".into()));
    assert_eq!((setup.routes[1].target.as_str(), setup.routes[1].then.rollback.as_ref()), ("app", None));
}

#[test]
fn relative_settings_begin_at_the_file() {
    let root = format!("state: data\ncontrol: ../run/socket\n{ROOT}");
    let config = loaded(&root, RULES).config;
    assert_eq!(config.state, Path::new("/etc/rearguard/data"));
    assert_eq!(config.control, Path::new("/etc/rearguard/../run/socket"));
}

#[test]
fn a_set_is_known_by_its_texts() {
    let print = |root: &str, rules: &str| loaded(root, rules).setup.fingerprint;
    let base = print(ROOT, RULES);
    assert_eq!(base.len(), 64);
    assert_eq!(print(ROOT, RULES), base);
    assert_ne!(print(ROOT, &format!("{RULES}# one more comment\n")), base);
    let mut moved = set(ROOT, RULES);
    moved[0].0 = "elsewhere/rearguard.yaml".into();
    let moved = load_texts(moved).map(|loaded| loaded.setup.fingerprint).map_err(|refused| codes(&refused));
    assert_eq!(moved, Ok(base));
}

#[test]
fn a_set_loads_whole_or_not_at_all() {
    let cases = [
        (ROOT.to_owned(), RULES.replace("e > 2%", "e > 2s"), vec!["wrong-unit"]),
        (ROOT.replace("[undo]", "[undone]"), RULES.to_owned(), vec!["unknown-name", "plan-not-allowed"]),
        (ROOT.replace("e < 1%", "f < 1%"), RULES.to_owned(), vec!["unknown-indicator"]),
        (
            ROOT.replace("/bin/true", "true"),
            RULES.replace("ops", "op"),
            vec!["relative-program", "unknown-name"],
        ),
        ("- a list".to_owned(), RULES.to_owned(), vec!["wrong-type"]),
        (String::new(), RULES.to_owned(), vec!["empty-file"]),
    ];
    for (root, rules, expected) in cases {
        let told =
            load_texts(set(&root, &rules)).map(|loaded| loaded.files).map_err(|refused| codes(&refused));
        // An unknown plan in `plans:` leaves `undo` unused, so its conditions are not looked at.
        assert_eq!(told.err(), Some(expected), "{root}");
    }
    assert_eq!(
        load_texts(Vec::new()).map_err(|refused| codes(&refused)).err(),
        Some(vec!["unreadable-file"])
    );
}

#[test]
fn rollbacks_without_receivers_are_refused() {
    let start = ROOT.find("receivers:").expect("is there");
    let refused =
        load_texts(set(&ROOT[..start], &RULES.replace(", page: ops", ""))).expect_err("nobody would hear");
    assert_eq!(codes(&refused), ["no-receivers"]);
}

#[test]
fn rule_files_are_found_beside_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("rules")).expect("created");
    std::fs::write(at("rearguard.yaml"), ROOT).expect("written");
    let refused = load(&at("rearguard.yaml")).expect_err("has no rules");
    assert_eq!(codes(&refused), ["no-rule-files"]);
    std::fs::write(at("rules/app.yaml"), RULES).expect("written");
    // A rule test, an editor's leavings and another kind of file are none of ours.
    for name in ["rules/app.test.yaml", "rules/.app.yaml", "rules/app.yaml~", "rules/README"] {
        std::fs::write(at(name), "nonsense: [").expect("written");
    }
    let loaded =
        load(&at("rearguard.yaml")).unwrap_or_else(|refused| panic!("{}", refused.render(Style::Plain)));
    let paths: Vec<_> = loaded.files.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, [at("rearguard.yaml"), at("rules/app.yaml")]);
    // What the journal keeps loads to the same set.
    let again =
        load_texts(loaded.files).map(|again| again.setup.fingerprint).map_err(|refused| codes(&refused));
    assert_eq!(again, Ok(loaded.setup.fingerprint));
}

#[test]
fn secrets_are_read_from_credentials_and_guarded_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let mut files = set(ROOT, RULES);
    files[0].0 = at("rearguard.yaml");
    let config = load_texts(files).expect("loads").config;
    let told = |credentials: Option<&Path>| match read_secrets(&config, credentials) {
        Ok(secrets) => Ok(secrets.len()),
        Err(problems) => {
            Err(problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
        }
    };
    let mode = |name: &str, mode| {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    let both = told(None).expect_err("nothing is there");
    assert!(both.contains("$CREDENTIALS_DIRECTORY is not set") && both.contains("No such file"), "{both}");
    std::fs::write(at("pw"), "hunter2\n").expect("written");
    std::fs::write(at("pd"), "key\n").expect("written");
    mode("pw", 0o640);
    let open = told(Some(directory.path())).expect_err("is open to the group");
    assert!(open.contains("open to others (mode 0640)"), "{open}");
    mode("pw", 0o600);
    assert_eq!(told(Some(directory.path())), Ok(2));
    let secrets = read_secrets(&config, Some(directory.path())).expect("are there");
    assert_eq!(secrets["mail"].expose(), "hunter2");
    assert!(!format!("{secrets:?}").contains("hunter2"));
    std::fs::write(at("pd"), "\n").expect("written");
    assert!(told(Some(directory.path())).expect_err("is empty").contains("is empty"));
}

#[test]
fn the_starter_loads() {
    let starter = include_str!("../../rules/starter.yaml");
    let root = ROOT.replace("app:", "my-app:").replace("metrics:", "app:").replace("ops:", "on-call:");
    let root = root.replace("e < 1%", "error_ratio < 1%");
    let loaded = loaded(&root, starter);
    assert_eq!(loaded.render_warnings(Style::Plain), "");
    assert_eq!(loaded.setup.rules.triggers.len(), 4);
}

/// Breaks a text in one of several small ways, the way a hand on a keyboard does.
fn mutated(text: &str, at: usize, kind: u8, letter: char) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let at = at % characters.len();
    match kind % 5 {
        0 => characters.insert(at, letter),
        1 => drop(characters.remove(at)),
        2 => characters[at] = letter,
        3 => characters.truncate(at),
        _ => {
            let line: Vec<char> = characters[at..].iter().copied().take_while(|c| *c != '\n').collect();
            characters.splice(at..at, line);
        }
    }
    characters.into_iter().collect()
}

proptest::proptest! {
    #[test]
    fn broken_files_are_answered_and_nothing_panics(
        mutations in proptest::collection::vec((0_usize..2000, 0_u8..5, "[ a-z0-9:{}\\[\\]\"'#&*!|>%\\\\\n\t-éß]", proptest::bool::ANY), 1..4)
    ) {
        let (mut root, mut rules) = (ROOT.to_owned(), RULES.to_owned());
        for (at, kind, letter, in_root) in mutations {
            let text = if in_root { &mut root } else { &mut rules };
            if !text.is_empty() {
                *text = mutated(text, at, kind, letter.chars().next().unwrap_or(' '));
            }
        }
        match load_texts(set(&root, &rules)) {
            Ok(loaded) => {
                proptest::prop_assert_eq!(loaded.render_warnings(Style::Plain).is_empty(), loaded.warnings.is_empty());
            }
            Err(refused) => {
                proptest::prop_assert!(refused.problems.iter().any(|problem| problem.level == Level::Error));
                proptest::prop_assert!(refused.render(Style::Plain).contains("error"));
            }
        }
    }
}

#[test]
fn a_unit_whose_starts_are_deployments_is_a_source_of_its_own() {
    let root = ROOT.replace("[undo] }", "[undo], deployments: { detect: { unit: app@blue.service } } }");
    let Loaded { config, setup, .. } = loaded(&format!("{root}\ninterval: 7s\n"), RULES);
    let source = "unit:app@blue.service";
    let unit = WatchedUnit { unit: "app@blue.service".to_owned(), every: Span::from_secs(7) };
    assert_eq!(config.units.iter().collect::<Vec<_>>(), [(&source.into(), &unit)]);
    assert_eq!(setup.sources[source].every, Span::from_secs(7));
    let detect = setup.targets["app"].detect.clone().expect("something is looked at");
    assert_eq!((detect.source.as_str(), detect.tells), (source, Tells::Restart));
    let wrong = root.replace("unit: app@blue.service", "unit: ../app.service, label: v");
    let refused = load_texts(set(&wrong, RULES)).expect_err("is no unit");
    assert_eq!(codes(&refused), ["bad-unit", "bad-detect"]);
}

#[test]
fn a_history_keeps_what_is_kept_for_so_long_and_what_is_promised_with_it() {
    for (written, days) in [("1d", 1), ("7d", 7), ("30d", 30), ("90d", 90), ("1y", 365)] {
        let Loaded { setup, .. } = loaded(&format!("{ROOT}\nhistory: {written}\n"), RULES);
        let engine = Engine::new(Arc::new(setup), State::default(), Timestamp::from_millis(0));
        assert_eq!(engine.retention(), Span::from_secs(days * 86_400), "{written}");
        assert!(engine.setup().sources.contains_key("rearguard"), "its own series are made");
        let own = crate::engine::model::Labels::from_pairs([
            ("__name__", "rearguard_compliance_score"),
            ("job", "rearguard"),
            ("target", "app"),
        ]);
        let sample = Sample { labels: own, at: Timestamp::from_millis(0), value: 70.0 };
        let said = Observation {
            source: "rearguard".into(),
            at: sample.at,
            took: Span::ZERO,
            answer: Ok(vec![sample]),
            told: None,
        };
        assert_eq!(engine.kept_of(&said), said, "and kept");
    }
    let Loaded { setup, .. } = loaded(ROOT, RULES);
    assert!(!setup.sources.contains_key("rearguard"));
    let refused = load_texts(set(&format!("{ROOT}\nhistory: 2y\n"), RULES)).expect_err("is too long");
    assert_eq!(codes(&refused), ["bad-history"]);
}
