//! Groups of label sets: what aggregations collect by and operators join on.

use std::collections::BTreeMap;

use super::plan::LabelChoice;
use crate::engine::model::Labels;

/// Numbers the groups that label sets fall into, in the order in which they are first seen.
///
/// The key of a set is written into memory that is used again; it is kept once per group.
pub(super) struct Groups<'c> {
    choice: &'c LabelChoice,
    key: String,
    known: BTreeMap<Box<str>, usize>,
}

impl<'c> Groups<'c> {
    pub(super) fn by(choice: &'c LabelChoice) -> Self {
        Self { choice, key: String::new(), known: BTreeMap::new() }
    }

    /// Returns the group of a label set, if some set of that group was added.
    pub(super) fn find(&mut self, labels: &Labels) -> Option<usize> {
        self.choice.write_key(labels, &mut self.key);
        self.known.get(self.key.as_str()).copied()
    }

    /// Returns the group of a label set, or that of the next number, which is new.
    pub(super) fn find_or_add(&mut self, labels: &Labels) -> usize {
        if let Some(group) = self.find(labels) {
            return group;
        }
        let new = self.known.len();
        self.known.insert(self.key.as_str().into(), new);
        new
    }
}
