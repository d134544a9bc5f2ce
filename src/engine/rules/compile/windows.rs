//! Windows as written -> [`WindowSpec`], measured against how often the sources answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::model::SourceName;
use crate::engine::rules::decode::Spanned;
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::set::WindowSpec;
use crate::engine::rules::written::WrittenWindow;
use crate::engine::time::Span;

/// The share of a window that must have been observed.
const COVERAGE: f64 = 0.9;
/// One verdict speaks for at most this many of its slowest source's intervals: one lost answer is not a gap, two are.
const GAP_INTERVALS: i64 = 3;
/// A window over time holds at least so many intervals: with fewer, one answer fills it.
const TICKS_MIN: i64 = 2;

/// How often a trigger's sources answer.
pub(super) struct Paces {
    /// The slowest of them; `None` where no source is known.
    slowest: Option<(Span, SourceName)>,
}

impl Paces {
    pub(super) fn of(sources: &BTreeSet<SourceName>, paces: &BTreeMap<SourceName, Span>) -> Self {
        let paced = sources.iter().filter_map(|source| Some((*paces.get(source)?, source.clone())));
        Self { slowest: paced.max() }
    }

    fn every(&self) -> Span {
        self.slowest.as_ref().map_or(Span::ZERO, |(every, _)| *every)
    }
}

/// Fills in what was left out, and refuses what can never fire.
pub(super) fn compile(
    written: WrittenWindow,
    place: &Place,
    paces: &Paces,
    out: &mut Findings,
) -> WindowSpec {
    let spec = match written {
        WrittenWindow::Counted(spec) => spec,
        WrittenWindow::Time { share, of, coverage, max_gap } => {
            let coverage = coverage.unwrap_or(COVERAGE);
            let max_gap = max_gap.unwrap_or_else(|| paces.every().times(GAP_INTERVALS));
            match share {
                None => WindowSpec::Sustained { of, coverage, max_gap },
                Some(share) => WindowSpec::Share { share, of, coverage, max_gap },
            }
        }
    };
    if let Some((every, source)) = &paces.slowest {
        check_length(&spec, *every, source, place, out);
        check_reach(&spec, *every, source, place, out);
    }
    spec
}

fn check_length(spec: &WindowSpec, every: Span, source: &SourceName, place: &Place, out: &mut Findings) {
    let of = spec.of();
    let least = every.times(TICKS_MIN);
    if spec.max_gap().is_some() && !of.is_zero_or_negative() && of < least {
        let message = format!("a window of {of} is shorter than two ticks: `{source}` answers every {every}");
        out.push(
            Diagnostic::error("short-window", place.clone(), message)
                .hint(format!("ask for at least `{least}`, or leave `for` out to fire at the first breach")),
        );
    }
}

/// Refuses windows that are never full, however bad it is.
fn check_reach(spec: &WindowSpec, every: Span, source: &SourceName, place: &Place, out: &mut Findings) {
    let why = match *spec {
        WindowSpec::Sustained { coverage, max_gap, .. } | WindowSpec::Share { coverage, max_gap, .. }
            if (max_gap.as_millis() as f64) < coverage * every.as_millis() as f64 =>
        {
            format!(
                "a verdict speaks for {max_gap} and `{source}` answers every {every}: so much of it is never observed"
            )
        }
        WindowSpec::Count { count, of } if i64::from(count) > at_most(of, every) => {
            format!("`{source}` answers every {every}: {of} hold at most {} observations", at_most(of, every))
        }
        // The nominal form counts a sample at the window's very edge, too.
        WindowSpec::Nominal { of, .. }
            if spec.needed().is_some_and(|needed| i64::from(needed) > at_most(of, every) + 1) =>
        {
            let most = at_most(of, every) + 1;
            format!("`{source}` answers every {every}: {of} hold at most {most} observations")
        }
        _ => return,
    };
    out.push(
        Diagnostic::error("never-fills", place.clone(), format!("this window is never full: {why}"))
            .hint("make it longer or ask for less, or ask the source more often; `80% of 60s` counts time, not samples"),
    );
}

/// Refuses a number of samples that no window of this length holds.
pub(super) fn check_min_samples(needed: &Spanned<u32>, spec: &WindowSpec, paces: &Paces, out: &mut Findings) {
    let of = spec.of();
    let (message, hint) = if of.is_zero_or_negative() {
        ("`min_samples` counts within the window, and this one has no length".to_owned(), "write `for: 60s`")
    } else if let Some((every, source)) = &paces.slowest
        && i64::from(needed.value) > at_most(of, *every) + 1
    {
        let most = at_most(of, *every) + 1;
        (format!("`{source}` answers every {every}: {of} hold at most {most} samples"), "ask for less")
    } else {
        return;
    };
    out.push(Diagnostic::error("bad-min-samples", needed.place.clone(), message).hint(hint));
}

/// How many observations a window holds that does not count its own beginning.
fn at_most(of: Span, every: Span) -> i64 {
    let every = every.as_millis().max(1);
    (of.as_millis() + every - 1) / every
}
