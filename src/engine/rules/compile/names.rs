//! Which indicator a name means: in a trigger of one file, and in the verification of a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Lookup;
use crate::engine::model::TargetName;
use crate::engine::rules::diagnostic::{Place, name_hint};
use crate::engine::rules::set::Indicator;

/// Every declared indicator, by target and name; several files may declare the same name.
#[derive(Clone, Debug, Default)]
pub struct Indicators {
    declared: BTreeMap<TargetName, BTreeMap<String, Vec<Declaration>>>,
    /// Whether a file is missing here because it is broken: then a name that is not found is not reported again.
    incomplete: bool,
}

/// One file's declaration of an indicator.
#[derive(Clone, Debug)]
pub(super) struct Declaration {
    pub(super) file: Arc<str>,
    pub(super) place: Place,
    /// Absent where the declaration is broken, which has been reported.
    pub(super) indicator: Option<Arc<Indicator>>,
}

impl Declaration {
    fn lookup(&self) -> Lookup {
        self.indicator.clone().map_or(Lookup::Broken, Lookup::Found)
    }
}

impl Indicators {
    pub(super) fn insert(&mut self, target: TargetName, name: &str, declaration: Declaration) {
        self.declared.entry(target).or_default().entry(name.to_owned()).or_default().push(declaration);
    }

    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Returns whether some file could not be read, so that what is not found may be in there.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Returns what `name` means in a trigger of `file`: that file's own indicator.
    pub fn in_file(&self, target: &TargetName, file: &str, name: &str) -> Lookup {
        let declared = self.declared.get(target);
        let named = declared.and_then(|names| names.get(name));
        if let Some(own) = named.into_iter().flatten().find(|declaration| &*declaration.file == file) {
            return own.lookup();
        }
        let message = format!("there is no indicator `{name}`");
        let hint = match named.and_then(|elsewhere| elsewhere.first()) {
            Some(other) => {
                format!("it is declared in {}, and a file sees only its own indicators", other.file)
            }
            None => {
                let is_own = |declarations: &&Vec<Declaration>| declarations.iter().any(|d| &*d.file == file);
                let own = declared.into_iter().flatten().filter(|(_, list)| is_own(list));
                name_hint(name, "indicator", own.map(|(name, _)| name.as_str()))
            }
        };
        Lookup::Refused("unknown-indicator", message, hint)
    }

    /// Returns what `name` means to a plan of `targets`: the only indicator of that name in all their files.
    pub fn for_targets<'a>(&self, targets: impl IntoIterator<Item = &'a TargetName>, name: &str) -> Lookup {
        let declared: Vec<_> = targets.into_iter().filter_map(|target| self.declared.get(target)).collect();
        let found: Vec<&Declaration> =
            declared.iter().filter_map(|names| names.get(name)).flatten().collect();
        match found.as_slice() {
            [only] => only.lookup(),
            [] if self.incomplete => Lookup::Broken,
            [] => {
                let known = declared.iter().flat_map(|names| names.keys()).map(String::as_str);
                let hint = name_hint(name, "indicator", known);
                let message =
                    format!("no rule file of the targets that use this plan has an indicator `{name}`");
                Lookup::Refused("unknown-indicator", message, hint)
            }
            [first, second, ..] => {
                let hint = format!(
                    "it is declared at {} and at {}: rename one, or give each target a plan of its own",
                    first.place, second.place
                );
                let message = format!("`{name}` could mean several indicators here");
                Lookup::Refused("ambiguous-indicator", message, hint)
            }
        }
    }
}
