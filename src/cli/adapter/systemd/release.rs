//! `switch-release`: points a symbolic link back to the directory of a good release, and restarts the unit.
//!
//! For hosts where a release is a directory and the unit runs what a link, such as `current`, points to. The link is
//! replaced atomically: there is no instant without one.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::Systemctl;
use super::unit::Wish;
use crate::cli::adapter::report::{Ending, Outcome, Trouble};

/// What `switch-release` takes besides the unit.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReleaseArguments {
    /// The symbolic link that the unit runs from, such as /opt/app/current
    #[arg(long, value_name = "LINK")]
    link: PathBuf,
    /// The directory with the releases, one directory each, named by its version
    #[arg(long, value_name = "DIRECTORY")]
    releases: PathBuf,
    /// The good version: the name of its directory
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    good_version: String,
    /// The bad version, which is never switched to
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    bad_version: Option<String>,
}

/// What was read of the link and the releases.
#[derive(Clone, Debug)]
struct Facts {
    /// Where the link points to, resolved; none where there is no link.
    points_to: Option<PathBuf>,
    /// The directory of the good version, resolved; none where there is none.
    good: Option<PathBuf>,
    /// The directories that are there.
    releases: Vec<String>,
    /// When the link was made, and since when the unit is active: microseconds of Unix time.
    linked_at_us: i64,
    active_since_us: Option<i64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    Refused(String),
    /// The link is right, and the unit was started after it was made.
    AlreadyThere,
    /// The link is right, but the unit may still run what it pointed to before.
    RestartOnly,
    Switch {
        to: PathBuf,
    },
}

/// Returns why a text cannot be the name of a release. It may come from a metric's label, and must never be a path (E11).
fn objection(version: &str) -> Option<String> {
    if version.is_empty() {
        return Some("the good version is not known".to_owned());
    }
    let is_name = !version.contains(['/', '\0']) && !version.starts_with('.') && version.len() <= 255;
    (!is_name).then(|| format!("{version:?} is not the name of a directory"))
}

fn judge(facts: &Facts, good_version: &str, bad_version: Option<&str>) -> Judgement {
    if let Some(why) = objection(good_version) {
        return Judgement::Refused(why);
    }
    if bad_version == Some(good_version) {
        return Judgement::Refused(format!("the good and the bad version are both {good_version}"));
    }
    let Some(points_to) = &facts.points_to else {
        return Judgement::Refused(
            "it is not a symbolic link to a directory; nothing was switched".to_owned(),
        );
    };
    let Some(good) = &facts.good else {
        let known = match facts.releases.as_slice() {
            [] => "none is there".to_owned(),
            some => format!("there are {}", some.join(", ")),
        };
        return Judgement::Refused(format!("nothing to go back to: no release {good_version}; {known}"));
    };
    if points_to != good {
        return Judgement::Switch { to: good.clone() };
    }
    // In doubt it is restarted: an earlier run may have ended between the link and the restart.
    match facts.active_since_us {
        Some(since) if since > facts.linked_at_us => Judgement::AlreadyThere,
        _ => Judgement::RestartOnly,
    }
}

fn read(arguments: &ReleaseArguments, active_since_us: Option<i64>) -> Result<Facts, String> {
    let releases = &arguments.releases;
    let entries = fs::read_dir(releases).map_err(|error| format!("{}: {error}", releases.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let directory = releases.join(&arguments.good_version);
    let is_there = objection(&arguments.good_version).is_none() && directory.is_dir();
    let good = is_there.then(|| directory.canonicalize().ok()).flatten();
    let metadata = fs::symlink_metadata(&arguments.link).ok().filter(fs::Metadata::is_symlink);
    let linked_at_us =
        metadata.as_ref().map_or(0, |metadata| metadata.mtime() * 1_000_000 + metadata.mtime_nsec() / 1000);
    // A link that leads nowhere is still one that can be set right.
    let points_to = metadata.map(|_| {
        arguments.link.canonicalize().or_else(|_| fs::read_link(&arguments.link)).unwrap_or_default()
    });
    Ok(Facts { points_to, good, releases: names, linked_at_us, active_since_us })
}

/// Puts a new link in the place of the old one, at once.
fn switch(link: &Path, to: &Path) -> Result<(), Trouble> {
    let failed =
        |error: std::io::Error| Trouble::lasting(format!("{} cannot be switched: {error}", link.display()));
    let directory = link.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".rearguard-{}", std::process::id()));
    symlink(to, &temporary).map_err(failed)?;
    if let Err(error) = fs::rename(&temporary, link) {
        fs::remove_file(&temporary).ok();
        return Err(failed(error));
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

pub(super) async fn run(systemctl: &Systemctl, arguments: &ReleaseArguments) -> Ending {
    let unit = &systemctl.arguments.unit;
    let properties = match systemctl.show().await {
        Ok(properties) => properties,
        Err(trouble) => return Ending::trouble(unit, &trouble),
    };
    if let super::unit::Judgement::Refused(why) = super::unit::judge(&properties, Wish::Restart) {
        return Ending::new(unit, Outcome::Refused, why);
    }
    let facts = match read(arguments, properties.active_since_us()) {
        Ok(facts) => facts,
        Err(why) => return Ending::new(unit, Outcome::Refused, why),
    };
    let from = facts.points_to.as_ref().map(|path| path.display().to_string());
    let to = facts.good.as_ref().map(|path| path.display().to_string());
    let between = |ending: Ending| ending.between(from.as_deref(), to.as_deref());
    let judgement = judge(&facts, &arguments.good_version, arguments.bad_version.as_deref());
    let check = systemctl.arguments.conduct.check;
    let link = arguments.link.display();
    let done = match judgement {
        Judgement::Refused(why) => {
            return between(Ending::new(unit, Outcome::Refused, format!("{link}: {why}")));
        }
        Judgement::AlreadyThere => {
            let ending = systemctl.bring(Wish::Start, None).await;
            return between(ending);
        }
        Judgement::RestartOnly if check => {
            let why =
                format!("would restart it: {link} was switched already, but it has not been restarted since");
            return between(Ending::new(unit, Outcome::WouldDo, why));
        }
        Judgement::RestartOnly => format!("{link} was switched already"),
        Judgement::Switch { .. } if check => {
            return between(match may_write(&arguments.link) {
                Ok(()) => Ending::new(unit, Outcome::WouldDo, format!("would switch {link} and restart it")),
                Err(why) => Ending::new(unit, Outcome::Failed, why),
            });
        }
        Judgement::Switch { to } => match switch(&arguments.link, &to) {
            Ok(()) => format!("switched {link}"),
            Err(trouble) => return between(Ending::trouble(unit, &trouble)),
        },
    };
    between(systemctl.bring(Wish::Restart, Some(&done)).await)
}

/// Says why the link could not be replaced, without trying.
fn may_write(link: &Path) -> Result<(), String> {
    let directory = link.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
        .map_err(|error| format!("{} cannot be written to: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(points_to: Option<&str>, good: Option<&str>, linked_at_us: i64, active: Option<i64>) -> Facts {
        Facts {
            points_to: points_to.map(PathBuf::from),
            good: good.map(PathBuf::from),
            releases: vec!["v1".to_owned(), "v2".to_owned()],
            linked_at_us,
            active_since_us: active,
        }
    }

    #[test]
    fn a_link_is_switched_once_and_the_unit_restarted_where_it_was_not() {
        let switch = Judgement::Switch { to: PathBuf::from("/r/v1") };
        let cases = [
            (facts(Some("/r/v2"), Some("/r/v1"), 10, Some(20)), switch.clone()),
            (facts(Some("/r/v2"), Some("/r/v1"), 10, None), switch),
            (facts(Some("/r/v1"), Some("/r/v1"), 10, Some(20)), Judgement::AlreadyThere),
            (facts(Some("/r/v1"), Some("/r/v1"), 10, Some(10)), Judgement::RestartOnly),
            (facts(Some("/r/v1"), Some("/r/v1"), 30, Some(20)), Judgement::RestartOnly),
            (facts(Some("/r/v1"), Some("/r/v1"), 30, None), Judgement::RestartOnly),
        ];
        for (facts, expected) in cases {
            assert_eq!(judge(&facts, "v1", Some("v2")), expected, "{facts:?}");
        }
        let refused = |facts: &Facts, good: &str| match judge(facts, good, Some("v2")) {
            Judgement::Refused(why) => why,
            other => panic!("{other:?}"),
        };
        let fine = facts(Some("/r/v2"), Some("/r/v1"), 10, Some(20));
        assert!(refused(&fine, "v2").contains("both v2"));
        assert!(refused(&fine, "").contains("not known"));
        for name in ["..", "../etc", "/etc", ".hidden", "a/b"] {
            assert!(refused(&fine, name).contains("not the name of a directory"), "{name}");
        }
        let gone = facts(Some("/r/v2"), None, 10, Some(20));
        assert!(refused(&gone, "v0").contains("nothing to go back to: no release v0; there are v1, v2"));
        assert!(refused(&facts(None, Some("/r/v1"), 0, None), "v1").contains("not a symbolic link"));
    }
}
