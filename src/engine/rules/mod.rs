//! Rule files: as written, with spans -> compiled, valid by construction.

pub mod set;

pub use set::{Comparison, Condition, Indicator, RuleSet, Then, Trigger, Unit, WindowSpec};
