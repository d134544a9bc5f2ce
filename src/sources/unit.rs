//! Which invocation of a systemd unit runs: systemd publishes it for everybody as a symbolic link, without D-Bus.
//!
//! `/run/systemd/units/invocation:NAME` points at the 128-bit id of the unit's current start. It is there while the unit is
//! active, and each start has another one; a restart of this daemon, or a reload of systemd, changes nothing about it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::engine::evaluation::{RESTART_LABEL, RESTART_METRIC, RESTART_PREFIX};
use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName};
use crate::engine::series::{FailureKind, Observation, SourceFailure};
use crate::engine::time::{Span, Timestamp};

/// Where systemd publishes what it runs.
pub const UNITS: &str = "/run/systemd/units";

/// How many digits of an id are told: enough to tell any two starts of one unit apart.
const DIGITS: usize = 12;

/// Tells which invocation of one unit runs.
#[derive(Clone, Debug)]
pub struct UnitWatch {
    source: SourceName,
    unit: String,
    link: PathBuf,
}

impl UnitWatch {
    /// Watches a unit; `units` is where systemd publishes what it runs.
    pub fn new(source: SourceName, unit: &str, units: &Path) -> Self {
        Self { source, unit: unit.to_owned(), link: units.join(format!("invocation:{unit}")) }
    }

    /// Looks at the unit: one series that names the invocation, or none while it does not run. The answer has failed where
    /// nothing can be known.
    pub fn look(&self, at: Timestamp) -> Observation {
        let answer = self.invocation().map(|invocation| {
            let sample = |id: String| {
                let version = format!("{RESTART_PREFIX}{id}");
                let labels = Labels::from_pairs([
                    (METRIC_NAME, RESTART_METRIC),
                    ("job", self.source.as_str()),
                    ("unit", &self.unit),
                    (RESTART_LABEL, &version),
                ]);
                Sample { labels, at, value: 1.0 }
            };
            invocation.into_iter().map(sample).collect()
        });
        Observation { source: self.source.clone(), at, took: Span::ZERO, answer, told: None }
    }

    fn invocation(&self) -> Result<Option<String>, SourceFailure> {
        let failed = |kind, message: String| SourceFailure { kind, message };
        let target = match std::fs::read_link(&self.link) {
            Ok(target) => target,
            // The unit does not run, unless there is no systemd at all.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match self.link.parent() {
                    Some(units) if units.is_dir() => Ok(None),
                    _ => {
                        let message = format!("{} is not there: does systemd run this host?", UNITS);
                        Err(failed(FailureKind::Unreachable, message))
                    }
                };
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", self.link.display());
                return Err(failed(FailureKind::Unreachable, message));
            }
        };
        let id = target.to_str().unwrap_or_default();
        if id.len() != 32 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            let message = format!("{} does not point at the id of an invocation", self.link.display());
            return Err(failed(FailureKind::Malformed, message));
        }
        Ok(Some(id[..DIGITS].to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_link_tells_which_start_runs() {
        let units = tempfile::tempdir().expect("there is room");
        let watch = UnitWatch::new("unit:app.service".into(), "app.service", units.path());
        let at = Timestamp::from_millis(5000);
        let told = |watch: &UnitWatch| {
            let answer = watch.look(at).answer.map_err(|failure| failure.kind)?;
            Ok(answer.iter().map(|sample| sample.labels.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(told(&watch), Ok(vec![]), "it does not run");
        let link = units.path().join("invocation:app.service");
        symlink("0123456789abcdef0123456789abcdef", &link).expect("can be made");
        let series = r#"systemd_unit_invocation_info{invocation="restart 0123456789ab", job="unit:app.service", unit="app.service"}"#;
        assert_eq!(told(&watch), Ok(vec![series.to_owned()]));
        std::fs::remove_file(&link).expect("is there");
        symlink("/etc/passwd", &link).expect("can be made");
        assert_eq!(told(&watch), Err(FailureKind::Malformed));
        let nowhere = UnitWatch::new("u".into(), "app.service", &units.path().join("gone"));
        assert_eq!(told(&nowhere), Err(FailureKind::Unreachable));
    }
}
