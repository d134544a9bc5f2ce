//! The built-in source `rearguard`: what the daemon knows of deployments and rollbacks, as series that rules can use.

use crate::engine::evaluation::SourcePace;
use crate::engine::model::METRIC_NAME;
use crate::engine::rules::RuleSet;
use crate::engine::series::{MatchOp, Matcher, Selector, Sources};
use crate::engine::time::Span;

/// The name of the source; no file may declare one of that name.
pub const OWN_SOURCE: &str = "rearguard";

/// What the names of all its series begin with.
pub const OWN_PREFIX: &str = "rearguard_";

/// How often it is asked: as often as others are by default.
pub const OWN_PACE: SourcePace = SourcePace { every: Span::from_secs(5), silent_after: Span::from_secs(60) };

/// Returns what selects all of its series.
pub fn everything() -> Option<Selector> {
    let name = Matcher::new(METRIC_NAME, MatchOp::Matches, &format!("{OWN_PREFIX}.*")).ok()?;
    Some(Selector::new(vec![name], Sources::Only([OWN_SOURCE.into()].into())))
}

/// Returns whether some rule reads one of its series: otherwise they are not made.
pub fn is_read(rules: &RuleSet) -> bool {
    let own = OWN_SOURCE.into();
    let reads = |selector: &Selector| {
        selector.sources().contains(&own)
            && selector.metric_name().is_some_and(|name| name.starts_with(OWN_PREFIX))
    };
    let native = rules.triggers.values().any(|trigger| trigger.sources.contains(&own));
    native || rules.groups.iter().flat_map(|group| &group.rules).any(|rule| rule.query.selectors().any(reads))
}
