//! The labels that a source puts on everything it brings: `job`, `instance`, and what its configuration adds.

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
    pub fn attach<'a>(
        &'a self,
        name: &'a str,
        scraped: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Labels {
        // An empty label is the same as none.
        let scraped = scraped.filter(|(_, value)| !value.is_empty());
        let named = std::iter::once((METRIC_NAME, name));
        // Of a repeated name the last value wins.
        match self.conflict {
            LabelConflict::Honor => Labels::from_pairs(self.labels.iter().chain(scraped).chain(named)),
            LabelConflict::Export => {
                let joined = Labels::from_pairs(scraped.clone().chain(self.labels.iter()).chain(named));
                let exported = self.exported(scraped);
                exported.iter().fold(joined, |labels, (label, value)| labels.with(label, value))
            }
        }
    }

    /// Finds free names for the scraped labels that the source sets too; there are seldom any.
    fn exported<'a>(
        &self,
        scraped: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Vec<(String, &'a str)> {
        let is_own = |label: &str| self.labels.get(label).is_some();
        let mut conflicts: Vec<_> = scraped.clone().filter(|(label, _)| is_own(label)).collect();
        // Shortest first, as in Prometheus: `job` gets the shorter of two possible names.
        conflicts.sort_by_key(|(label, _)| label.len());
        let mut exported: Vec<(String, &str)> = Vec::new();
        for (label, value) in conflicts {
            let mut free = format!("exported_{label}");
            while is_own(&free)
                || scraped.clone().any(|(taken, _)| taken == free)
                || exported.iter().any(|(taken, _)| *taken == free)
            {
                free.insert_str(0, "exported_");
            }
            exported.push((free, value));
        }
        exported
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
