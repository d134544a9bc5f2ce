//! Rule files: as written, with places -> compiled, valid by construction.
//!
//! A file's text becomes a YAML tree ([`yaml`]), the tree becomes the file as written ([`written`]), and all files
//! together become a [`RuleSet`] ([`compile`]). Every step goes on after an error and tells all of them at once
//! ([`diagnostic`]). The daemon's own file is read with the same tools.

pub mod baseline;
pub mod calendar;
pub mod compile;
pub mod condition;
pub mod decode;
pub mod diagnostic;
pub mod during;
pub mod groups;
pub mod lint;
pub mod prometheus;
pub mod set;
pub mod template;
pub mod written;
pub mod yaml;

pub use baseline::BaselineSpec;
pub use calendar::{Calendar, DayOfWeek};
pub use compile::{Catalog, Compiled, Lookup, RuleFiles, Verified};
pub use diagnostic::{Diagnostic, Findings, Level, Place, SourceFile};
pub use groups::{Group, GroupRule, GroupRuleKind, Route};
pub use set::{
    Absence, Across, Budget, BurnRate, Clear, Clock, Compare, Comparison, Condition, During, Enforcement,
    Indicator, LevelOf, NoData, Objectives, PAGE_AFTER, Position, Promise, RuleSet, Scope, Scoring, Test,
    Then, Threshold, Trigger, Unit, Weights, WindowSpec,
};
pub use template::Template;
