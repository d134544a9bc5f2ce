//! Where the texts of rule files come from: the disk, or one of them as it would be after a change.

use std::path::Path;

use crate::config::rule_files;
use crate::engine::rules::{Diagnostic, SourceFile};

/// Reads rule files; one of them may be another than on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Texts<'c> {
    changed: Option<&'c SourceFile>,
}

impl<'c> Texts<'c> {
    /// Returns the files on disk, but for this one.
    pub(super) fn with(changed: &'c SourceFile) -> Self {
        Self { changed: Some(changed) }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// One problem, which names the file.
    pub(super) fn read(&self, path: &Path) -> Result<String, Box<Diagnostic>> {
        match self.changed {
            Some(file) if path.display().to_string() == file.name() => Ok(file.text().to_owned()),
            _ => rule_files::read(path),
        }
    }
}
