//! What the documents claim, tried out: files load, commands exist, lists are complete, paths lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rearguard::config::{self, Style};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the fenced blocks of `language` in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == fence {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

/// Returns everything in a document that stands between backticks, fenced blocks left out.
fn quoted(document: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let prose = document.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    let prose: Vec<&str> = prose.collect();
    prose.join(" ").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the README's two files: the one that its first line calls `rearguard.yaml`, and the rule file.
fn files() -> (String, String) {
    let all = blocks(&read("README.md"), "yaml");
    let find = |name: &str| {
        let first = format!("# /etc/rearguard/{name}");
        let found = all.iter().find(|block| block.lines().next() == Some(first.as_str()));
        found.unwrap_or_else(|| panic!("README.md has a block that begins with `{first}`")).clone()
    };
    (find("rearguard.yaml"), find("rules/my-app.yaml"))
}

/// Loads a set as `rearguard check` does, and returns how many triggers are in it.
fn triggers(root: &str, rules: &str) -> usize {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("rules")).expect("created");
    std::fs::write(directory.path().join("rearguard.yaml"), root).expect("written");
    std::fs::write(directory.path().join("rules/my-app.yaml"), rules).expect("written");
    let loaded = config::load(&directory.path().join("rearguard.yaml"))
        .unwrap_or_else(|refused| panic!("{}", refused.render(Style::Plain)));
    assert_eq!(loaded.render_warnings(Style::Plain), "");
    loaded.setup.rules.triggers.len()
}

#[test]
fn the_files_in_the_readme_load_without_a_warning() {
    let (root, rules) = files();
    assert_eq!(triggers(&root, &rules), 1);
    let lines = rules.lines().filter(|line| !line.starts_with('#')).count();
    assert!(lines <= 10, "the rule file has ten lines: {lines}");
}

#[test]
fn the_starter_loads_under_the_readme_s_configuration() {
    let (root, _) = files();
    assert_eq!(triggers(&root, &read("rules/starter.yaml")), 4);
}

#[test]
fn the_test_of_the_rule_file_in_the_readme_passes_and_fails_as_shown() {
    let readme = read("README.md");
    let directory = tempfile::tempdir().expect("a directory");
    let tests = blocks(&readme, "yaml").into_iter().find(|block| block.starts_with("# my-app.test.yaml\n"));
    let tests = tests.expect("README.md has a block that begins with `# my-app.test.yaml`");
    let (_, rules) = files();
    let test = |rules: &str| {
        std::fs::write(directory.path().join("my-app.yaml"), rules).expect("written");
        std::fs::write(directory.path().join("my-app.test.yaml"), &tests).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
            .current_dir(directory.path())
            .args(["test", "my-app.test.yaml"])
            .output()
            .expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = test(&rules);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = test(&rules.replace("for: 60s", "for: 80s"));
    assert_eq!(code, Some(1), "{said}");
    assert!(blocks(&readme, "text").contains(&said), "README.md shows this:\n{said}");
}

#[test]
fn the_rule_test_in_the_readme_passes_and_fails_as_shown() {
    let readme = read("README.md");
    let directory = tempfile::tempdir().expect("a directory");
    let block = |name: &str| {
        let first = format!("# {name}\n");
        let found = blocks(&readme, "yaml").into_iter().find(|block| block.starts_with(&first));
        found.unwrap_or_else(|| panic!("README.md has a block that begins with `# {name}`"))
    };
    let test = |tests: &str| {
        std::fs::write(directory.path().join("shop.rules.yaml"), block("shop.rules.yaml")).expect("written");
        std::fs::write(directory.path().join("shop.test.yaml"), tests).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
            .current_dir(directory.path())
            .args(["test", "shop.test.yaml"])
            .output()
            .expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let written = block("shop.test.yaml");
    let (code, said) = test(&written);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = test(&written.replace("severity: page", "severity: critical"));
    assert_eq!(code, Some(1), "{said}");
    assert!(blocks(&readme, "text").contains(&said), "README.md shows this:\n{said}");
}

#[test]
fn every_command_that_documents_name_exists() {
    let mut named = BTreeSet::new();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        let text = read(document);
        let shell = blocks(&text, "sh").join("\n");
        let calls = shell.lines().map(str::trim).map(str::to_owned).chain(quoted(&text));
        for call in calls {
            let call = call.trim_start_matches("sudo ").replace("cargo run --release --", "rearguard");
            let words: Vec<&str> = call.split_whitespace().collect();
            if let ["rearguard", command, rest @ ..] = words.as_slice() {
                let action = rest.first().filter(|_| matches!(*command, "incident" | "rollback"));
                named.insert(((*command).to_owned(), action.map(|word| (*word).to_owned())));
            }
        }
    }
    assert!(named.len() >= 6, "the documents show how to use it: {named:?}");
    for (command, action) in named {
        let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
            .arg(&command)
            .args(action.as_deref())
            .arg("--help")
            .output()
            .expect("runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`rearguard {command} {action:?}`: {message}");
    }
}

#[test]
fn every_variable_of_a_step_is_documented_and_no_other() {
    let readme = read("README.md");
    let documented: BTreeSet<String> = quoted(&readme)
        .into_iter()
        .filter(|word| word.starts_with("REARGUARD_") && !word.starts_with("REARGUARD_LOG"))
        .collect();
    let given: BTreeSet<String> = read("src/effects/step/environment.rs")
        .split('"')
        .filter(|text| text.starts_with("REARGUARD_"))
        .map(str::to_owned)
        .collect();
    assert!(given.len() > 10, "the variables are found: {given:?}");
    assert_eq!(documented, given);
}

/// Returns the keys that the loader knows and refuses, as the sources list them.
fn keys_for_later() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("src/config"), PathBuf::from("src/engine/rules")];
    while let Some(path) = waiting.pop() {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        if full.is_dir() {
            waiting.extend(
                std::fs::read_dir(&full)
                    .expect("listed")
                    .map(|entry| path.join(entry.expect("listed").file_name())),
            );
            continue;
        }
        let text = read(&path.to_string_lossy());
        let program = text.split("#[cfg(test)]").next().unwrap_or_default();
        for list in program.split("later: &[").skip(1) {
            let list = list.split(']').next().unwrap_or_default();
            keys.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    keys
}

#[test]
fn what_is_not_here_is_listed_to_the_last_key() {
    let text = read("ARCHITECTURE.md");
    let (_, section) = text.split_once("## What is not here").expect("ARCHITECTURE.md has that section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let listed = quoted(section);
    let keys = keys_for_later();
    assert!(keys.len() > 50, "the keys are found: {keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !listed.contains(*key)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not say that these are not supported yet: {missing:?}");
    let keys_column = section.lines().filter_map(|line| line.strip_prefix('|')?.split('|').nth(1));
    let table = keys_column.collect::<Vec<_>>().join("\n");
    let here: Vec<String> = quoted(&table).into_iter().filter(|key| !keys.contains(key)).collect();
    assert!(
        here.is_empty(),
        "ARCHITECTURE.md says that these are not supported, but the loader does: {here:?}"
    );
}

#[test]
fn every_path_that_documents_name_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
        let links = links.filter(|link| !link.starts_with("http") && !link.starts_with('#'));
        let is_path = |word: &String| {
            let first = word.split('/').next().unwrap_or_default();
            let ours = ["src", "tests", "systemd", "rules", ".ci"].contains(&first) && word.contains('/');
            ours && !word.contains(['*', ' ', '<'])
        };
        for path in links.chain(quoted(&text).into_iter().filter(is_path)) {
            count += 1;
            if !root.join(&path).exists() {
                wrong.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(count > 50, "paths are found: {count}");
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_directory_is_on_the_map_and_every_invariant_in_its_table() {
    let text = read("ARCHITECTURE.md");
    let named = quoted(&text);
    for part in ["src", "src/engine"] {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        for entry in std::fs::read_dir(full).expect("listed") {
            let entry = entry.expect("listed");
            if entry.path().is_dir() {
                let name = format!("{part}/{}/", entry.file_name().to_string_lossy());
                assert!(named.contains(&name), "ARCHITECTURE.md has `{name}` on its map");
            }
        }
    }
    for id in 1..=12 {
        let row = format!("| E{id} |");
        assert_eq!(text.matches(&row).count(), 1, "ARCHITECTURE.md has one row `{row}`");
    }
}
