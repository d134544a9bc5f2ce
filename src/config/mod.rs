//! The daemon's own file: as written -> resolved, joined with the rule files into one set that loads whole or not at all.
//!
//! `rearguard.yaml` belongs to root and says what may be executed and whom to reach; rule files say what is measured and
//! which of the named plans follow (E12). [`load`] reads both from disk, [`load_texts`] takes them from the journal's last
//! good set. Secrets are read in a step of their own ([`credentials::read_secrets`]), so that a check runs without them.

mod address;
mod argv;
mod calendar;
pub mod credentials;
mod deployments;
mod ingest;
mod listen;
mod memory;
mod probe;
mod receiver;
pub mod render;
mod resolve;
mod retention;
mod rollback;
mod route;
pub mod rule_files;
pub mod settings;
mod source;
mod target;
mod written;

use std::path::{Path, PathBuf};

use crate::engine::decision::Setup;
use crate::engine::decision::link;
use crate::engine::rules::yaml::{self, Node};
use crate::engine::rules::{Diagnostic, Findings, Place, RuleFiles, SourceFile};

pub use credentials::{SecretRef, SecretSource, Secrets, read_each_secret, read_secrets, read_tokens};
pub use render::{Style, render};
pub use rule_files::FILE_BYTES_MAX;
pub use settings::{
    Capability, Config, Email, Ingest, IngestToken, MailTls, PagerDuty, QueryLimits, Receiver, Retention,
    Source, SourceKind, WatchedUnit,
};

/// A set of files that loads.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The shell's settings.
    pub config: Config,
    /// What decisions depend on.
    pub setup: Setup,
    /// Every file with its text, `rearguard.yaml` first: what the journal keeps as the last good set.
    pub files: Vec<(PathBuf, String)>,
    /// What someone should look at.
    pub warnings: Vec<Diagnostic>,
}

/// Why a set of files does not load.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Every problem, warnings included; at least one is an error.
    pub problems: Vec<Diagnostic>,
    /// The files as far as they could be read, for excerpts.
    pub files: Vec<SourceFile>,
    /// The settings, if that much could be read: they tell where the last good set and the daemon that runs it are.
    /// Only their paths are to be relied on; what has a problem may be missing.
    pub config: Option<Box<Config>>,
}

impl Loaded {
    /// Renders the warnings; empty where there are none.
    pub fn render_warnings(&self, style: Style) -> String {
        if self.warnings.is_empty() {
            return String::new();
        }
        let files: Vec<_> = self.files.iter().map(|(path, text)| source_file(path, text)).collect();
        render(&self.warnings, &files, style)
    }
}

impl Refused {
    /// Renders every problem with its excerpt.
    pub fn render(&self, style: Style) -> String {
        render(&self.problems, &self.files, style)
    }
}

/// Loads `rearguard.yaml` and the rule files that it names from disk.
///
/// # Errors
///
/// Every problem in every file that could be read, and every file that could not.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    match rule_files::read(path) {
        Ok(text) => load_rules(path, text),
        Err(problem) => Err(Refused { problems: vec![*problem], files: Vec::new(), config: None }),
    }
}

/// Loads the rule files from disk under a `rearguard.yaml` whose text is already in force.
///
/// Rule files reload when they change; what may be executed changes only when root says so (E12).
///
/// # Errors
///
/// As [`load`].
pub fn load_rules(path: &Path, text: String) -> Result<Loaded, Refused> {
    let (root, mut out) = read_root(path, &text);
    let patterns = root.as_ref().map_or(&[][..], |written| &written.rules);
    let mut files = vec![(path.to_owned(), text)];
    let found = rule_files::find(patterns, parent_of(path), &mut out);
    let mut unread = found.is_empty();
    for (rule_file, pattern) in found {
        match rule_files::read(&rule_file) {
            Ok(text) => files.push((rule_file, text)),
            Err(problem) => {
                out.push(Diagnostic { place: pattern, ..*problem });
                unread = true;
            }
        }
    }
    finish(root, files, unread, out)
}

/// Loads a set whose texts are already known, `rearguard.yaml` first and then its rule files. Patterns are not looked at.
///
/// # Errors
///
/// Every problem in every file. No files at all is a problem too.
pub fn load_texts(files: Vec<(PathBuf, String)>) -> Result<Loaded, Refused> {
    let Some((path, text)) = files.first() else {
        let place = Place::of_file("rearguard.yaml");
        let problem = Diagnostic::error("unreadable-file", place, "the set holds no files");
        return Err(Refused { problems: vec![problem], files: Vec::new(), config: None });
    };
    let (root, out) = read_root(path, text);
    finish(root, files, false, out)
}

fn read_root(path: &Path, text: &str) -> (Option<written::Written>, Findings) {
    let mut out = Findings::default();
    let file = source_file(path, text);
    let root = match yaml::parse(&file) {
        Ok(Some(root)) => written::read(&root, parent_of(&absolute(path)), &mut out),
        Ok(None) => {
            out.push(Diagnostic::error("empty-file", file.whole(), "this file is empty"));
            None
        }
        Err(problem) => {
            out.push(*problem);
            None
        }
    };
    (root, out)
}

fn finish(
    root: Option<written::Written>,
    files: Vec<(PathBuf, String)>,
    some_unread: bool,
    mut out: Findings,
) -> Result<Loaded, Refused> {
    let sources: Vec<SourceFile> = files.iter().map(|(path, text)| source_file(path, text)).collect();
    let refused = |problems, config| Refused { problems, files: sources.clone(), config };
    let (Some(written), Some((root_file, files_of_rules))) = (root, sources.split_first()) else {
        // Without root's names every name in a rule file would look unknown.
        return Err(refused(out.into_problems(), None));
    };
    let (config, declared) = resolve::resolve(written, &absolute(&files[0].0), &mut out);
    let rule_files = RuleFiles { files: files_of_rules, some_unread };
    let (setup, warnings) = link::link(&declared, root_file, rule_files, out)
        .map_err(|problems| refused(problems, Some(Box::new(config.clone()))))?;
    Ok(Loaded { config, setup, files, warnings })
}

/// Joins a tree that stands for `rearguard.yaml` with rule files whose texts are known: for tests, which make up parts of
/// the tree. `file` is what is named in its place, `path` where relative paths begin.
///
/// # Errors
///
/// As [`load`].
pub fn join(
    root: &Node,
    file: &SourceFile,
    path: &Path,
    rule_files: &[SourceFile],
) -> Result<(Config, Setup, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut out = Findings::default();
    let path = absolute(path);
    let Some(written) = written::read(root, parent_of(&path), &mut out) else {
        return Err(out.into_problems());
    };
    let (config, declared) = resolve::resolve(written, &path, &mut out);
    let rule_files = RuleFiles { files: rule_files, some_unread: false };
    let (setup, warnings) = link::link(&declared, file, rule_files, out)?;
    Ok((config, setup, warnings))
}

/// Returns a file as diagnostics name it.
pub fn source_file(path: &Path, text: &str) -> SourceFile {
    SourceFile::new(&path.display().to_string(), text)
}

/// Returns the directory at which the file's relative paths begin, as people wrote it: messages name rule files by it.
fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// Returns the same path, absolute: settings must not depend on where the daemon was started.
fn absolute(path: &Path) -> PathBuf {
    // Fails only for an empty path or without a current directory; then the path is taken as it is.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
