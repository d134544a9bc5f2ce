//! Events in words, one line each: for logs, timelines and `incident show`.
//!
//! Text from outside is escaped here, so that a label or a reply can never begin a line of its own (E11).

use std::fmt;

use super::checkpoint::JournalCheckpoint;
use super::deployment::{DeploymentResult, Origin};
use super::effect::{DeliveryReport, MessageKind, StepHandle, StepResult};
use super::event::{Cause, CheckSeen, Happening, Outcome, Refusal};
use super::rollback::Phase;
use crate::engine::evaluation::{ALERT_NAME, Evidence, TriggerKey, Verdict};
use crate::engine::model::ReceiverName;
use crate::engine::rules::Unit;

/// Text from outside, on one line: control characters as escapes.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| {
            if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                write!(f, "{}", letter.escape_default())
            } else {
                write!(f, "{letter}")
            }
        })
    }
}

/// `: error_rate > 2%, measured 12.3%`, or nothing.
struct Measured<'a>(Option<&'a Evidence>);

impl fmt::Display for Measured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |evidence| write!(f, ": {}, measured {}", evidence.condition, evidence.shown))
    }
}

/// A trigger with its target, and its labels where it has any.
struct Named<'a>(&'a TriggerKey);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TriggerKey { target, trigger, labels } = self.0;
        write!(f, "{target}/{trigger}")?;
        // An imported alert's labels are its rule's own; its page and `incident show` tell them.
        let is_told = !labels.is_empty() && labels.get(ALERT_NAME).is_none();
        if is_told { write!(f, "{}", OneLine(&labels.to_string())) } else { Ok(()) }
    }
}

/// Returns a count with its noun: `1 step`, `2 steps`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl fmt::Display for Phase {
    /// In two or three words, after the rollback's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { .. } | Self::Intended { .. } | Self::Started { .. } => f.write_str("is under way"),
            Self::Verifying { .. } => f.write_str("is being verified"),
            Self::InDoubt { .. } => f.write_str("IS IN DOUBT"),
            Self::Ended { outcome, .. } => outcome.fmt(f),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalCreated { journal } => write!(f, "journal {} begins", journal.as_str()),
            Self::Restarted(restart) => {
                write!(f, "daemon starts, {} after the last record", restart.gap.rounded())
            }
            Self::Stopping => f.write_str("daemon goes down in order"),
            Self::SetupLoaded { fingerprint, degraded: None } => {
                write!(f, "files in force: {}", fingerprint.get(..12).unwrap_or(fingerprint))
            }
            Self::SetupLoaded { degraded: Some(why), .. } => {
                write!(f, "last good files in force, those on disk are bad: {}", OneLine(why))
            }
            Self::SetupRefused { problem } => {
                write!(f, "files refused, the old ones stay: {}", OneLine(problem))
            }
            Self::WallClockMoved { offset } => write!(f, "wall clock is {offset} from engine time"),
            Self::JournalLost { reason, .. } => write!(f, "JOURNAL CANNOT BE WRITTEN: {}", OneLine(reason)),
            Self::JournalRestored => f.write_str("journal can be written again"),
            Self::VersionSeen { target, version, previous } => {
                write!(f, "{target} runs version {}", OneLine(version))?;
                previous.as_ref().map_or(Ok(()), |previous| write!(f, " (before: {})", OneLine(previous)))
            }
            Self::TriggerPending { key, window, evidence } => {
                let measured = Measured(evidence.as_ref());
                // Where observations are counted, or the first breach counts, there is no time to name.
                match window.is_zero_or_negative() {
                    true => write!(f, "{} is pending{measured}", Named(key)),
                    false => write!(f, "{} is pending, fires after {window}{measured}", Named(key)),
                }
            }
            Self::TriggerFiring { key, evidence, .. } => {
                write!(f, "{} FIRES{}", Named(key), Measured(evidence.as_ref()))
            }
            Self::TriggerCleared { key, removed: true, .. } => {
                write!(f, "{} is gone: its rule was removed", Named(key))
            }
            Self::TriggerCleared { key, evidence, .. } => {
                write!(f, "{} is quiet again{}", Named(key), Measured(evidence.as_ref()))
            }
            Self::IncidentOpened { incident, target, severity, reason, .. } => {
                write!(f, "incident {incident} opens, {severity}, {target}: {}", OneLine(reason))
            }
            Self::IncidentResolved { incident, reason, .. } => {
                write!(f, "incident {incident} is resolved: {}", OneLine(reason))
            }
            Self::RollbackDecided { rollback, incident, target, plan, steps, .. } => {
                let steps = counted(steps.len(), "step");
                write!(f, "rollback {rollback} of {target} by `{plan}` for {incident}: {steps}")
            }
            Self::RollbackNotBegun { incident, target, plan, refusal } => {
                write!(f, "no rollback of {target} by `{plan}` for {incident}: {refusal}")
            }
            Self::RollbackRecommended { incident, target, recommended, violations, .. } => {
                let why = violations.join(", ");
                write!(
                    f,
                    "rollback of {target} by `{recommended}` is RECOMMENDED for {incident}: {}",
                    OneLine(&why)
                )
            }
            page @ (Self::Escalated { .. }
            | Self::Overdue { .. }
            | Self::TaskDone { .. }
            | Self::PageDecided { .. }
            | Self::DeliveryReported { .. }) => describe_page(page, f),
            Self::JournalCheckpoint(JournalCheckpoint { first_kept, dropped, .. }) => {
                let events = usize::try_from(dropped.values().sum::<u64>()).unwrap_or(usize::MAX);
                write!(f, "{} before {first_kept} are dropped: past their time", counted(events, "event"))
            }
            step => describe_step(step, f),
        }
    }
}

fn describe_page(what: &Happening, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match what {
        Happening::Overdue { incident, clock, .. } => {
            write!(f, "{incident} is OVERDUE: {}", OneLine(&clock.missed()))
        }
        Happening::TaskDone { incident, task, by } => {
            write!(f, "{incident}: task `{}` is done, says {}", OneLine(task), OneLine(by))
        }
        Happening::Escalated { incident, level, notify } => {
            let to: Vec<_> = notify.iter().map(ReceiverName::as_str).collect();
            write!(f, "{incident} is still open: level {level} is told ({})", to.join(", "))
        }
        Happening::PageDecided { message, deliveries, .. } => {
            let word = match message.kind {
                MessageKind::Trigger => "page",
                MessageKind::Update => "update",
                MessageKind::Resolve => "all-clear",
            };
            let to: Vec<_> = deliveries.iter().map(|(_, receiver)| receiver.as_str()).collect();
            write!(f, "{word} to {}: {}", to.join(", "), OneLine(&message.summary))
        }
        Happening::DeliveryReported { receiver, report, .. } => match report {
            DeliveryReport::FirstFailure(why) => {
                write!(f, "{receiver} did not take a message, trying on: {}", OneLine(why))
            }
            DeliveryReport::Accepted(receipt) => {
                write!(f, "{receiver} took a message: {}", OneLine(receipt))
            }
            DeliveryReport::Dead(why) => {
                write!(f, "{receiver} REFUSES a message for good: {}", OneLine(why))
            }
        },
        _ => Ok(()),
    }
}

fn describe_deployment(what: &Happening, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match what {
        Happening::TriggerOutOfScope { key, scope } => {
            write!(f, "{}/{} is no longer judged: it is judged during {scope} only", key.target, key.trigger)
        }
        Happening::DeploymentStarted { deployment, target, version, previous, origin, outside } => {
            let replaced = previous.as_ref().map(|previous| format!(" (before: {previous})"));
            let how = match origin {
                Origin::Announced { by } => format!("announced by {by}"),
                Origin::Detected => "detected".to_owned(),
            };
            let late = outside.as_ref().map(|window| format!(", OUTSIDE of {window}"));
            let told =
                format!("{version}{}, {how}{}", replaced.unwrap_or_default(), late.unwrap_or_default());
            write!(f, "deployment {deployment} of {target} begins: version {}", OneLine(&told))
        }
        Happening::DeploymentStaged { deployment, stage, by } => {
            let name = stage.name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
            let told = format!("{}{name}, by {by}", percent(stage.share));
            write!(f, "deployment {deployment} is at stage {}", OneLine(&told))
        }
        Happening::DeploymentProgressed { deployment, share, by } => {
            write!(f, "deployment {deployment} is at {}, by {}", percent(*share), OneLine(by))
        }
        Happening::DeploymentFinished { deployment, by, .. } => {
            write!(f, "deployment {deployment} is rolled out, by {}; its soak begins", OneLine(by))
        }
        Happening::DeploymentEnded { deployment, result, reason } => {
            write!(f, "deployment {deployment} {result}: {}", OneLine(reason))
        }
        Happening::BaselineFrozen { target, indicator, baseline } => match baseline.told() {
            Ok(value) => {
                let samples = counted(usize::try_from(baseline.samples).unwrap_or(usize::MAX), "sample");
                write!(f, "{target}: baseline of {indicator} is {value}, the mean of {samples}")
            }
            Err(why) => {
                write!(f, "{target}: NO baseline of {indicator}: {}", OneLine(why))
            }
        },
        Happening::PointOfNoReturn { target, by, .. } => {
            write!(f, "{target} has its point of no return, by {}", OneLine(by))
        }
        _ => Ok(()),
    }
}

/// Returns a part of the whole as people write it.
fn percent(share: f64) -> String {
    crate::engine::evaluation::shown(share, Unit::Ratio)
}

impl fmt::Display for DeploymentResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "FAILED",
            Self::RolledBack => "was ROLLED BACK",
            Self::Abandoned => "is abandoned",
        })
    }
}

fn describe_step(what: &Happening, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match what {
        Happening::StepIntended { order, index, .. } => {
            write!(
                f,
                "{} step {} `{}` is intended, {} allowed",
                order.rollback,
                index + 1,
                order.step,
                order.timeout
            )
        }
        Happening::StepStarted { rollback, effect, handle } => match handle {
            StepHandle::Process { pid, .. } => write!(f, "{rollback} {effect} starts as process {pid}"),
            StepHandle::Request => write!(f, "{rollback} {effect} starts as a request"),
        },
        Happening::StepEnded { rollback, effect, ending } => {
            write!(f, "{rollback} {effect} {} after {}", ending.result, ending.took.rounded())
        }
        Happening::StepInDoubt { rollback, effect, why } => {
            write!(f, "{rollback} {effect} is IN DOUBT: {}", OneLine(why))
        }
        Happening::StepSettled { rollback, effect, done, by } => {
            let word = if *done { "done" } else { "not done" };
            write!(f, "{rollback} {effect} is settled as {word} by {}", OneLine(by))
        }
        Happening::VerificationStarted { rollback, .. } => write!(f, "{rollback} verification begins"),
        Happening::VerificationSaw { rollback, checks } => {
            let told: Vec<_> = checks.iter().map(CheckSeen::to_string).collect();
            write!(f, "{rollback} verification sees {}", told.join("; "))
        }
        Happening::RollbackEnded { rollback, outcome, reason } => {
            write!(f, "{rollback} {outcome}: {}", OneLine(reason))
        }
        deployment => describe_deployment(deployment, f),
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("is done"),
            Self::Failed(why) => write!(f, "FAILED ({})", OneLine(why)),
            Self::TimedOut => f.write_str("was ENDED at its limit"),
        }
    }
}

impl fmt::Display for CheckSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.evidence.as_ref().map_or("nothing yet", |evidence| evidence.shown.as_str());
        match &self.verdict {
            Verdict::Holds => write!(f, "{} met ({shown})", self.condition),
            Verdict::Breached => write!(f, "{} not met ({shown})", self.condition),
            Verdict::NoData => write!(f, "{}: no fresh data", self.condition),
            Verdict::Unknown(why) => write!(f, "{}: {}", self.condition, OneLine(&why.to_string())),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "is PARTIAL",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED OUT",
            Self::Refused => "was REFUSED",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow => f.write_str("the target is in shadow mode; it would have been rolled back now"),
            Self::Joined(rollback) => write!(f, "{rollback} holds the target already"),
            Self::AlreadyRun(rollback) => write!(f, "it was run for this incident before, as {rollback}"),
            Self::Cooldown { until } => write!(f, "the target cools down until {until}"),
            Self::AtMost { count, per } => write!(f, "{count} rollbacks in {per} are the target's limit"),
            Self::PastReturn { by, .. } => {
                write!(
                    f,
                    "the point of no return is passed ({}): what it would bring back is gone",
                    OneLine(by)
                )
            }
            Self::OutOfScope(scope) => write!(f, "it is wanted during {} only", OneLine(scope)),
            Self::Journal(why) => write!(f, "the journal cannot be written: {}", OneLine(why)),
            Self::Stopping => f.write_str("the daemon is going down"),
            Self::RestsOnAbsence => f.write_str("absence never acts by itself"),
            Self::Isolated(why) => write!(f, "it may be we who are cut off: {}", OneLine(why)),
            Self::Permissive => f.write_str("the budget is `permissive`: it pages and never acts"),
            Self::SourceFailed(source) => {
                write!(f, "source {source} does not answer; it begins if the alert still fires once it does")
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger(key) => write!(f, "{}", key.trigger),
            Self::Blind(key) => write!(f, "{} cannot be judged", key.trigger),
            Self::Silent(source) => write!(f, "source {source} is silent"),
            Self::DeadReceiver(receiver) => write!(f, "receiver {receiver} is dead"),
            Self::Journal => f.write_str("the journal cannot be written"),
            Self::StateLost => f.write_str("what was remembered is lost"),
            Self::Setup => f.write_str("the files on disk are bad"),
            Self::OutsideWindow(deployment) => write!(f, "deployment {deployment} at a bad time"),
        }
    }
}
