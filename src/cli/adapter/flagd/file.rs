//! flagd's flag file: what a flag is there, and a new text in which only that is changed.
//!
//! The file belongs to people and to Git. So it is not printed anew from what was understood of it: the places of the
//! values are looked up in the text, and only those are replaced.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cli::adapter::report::Trouble;

/// Limit for the file, in bytes: far above what anybody maintains.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A flag file as it was read.
pub(super) struct FlagFile {
    path: PathBuf,
    text: String,
    value: Value,
}

/// What is to be done with a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Refused(String),
    Set {
        from: String,
        to: String,
        /// What flagd has to say then.
        value: Value,
        /// The file's new text; none where it says so already.
        change: Option<String>,
    },
}

impl FlagFile {
    /// # Errors
    ///
    /// Returns why it cannot be read as a flag file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        // flagd's watch, and a rename, mean the file that the link points to.
        let path = path.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
        let length = fs::metadata(&path).map_err(|error| format!("{shown}: {error}"))?.len();
        if length > FILE_BYTES_MAX {
            return Err(format!("{shown}: {length} bytes is too large for a flag file"));
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let value = serde_json::from_str(&text)
            .map_err(|error| format!("{shown}: not a flag file in JSON: {error}"))?;
        Ok(Self { path, text, value })
    }

    /// Decides what is to be done with a flag.
    pub(super) fn judge(
        &self,
        name: &str,
        wanted: &str,
        immutable: &[String],
        drop_targeting: bool,
    ) -> Judgement {
        let refused = |why: String| Judgement::Refused(why);
        if immutable.iter().any(|one| one == name) {
            return refused(format!("{name} is immutable"));
        }
        let Some(flag) = self.value.get("flags").and_then(|flags| flags.get(name)) else {
            return refused(format!("{} has no flag {name}", self.path.display()));
        };
        let Some(variants) = flag.get("variants").and_then(Value::as_object) else {
            return refused(format!("{name} has no variants"));
        };
        // `true` and `false` are what people say; the variants' names are the file's own.
        let said: Option<bool> = wanted.parse().ok();
        let by_value = || variants.iter().find(|(_, value)| said.is_some() && value.as_bool() == said);
        let Some((variant, value)) = variants.get_key_value(wanted).or_else(by_value) else {
            let known: Vec<&str> = variants.keys().map(String::as_str).collect();
            return refused(format!("{name} has no variant {wanted}; it has {}", known.join(", ")));
        };
        if !value.is_boolean() && !value.is_string() {
            return refused(format!("{name} is neither a boolean nor a text, and could not be read back"));
        }
        let targets =
            flag.get("targeting").is_some_and(|rule| rule.as_object().is_none_or(|rule| !rule.is_empty()));
        if targets && !drop_targeting {
            return refused(format!(
                "{name} has targeting rules, which decide before its default; --drop-targeting takes them away"
            ));
        }
        let state = flag.get("state").and_then(Value::as_str).unwrap_or_default();
        let default = flag.get("defaultVariant").and_then(Value::as_str).unwrap_or_default();
        let from = if state == "DISABLED" { format!("{default} (disabled)") } else { default.to_owned() };
        let mut changes = vec![];
        if default != variant {
            changes.push(("defaultVariant", Value::String(variant.clone())));
        }
        if state != "ENABLED" {
            changes.push(("state", Value::String("ENABLED".to_owned())));
        }
        if targets {
            changes.push(("targeting", Value::Object(serde_json::Map::new())));
        }
        match self.with(name, &changes) {
            Some(change) => {
                let change = (!changes.is_empty()).then_some(change);
                Judgement::Set { from, to: variant.clone(), value: value.clone(), change }
            }
            None => refused(format!("{name} has no `state` or no `defaultVariant` that could be changed")),
        }
    }

    /// Returns the text with these fields of the flag changed, and nothing else.
    fn with(&self, flag: &str, changes: &[(&str, Value)]) -> Option<String> {
        let flags = field(&self.text, 0..self.text.len(), "flags")?;
        let flag_span = field(&self.text, flags, flag)?;
        let mut replacements = Vec::new();
        for (key, value) in changes {
            replacements.push((field(&self.text, flag_span.clone(), key)?, value.to_string()));
        }
        // From the end, so that the places before stay true.
        replacements.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut text = self.text.clone();
        for (span, value) in replacements {
            text.replace_range(span, &value);
        }
        // What was made is read again: only the wanted fields differ.
        let mut expected = self.value.clone();
        let fields = expected.get_mut("flags")?.get_mut(flag)?.as_object_mut()?;
        fields.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        (serde_json::from_str::<Value>(&text).ok()? == expected).then_some(text)
    }

    /// Says why it could not be replaced, without trying.
    pub(super) fn writable(&self) -> Result<(), String> {
        let directory = self.directory();
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
            .map_err(|error| format!("{} cannot be written to: {error}", directory.display()))
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Puts a new file in its place, whole or not at all, if it still is the file that was read.
    pub(super) fn replace(&self, text: &str) -> Result<(), Trouble> {
        let shown = self.path.display();
        let failed = |error: std::io::Error| Trouble::lasting(format!("{shown} cannot be replaced: {error}"));
        let temporary = self.directory().join(format!(".rearguard-{}.json", std::process::id()));
        let written = || -> std::io::Result<()> {
            let permissions = fs::metadata(&self.path)?.permissions();
            let mut file = File::create(&temporary)?;
            file.set_permissions(permissions)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        let outcome = written().map_err(failed).and_then(|()| {
            if fs::read_to_string(&self.path).map_err(failed)? != self.text {
                let why = format!("{shown} was changed by somebody else at the same time");
                return Err(Trouble::passing(why));
            }
            fs::rename(&temporary, &self.path).map_err(failed)
        });
        match outcome {
            // Durable with its directory; without that the old file may be back after a power cut.
            Ok(()) => File::open(self.directory()).and_then(|directory| directory.sync_all()).map_err(failed),
            Err(trouble) => {
                fs::remove_file(&temporary).ok();
                Err(trouble)
            }
        }
    }
}

/// Returns where the value of `key` is in the object that `span` holds. Where a key is there twice, the last one counts,
/// as it does for flagd.
fn field(text: &str, span: Range<usize>, key: &str) -> Option<Range<usize>> {
    let mut at = skip(text, span.start, "{")?;
    let mut found = None;
    loop {
        let (name, after) = value::<String>(text, at)?;
        let start = skip(text, after, ":")?;
        let start = start + spaces(&text[start..]);
        let (_, end) = value::<IgnoredAny>(text, start)?;
        if name == key {
            found = Some(start..end);
        }
        match skip(text, end, ",") {
            Some(next) => at = next,
            None => return found,
        }
    }
}

/// Reads the value that begins at `at`, behind spaces; also returns where it ends.
fn value<'a, T: Deserialize<'a>>(text: &'a str, at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Returns the place behind `mark`, if that is what comes next.
fn skip(text: &str, at: usize, mark: &str) -> Option<usize> {
    let at = at + spaces(&text[at..]);
    text[at..].starts_with(mark).then_some(at + mark.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "READ_ONLY_MODE":   { "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off" },
    "ALPHASTACK_PROTECTION": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
    "old": {"state": "DISABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "enforcement": {"state":"ENABLED","variants":{"strict":"strict","permissive":"permissive"},"defaultVariant":"strict"},
    "aimed": {"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off","targeting":{"if":[{"in":["@x",{"var":"email"}]},"on"]}},
    "limit": {"state":"ENABLED","variants":{"low":1,"high":1e3},"defaultVariant":"low"}
  },
  "$evaluators": {"a{b": "}"}, "precise": 0.10000000000000001
}
"#;

    fn file() -> FlagFile {
        let value = serde_json::from_str(TEXT).unwrap();
        FlagFile { path: PathBuf::from("/flags.json"), text: TEXT.to_owned(), value }
    }

    #[test]
    fn s3_08_only_the_flag_is_changed_and_every_other_byte_kept() {
        let cases = [
            (
                "READ_ONLY_MODE",
                "on",
                "off",
                json!(true),
                r#""defaultVariant": "off" },"#,
                r#""defaultVariant": "on" },"#,
            ),
            (
                "READ_ONLY_MODE",
                "true",
                "off",
                json!(true),
                r#""defaultVariant": "off" },"#,
                r#""defaultVariant": "on" },"#,
            ),
            (
                "enforcement",
                "permissive",
                "strict",
                json!("permissive"),
                r#""defaultVariant":"strict""#,
                r#""defaultVariant":"permissive""#,
            ),
        ];
        for (name, wanted, from, value, old, new) in cases {
            let Judgement::Set { from: found, value: read_back, change, .. } =
                file().judge(name, wanted, &[], false)
            else {
                panic!("{name} is set")
            };
            assert_eq!((found.as_str(), read_back), (from, value), "{name}");
            assert_eq!(change.unwrap(), TEXT.replacen(old, new, 1), "{name}");
        }
        let there = file().judge("READ_ONLY_MODE", "false", &[], false);
        assert!(matches!(there, Judgement::Set { change: None, .. }), "{there:?}");
        let Judgement::Set { from, change: Some(change), .. } = file().judge("old", "on", &[], false) else {
            panic!("set and enabled")
        };
        assert_eq!(from, "off (disabled)");
        assert!(change.contains(
            r#""old": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"}"#
        ));
        let Judgement::Set { change: Some(change), .. } = file().judge("aimed", "on", &[], true) else {
            panic!("set without its rules")
        };
        assert!(change.contains(r#""defaultVariant":"on","targeting":{}}"#), "{change}");
    }

    #[test]
    fn s3_07_what_cannot_or_must_not_be_set_is_refused() {
        let immutable = ["ALPHASTACK_PROTECTION".to_owned()];
        let cases = [
            ("ALPHASTACK_PROTECTION", "off", "is immutable"),
            // Not even to what it is.
            ("ALPHASTACK_PROTECTION", "on", "is immutable"),
            ("missing", "on", "has no flag missing"),
            ("READ_ONLY_MODE", "maybe", "has no variant maybe; it has off, on"),
            ("enforcement", "true", "has no variant true"),
            ("aimed", "on", "has targeting rules"),
            ("limit", "high", "neither a boolean nor a text"),
        ];
        for (name, wanted, expected) in cases {
            match file().judge(name, wanted, &immutable, false) {
                Judgement::Refused(why) => assert!(why.contains(expected), "{name}: {why}"),
                other => panic!("{name}={wanted}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flags.json");
        fs::write(&path, TEXT).unwrap();
        let read = FlagFile::read(&path).unwrap();
        read.replace("{\"flags\": {}}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"flags\": {}}");
        let trouble = read.replace(TEXT).unwrap_err();
        assert!(trouble.may_pass && trouble.why.contains("somebody else"), "{trouble:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"flags\": {}}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
        fs::write(&path, "flags: {}").unwrap();
        assert!(FlagFile::read(&path).is_err_and(|why| why.contains("not a flag file in JSON")));
    }
}
