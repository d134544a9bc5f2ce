//! What is remembered: the recent samples of every series that a rule can select.
//!
//! [`Store`] takes [`Observation`]s in and answers reads by [`Selector`]. It knows what PromQL's staleness rests on: a
//! series that a source no longer shows, and every series of a source that failed, ends with a marker at once.

pub mod interest;
pub mod limits;
pub mod matcher;
pub mod observation;
pub mod pattern;
pub mod points;
pub mod store;
mod times;

pub use interest::Interest;
pub use limits::{LimitExceeded, Limits};
pub use matcher::{MatchOp, Matcher, Selector, Sources};
pub use observation::{FailureKind, Observation, PROBE_SERIES, PROBE_SUCCESS, SourceFailure};
pub use pattern::{InvalidPattern, Pattern, unanchored};
pub use points::Point;
pub use store::excerpt::{Catalogue, Kept, SeriesCopy, TooManySamples};
pub use store::{Ingested, SYNTHETIC, Series, SeriesId, Store};
