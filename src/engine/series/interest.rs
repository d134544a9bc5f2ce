//! Which series are kept, and since when: the selectors of the loaded rules with what they select.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::matcher::Selector;
use super::store::SeriesId;
use crate::engine::model::{Labels, SourceName};
use crate::engine::time::Timestamp;

/// Which series are kept.
#[derive(Clone, Debug)]
pub enum Interest {
    /// All of them.
    Everything,
    /// Those that one of the selectors selects, and `up`, `scrape_duration_seconds`, `scrape_samples_scraped`.
    Selectors(Vec<Selector>),
}

/// A selector with the series that it selects, kept up to date as series come and go.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) selector: Selector,
    /// Sorted by source and labels, so that results do not depend on the order of arrival (E1).
    pub(super) series: Vec<SeriesId>,
    /// The first observation since it is of interest.
    pub(super) since: Option<Timestamp>,
}

/// All selectors of the loaded rules, to be found by what they are and by what they could select.
#[derive(Clone, Debug, Default)]
pub(super) struct Selectors {
    all: Vec<Resolved>,
    by_key: BTreeMap<Arc<str>, usize>,
    /// Those that require one metric name.
    by_name: BTreeMap<Arc<str>, Vec<usize>>,
    /// The others.
    by_pattern: Vec<usize>,
}

impl Selectors {
    /// Makes the index; `resolve` finds the series that a selector selects now, and since when they are kept.
    pub(super) fn new(selectors: &[Selector], resolve: impl Fn(&Selector) -> Resolved) -> Self {
        let mut new = Self::default();
        for selector in selectors {
            let at = new.all.len();
            if new.by_key.contains_key(selector.key()) {
                continue;
            }
            new.by_key.insert(selector.key().clone(), at);
            match selector.metric_name() {
                Some(name) => new.by_name.entry(name.into()).or_default().push(at),
                None => new.by_pattern.push(at),
            }
            new.all.push(resolve(selector));
        }
        new
    }

    pub(super) fn get(&self, selector: &Selector) -> Option<&Resolved> {
        self.by_key.get(selector.key()).map(|at| &self.all[*at])
    }

    /// Returns since when everything that `selector` could select is kept; `None` where some of it is not.
    ///
    /// Known for selectors of the loaded rules, and for those that select less than one of them.
    pub(super) fn covering(&self, selector: &Selector) -> Option<&Resolved> {
        let wider = || self.all.iter().filter(|resolved| resolved.selector.covers(selector));
        // The longest memory counts, and any is longer than none.
        self.get(selector)
            .or_else(|| wider().min_by_key(|resolved| (resolved.since.is_none(), resolved.since)))
    }

    /// Returns the selectors, and since when what they select is kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Selector, Option<Timestamp>)> {
        self.all.iter().map(|resolved| (resolved.selector.clone(), resolved.since))
    }

    /// Returns whether a series of this name could be selected.
    pub(super) fn may_select_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
            || self.by_pattern.iter().any(|at| self.all[*at].selector.may_select_name(name))
    }

    pub(super) fn selects(&self, source: &SourceName, labels: &Labels) -> bool {
        let named = self.by_name.get(labels.metric_name()).into_iter().flatten();
        named.chain(&self.by_pattern).any(|at| self.all[*at].selector.selects(source, labels))
    }

    /// Notes a new series with every selector that selects it; `place` finds where it belongs in their order.
    pub(super) fn add(
        &mut self,
        id: SeriesId,
        source: &SourceName,
        labels: &Labels,
        place: impl Fn(&[SeriesId]) -> usize,
    ) {
        let named = self.by_name.get(labels.metric_name()).into_iter().flatten();
        for at in named.chain(&self.by_pattern) {
            let resolved = &mut self.all[*at];
            if resolved.selector.selects(source, labels) {
                let place = place(&resolved.series);
                resolved.series.insert(place, id);
            }
        }
    }

    /// Forgets series for which `gone` says yes.
    pub(super) fn drop(&mut self, gone: impl Fn(SeriesId) -> bool) {
        for resolved in &mut self.all {
            resolved.series.retain(|id| !gone(*id));
        }
    }

    /// Notes that a source was observed.
    pub(super) fn observed(&mut self, source: &SourceName, at: Timestamp) {
        for resolved in &mut self.all {
            if resolved.since.is_none() && resolved.selector.sources().contains(source) {
                resolved.since = Some(at);
            }
        }
    }

    /// Takes back the beginning of every selector that has selected nothing so far.
    pub(super) fn doubt_unseen(&mut self) {
        for resolved in self.all.iter_mut().filter(|resolved| resolved.series.is_empty()) {
            resolved.since = None;
        }
    }
}
