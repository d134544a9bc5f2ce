//! A place with the stand-ins, in which an adapter is run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A directory of one test.
pub struct Bench(TempDir);

/// What an adapter answered.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub json: Value,
}

impl Answer {
    /// Returns a field of the line.
    pub fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    /// Fails unless the adapter ended so, and said so in words that contain `why`.
    #[track_caller]
    pub fn is(&self, code: i32, result: &str, why: &str) -> &Self {
        assert_eq!((self.code, self.text("result")), (Some(code), result), "{self:?}");
        assert!(self.text("why").contains(why), "{why:?} is not in {self:?}");
        self
    }
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a directory"));
        for program in ["kubectl", "systemctl"] {
            let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/adapters").join(program);
            std::os::unix::fs::symlink(stand_in, bench.path(program)).expect("linked");
        }
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below")).expect("created");
        std::fs::write(path, text).expect("written");
    }

    pub fn put(&self, name: &str, object: &Value) {
        self.write(name, object.to_string());
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Returns what was told to a stand-in, without what was only read.
    pub fn changes(&self) -> Vec<String> {
        let is_read = |line: &&str| {
            ["get ", "auth ", "show ", "argo rollouts version"].iter().any(|read| line.starts_with(read))
        };
        self.read("calls").lines().filter(|line| !is_read(line)).map(str::to_owned).collect()
    }

    /// Runs an adapter; its readings are 20 ms apart, and it watches for 100 ms unless the test says how long.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Answer {
        let mut defaults = Vec::new();
        for (option, value) in [("--timeout", "20s"), ("--watch", "100ms")] {
            let is_known = option == "--timeout" || arguments.first() != Some(&"flagd");
            if is_known && !arguments.contains(&option) {
                defaults.extend([option, value]);
            }
        }
        let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
            .arg("adapter")
            .args(arguments)
            .args(defaults)
            .args(["--every", "20ms"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .expect("runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(text.lines().count(), 1, "{text}{}", String::from_utf8_lossy(&output.stderr));
        let json = serde_json::from_str(&text).expect("JSON");
        Answer { code: output.status.code(), json }
    }
}
