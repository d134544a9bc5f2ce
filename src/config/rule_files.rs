//! Reads files with limits, and finds the rule files that a pattern means.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::engine::rules::yaml::Scalar;
use crate::engine::rules::{Diagnostic, Findings, Place};

/// No file that people write is larger; what is larger is the wrong file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a whole text file.
///
/// # Errors
///
/// One problem, which names the file: missing, unreadable, too large, or not UTF-8.
pub fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let name = path.display().to_string();
    let fail = |code, message: String| Diagnostic::error(code, Place::of_file(&name), message);
    let io =
        |error: std::io::Error| Box::new(fail("unreadable-file", format!("cannot read {name}: {error}")));
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let problem = fail("file-too-large", format!("{name} is larger than {FILE_BYTES_MAX} bytes"));
        return Err(Box::new(problem.hint("is it the right file? split rules into several files")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("{name} is not UTF-8 text: byte {at} does not belong");
        Box::new(fail("not-text", message).hint("save the file as UTF-8"))
    })
}

/// Returns the rule files that the patterns mean, each once with its pattern, in the order of patterns and names.
///
/// A pattern that means no file is an error: a watchdog that lost its rules must not start as if it had none.
pub fn find(patterns: &[Scalar], directory: &Path, out: &mut Findings) -> Vec<(PathBuf, Place)> {
    let mut found: Vec<(PathBuf, Place)> = Vec::new();
    for pattern in patterns {
        match matching(&pattern.value, directory) {
            Ok(files) if files.is_empty() => {
                let message = format!("no file matches `{}`", pattern.value.escape_debug());
                out.push(
                    Diagnostic::error("no-rule-files", pattern.place(), message)
                        .hint(format!("patterns begin at {}", directory.display())),
                );
            }
            Ok(files) => {
                for file in files {
                    if !found.iter().any(|(earlier, _)| *earlier == file) {
                        found.push((file, pattern.place()));
                    }
                }
            }
            Err((message, hint)) => {
                out.push(Diagnostic::error("bad-pattern", pattern.place(), message).hint(hint));
            }
        }
    }
    found
}

/// Returns the files that one pattern means; `*` and `?` stand for parts of the last component only.
fn matching(pattern: &str, directory: &Path) -> Result<Vec<PathBuf>, (String, String)> {
    let path = directory.join(pattern);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        let message = format!("`{}` does not name a file", pattern.escape_debug());
        return Err((message, "such as `rules/*.yaml`".to_owned()));
    };
    if !name.contains(['*', '?']) {
        // A file that is named plainly must be there; reading it says why it is not.
        return Ok(vec![path]);
    }
    if parent.to_string_lossy().contains(['*', '?']) {
        let message = format!("`{}` has a wildcard in a directory's name", pattern.escape_debug());
        return Err((message, "wildcards stand in the file's name only; list several patterns".to_owned()));
    }
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot list {}: {error}", parent.display());
            return Err((message, "patterns begin at the directory of rearguard.yaml, and the daemon's user must be able to read it".to_owned()));
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| {
            (format!("cannot list {}: {error}", parent.display()), "try again".to_owned())
        })?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.retain(|candidate| is_rule_file(candidate) && wildcard(name, candidate));
    names.sort();
    Ok(names.into_iter().map(|name| parent.join(name)).collect())
}

/// Leaves out what editors and package managers put beside rule files, and rule tests (`NAME.test.yaml`).
fn is_rule_file(name: &str) -> bool {
    !name.starts_with('.') && !name.ends_with(".test.yaml") && !name.ends_with(".test.yml")
}

/// Returns whether `name` fits `pattern`, in which `*` stands for any characters and `?` for one.
fn wildcard(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was, and how much of the name it had taken: on a mismatch it takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&c) if c == '?' || c == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_names() {
        let cases = [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", true),
            ("*.yaml", "a.yml", false),
            ("a?.y*l", "ab.yml", true),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxa", false),
            ("?", "", false),
            ("*", "", true),
        ];
        for (pattern, name, fits) in cases {
            assert_eq!(wildcard(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn large_missing_and_foreign_files_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let large = directory.path().join("large.yaml");
        std::fs::write(&large, vec![b'#'; FILE_BYTES_MAX as usize + 1]).expect("written");
        let foreign = directory.path().join("foreign.yaml");
        std::fs::write(&foreign, [b'a', 0xff]).expect("written");
        let cases = [
            (large, "file-too-large"),
            (foreign, "not-text"),
            (directory.path().join("none"), "unreadable-file"),
            (directory.path().to_owned(), "unreadable-file"),
        ];
        for (path, code) in cases {
            assert_eq!(read(&path).map_err(|problem| problem.code), Err(code), "{}", path.display());
        }
    }
}
