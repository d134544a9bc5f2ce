//! The plans of the README: they load, and their steps are calls that the adapters understand.

use std::path::Path;
use std::process::Command;

use rearguard::config::{self, Style};
use rearguard::engine::decision::setup::StepAction;

/// Returns the README's block with the plans.
fn plans() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("read");
    let (_, rest) =
        readme.split_once("```yaml\n# adapters: plans").expect("README.md has the block of plans");
    let (block, _) = rest.split_once("```").expect("the block ends");
    block.split_once('\n').expect("has lines").1.to_owned()
}

#[test]
fn the_plans_of_the_readme_load_and_their_steps_are_understood() {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = plans()
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split('#').next()?.trim().strip_suffix(':').map(str::to_owned))
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let root = format!(
        "rules: [rules/*.yaml]\nstate: state\ncontrol: control.sock\n\
         sources: {{ app: {{ scrape: \"http://127.0.0.1:8003/metrics\" }} }}\n\
         receivers: {{ ops: {{ email: {{ smtp: \"127.0.0.1:25\", from: a@example, to: [b@example] }} }} }}\n\
         targets: {{ my-app: {{ plans: [{}] }} }}\n{}",
        names.join(", "),
        plans()
    );
    std::fs::create_dir(directory.path().join("rules")).expect("created");
    std::fs::write(directory.path().join("rearguard.yaml"), root).expect("written");
    let rules = "target: my-app\nsources: [app]\ntriggers: []\n";
    std::fs::write(directory.path().join("rules/my-app.yaml"), rules).expect("written");
    let loaded = config::load(&directory.path().join("rearguard.yaml"))
        .unwrap_or_else(|refused| panic!("{}", refused.render(Style::Plain)));
    let mut calls = 0;
    for plan in loaded.setup.plans.values() {
        for step in &plan.steps {
            let StepAction::Exec { argv } = &step.action else { panic!("{}: exec", step.name) };
            let arguments = argv[1..].iter().map(|argument| match argument.as_str() {
                "{previous_version}" => "v1",
                "{version}" => "v2",
                other => other,
            });
            // Nothing of what it names is there, and that is what it says; 2 would be wrong usage.
            let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
                .args(arguments)
                .args(["--check", "--timeout", "300ms"])
                .env_clear()
                .env("PATH", "/no/such/directory")
                .output()
                .expect("runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(1 | 75)), "{argv:?}: {said}{message}");
            assert!(said.starts_with("{\"adapter\":"), "{argv:?}: {said}");
            calls += 1;
        }
    }
    assert!(calls >= 6, "{calls}");
}
