//! The table of `rules/README.md` against what is there: every demand once, every file and test that it names, every test
//! that names a demand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rearguard::config::source_file;
use rearguard::engine::rules::yaml::{self, Node};

/// The demands of the five platforms, by how many each has.
const DEMANDS: [(&str, usize); 5] = [("S0", 21), ("S1", 11), ("S2", 11), ("S3", 14), ("S4", 10)];

/// A row of the table: its id, what holds it, a test that shows it, and one that shows its limit.
struct Row {
    id: String,
    held_by: String,
    shown_by: String,
    not_by: String,
}

/// One test of a rule test file.
struct RuleTest {
    name: String,
    /// Whether it expects that something fires, is rolled back or paged, or a number.
    acts: bool,
    /// Whether it expects that something does not happen.
    holds_back: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("rules/README.md")).expect("rules/README.md can be read")
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, _, held_by, shown_by, not_by, _] = cells.as_slice() else {
            panic!("a row has five cells: {line}");
        };
        let [id, held_by, shown_by, not_by] = [id, held_by, shown_by, not_by].map(|cell| (*cell).to_owned());
        Row { id, held_by, shown_by, not_by }
    };
    readme().lines().filter(|line| is_id(line.trim_start_matches("| "))).map(row).collect()
}

/// Returns whether a text begins with the id of a demand: `S0-01`.
fn is_id(text: &str) -> bool {
    let shape: Vec<char> = text.chars().take(6).collect();
    match shape.as_slice() {
        ['S', a, '-', b, c, ' '] => [a, b, c].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    }
}

/// Returns what stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Node::Mapping(entries, _) = node else { return None };
    entries.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match value(node, key) {
        Some(Node::Sequence(items, _)) => items,
        _ => &[],
    }
}

/// Returns whether a key has this text as its value.
fn says(node: &Node, key: &str, text: &str) -> bool {
    matches!(value(node, key), Some(Node::Scalar(scalar)) if scalar.value == text)
}

fn rule_tests(path: &Path) -> Vec<RuleTest> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = source_file(path, &text);
    let tree = yaml::parse(&file).unwrap_or_else(|problem| panic!("{}: {problem:?}", path.display()));
    let tree = tree.expect("there is something in it");
    let read = |test: &Node| {
        let Some(Node::Scalar(name)) = value(test, "name") else { panic!("{}: no name", path.display()) };
        let expected = items(test, "expect");
        let happens = |expected: &Node| {
            let acts = ["fires", "rollback", "page", "incident", "event", "query"];
            value(expected, "refused").is_none() && acts.iter().any(|key| value(expected, key).is_some())
        };
        let does_not = |expected: &Node| {
            ["never", "refused"].iter().any(|key| value(expected, key).is_some())
                || says(expected, "verdict", "holds")
                || says(expected, "is", "quiet")
        };
        // In promtool's format: the alerts that are expected, or that there are none.
        let alerts: Vec<bool> = items(test, "alert_rule_test")
            .iter()
            .map(|check| !items(check, "exp_alerts").is_empty())
            .collect();
        RuleTest {
            name: name.value.clone(),
            acts: expected.iter().any(happens) || alerts.contains(&true),
            holds_back: expected.iter().any(does_not) || alerts.contains(&false),
        }
    };
    items(&tree, "tests").iter().map(read).collect()
}

/// Returns the tests of every shipped rule file, by the file's name.
fn shipped() -> BTreeMap<String, Vec<RuleTest>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("rules")).expect("rules/ can be listed") {
        let path = entry.expect("can be listed").path();
        let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".yaml").filter(|stem| !stem.ends_with(".test")) else { continue };
        let tests = path.with_file_name(format!("{stem}.test.yaml"));
        assert!(tests.exists(), "{name} has no {stem}.test.yaml beside it");
        all.insert(name, rule_tests(&tests));
    }
    assert!(all.len() >= 10, "the rule files are found: {:?}", all.keys());
    all
}

#[test]
fn every_demand_has_one_row_in_their_order() {
    let expected: Vec<String> = DEMANDS
        .iter()
        .flat_map(|(platform, count)| (1..=*count).map(move |at| format!("{platform}-{at:02}")))
        .collect();
    let told: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    assert_eq!(told, expected);
}

#[test]
fn what_holds_a_demand_is_there_and_its_tests_show_both_sides() {
    let shipped = shipped();
    let mut wrong = Vec::new();
    for Row { id, held_by, shown_by, not_by } in rows() {
        let quoted = quoted(&held_by);
        let tests: Vec<&RuleTest> = quoted.iter().filter_map(|name| shipped.get(*name)).flatten().collect();
        for name in &quoted {
            let is_path = name.contains('/') || name.ends_with(".yaml");
            if is_path && !shipped.contains_key(*name) && !root().join(name).exists() {
                wrong.push(format!("{id}: there is no `{name}`"));
            }
        }
        if tests.is_empty() {
            if !(shown_by.is_empty() && not_by.is_empty()) {
                wrong.push(format!("{id}: no rule file holds it, and it names rule tests"));
            }
            if !held_by.contains("not yet") && quoted.is_empty() {
                wrong.push(format!("{id}: it says neither what holds it nor that nothing does"));
            }
            continue;
        }
        let find = |name: &str| tests.iter().find(|test| test.name == format!("{id} {name}"));
        match find(&shown_by) {
            None => wrong.push(format!("{id}: no test in {held_by} is called `{id} {shown_by}`")),
            Some(test) if !test.acts => wrong.push(format!("{id}: `{shown_by}` expects nothing to happen")),
            Some(_) => {}
        }
        match find(&not_by) {
            None => wrong.push(format!("{id}: no test in {held_by} is called `{id} {not_by}`")),
            Some(test) if !test.holds_back => {
                wrong.push(format!("{id}: `{not_by}` does not expect that something stays away"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "rules/README.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_test_that_names_a_demand_stands_in_its_row() {
    let rows: BTreeMap<String, String> = rows().into_iter().map(|row| (row.id, row.held_by)).collect();
    let mut found = 0;
    let mut names = BTreeSet::new();
    for (file, tests) in shipped() {
        for test in tests {
            assert!(names.insert((file.clone(), test.name.clone())), "{file}: two tests `{}`", test.name);
            if !is_id(&test.name) {
                continue;
            }
            let held_by =
                rows.get(&test.name[..5]).unwrap_or_else(|| panic!("{file}: no demand `{}`", test.name));
            let is_named = quoted(held_by).contains(&file.as_str());
            assert!(is_named, "rules/README.md does not say that {file} holds {}", &test.name[..5]);
            found += 1;
        }
    }
    assert!(found > 250, "the tests are found: {found}");
}

#[test]
fn every_shipped_file_is_listed() {
    let readme = readme();
    for file in shipped().keys() {
        assert!(readme.contains(&format!("| `{file}` |")), "rules/README.md does not list {file}");
    }
}
