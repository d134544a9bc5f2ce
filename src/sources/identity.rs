//! The labels that a source puts on everything it brings: `job`, `instance`, and what its configuration adds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::engine::model::{Labels, METRIC_NAME, SourceName};

/// What happens to a scraped label that the source sets too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelConflict {
    /// The source's value stands; the scraped one moves to `exported_NAME`. Prometheus' default.
    #[default]
    Export,
    /// The scraped value stands. Prometheus' `honor_labels: true`, for federation.
    Honor,
}

/// The labels of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesIdentity {
    labels: Labels,
    conflict: LabelConflict,
}

impl SeriesIdentity {
    /// Makes the identity of a source: `job` is its name, `instance` its host and port; `extra` may override both.
    pub fn new(source: &SourceName, instance: &str, extra: &Labels, conflict: LabelConflict) -> Self {
        let own = [("job", source.as_str()), ("instance", instance)];
        Self { labels: Labels::from_pairs(own.into_iter().chain(extra.iter())), conflict }
    }

    /// Returns the source's labels alone.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Joins a scraped series with the source's labels, as Prometheus does (`scrape.go`, `mutateSampleLabels`).
    pub fn attach<'a>(&'a self, name: &'a str, scraped: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
        // An empty label is the same as none.
        let mut series: BTreeMap<Cow<'a, str>, &'a str> = scraped
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (Cow::Borrowed(name), value))
            .collect();
        let mut conflicts: Vec<(&str, &str)> = Vec::new();
        for (label, own) in self.labels.iter() {
            match series.get(label) {
                Some(_) if self.conflict == LabelConflict::Honor => {}
                Some(scraped) => {
                    conflicts.push((label, scraped));
                    series.insert(Cow::Borrowed(label), own);
                }
                None => {
                    series.insert(Cow::Borrowed(label), own);
                }
            }
        }
        // Shortest first, so that `exported_job` goes to `job` and not to a scraped label of that name's own conflict.
        conflicts.sort_by_key(|(label, _)| label.len());
        for (label, value) in conflicts {
            let mut free = format!("exported_{label}");
            while series.contains_key(free.as_str()) {
                free.insert_str(0, "exported_");
            }
            series.insert(Cow::Owned(free), value);
        }
        Labels::from_pairs(std::iter::once((Cow::Borrowed(METRIC_NAME), name)).chain(series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(extra: &[(&str, &str)], conflict: LabelConflict, scraped: &[(&str, &str)]) -> String {
        let extra = Labels::from_pairs(extra.iter().copied());
        let identity = SeriesIdentity::new(&SourceName::from("app"), "h:1", &extra, conflict);
        identity.attach("m", scraped.iter().copied()).to_string()
    }

    #[test]
    fn conflicting_labels_move_or_stand_as_configured() {
        let export = LabelConflict::Export;
        assert_eq!(attach(&[], export, &[("a", "1")]), r#"m{a="1", instance="h:1", job="app"}"#);
        assert_eq!(
            attach(&[("dc", "x")], export, &[("job", "j"), ("dc", "")]),
            r#"m{dc="x", exported_job="j", instance="h:1", job="app"}"#
        );
        assert_eq!(
            attach(&[], export, &[("job", "j"), ("exported_job", "e")]),
            r#"m{exported_exported_job="j", exported_job="e", instance="h:1", job="app"}"#
        );
        assert_eq!(
            attach(&[("exported_job", "own")], export, &[("job", "j"), ("exported_job", "e")]),
            r#"m{exported_exported_exported_job="e", exported_exported_job="j", exported_job="own", instance="h:1", job="app"}"#
        );
        assert_eq!(
            attach(&[], LabelConflict::Honor, &[("job", "j"), ("instance", "")]),
            r#"m{instance="h:1", job="j"}"#
        );
        assert_eq!(attach(&[("instance", "blue")], export, &[]), r#"m{instance="blue", job="app"}"#);
    }
}
