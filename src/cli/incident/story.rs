//! The whole story of an incident, as sections: what was measured, decided, done, told, and by whom.

use std::collections::BTreeMap;

use super::layout::{Row, Section};
use super::run::Runs;
use crate::cli::moment::utc;
use crate::effects::printable;
use crate::engine::decision::{Cause, CheckSeen, DeliveryReport, Happening, MessageKind};
use crate::engine::evaluation::{Evidence, Verdict};
use crate::engine::model::{EffectId, IncidentId};
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ChainHash, Head, Record};

/// What is needed besides the incident's events.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) journal: String,
    /// Where the journal ends now.
    pub(super) head: Head,
    /// The hash of the incident's last event.
    pub(super) last_hash: Option<ChainHash>,
    /// The hash of the files that were in force when it was opened.
    pub(super) files: Option<String>,
}

/// The story under construction.
pub(super) struct Story<'a> {
    id: IncidentId,
    pub(super) records: &'a [Record],
    zero: Timestamp,
}

impl<'a> Story<'a> {
    pub(super) fn new(id: IncidentId, records: &'a [Record]) -> Self {
        let opened =
            records.iter().find(|record| matches!(record.event.what, Happening::IncidentOpened { .. }));
        let zero = opened.or(records.first()).map_or(Timestamp::ZERO, |record| record.event.at);
        Self { id, records, zero }
    }

    /// Returns one line: what it is about and how it stands.
    pub(super) fn heading(&self) -> String {
        let mut heading = format!("incident {}", self.id);
        for record in self.records {
            match &record.event.what {
                Happening::IncidentOpened { severity, target, .. } => {
                    heading = format!("incident {}, {severity}, {target}: OPEN", self.id);
                }
                Happening::IncidentResolved { .. } => {
                    let after = record.event.at.since(self.zero).rounded();
                    heading = heading.replace(": OPEN", &format!(": resolved after {after}"));
                }
                _ => {}
            }
        }
        heading
    }

    /// Returns everything that is known, in the order in which people ask for it.
    pub(super) fn sections(&self, surroundings: &Surroundings) -> Vec<Section> {
        let mut sections = vec![self.facts(), self.before_and_after()];
        sections.extend(Runs::of(self).sections(self));
        sections.extend([self.decisions(), self.pages(), self.clocks(), self.said(), self.measured()]);
        sections.extend([self.timeline(), self.record(surroundings)]);
        sections
    }

    /// Returns an instant as people read it: the wall clock, and how long after the opening.
    pub(super) fn when(&self, record: &Record) -> [String; 2] {
        [utc(record.wall_unix_ms, "%T"), self.offset(record.event.at)]
    }

    /// Returns how long after the opening an instant was.
    pub(super) fn offset(&self, at: Timestamp) -> String {
        let ms = at.as_millis().saturating_sub(self.zero.as_millis());
        let sign = if ms < 0 { '-' } else { '+' };
        match ms.unsigned_abs() {
            ms if ms < 60_000 => format!("{sign}{}.{:03}s", ms / 1000, ms % 1000),
            ms if ms < 3_600_000 => format!("{sign}{}m {:02}s", ms / 60_000, ms / 1000 % 60),
            ms => format!("{sign}{}h {:02}m", ms / 3_600_000, ms / 60_000 % 60),
        }
    }

    fn facts(&self) -> Section {
        let mut section = Section::new("WHAT", &["fact", "value"]);
        let mut fact = |name: &str, value: String| section.push([name.to_owned(), value]);
        for record in self.records {
            match &record.event.what {
                Happening::IncidentOpened {
                    cause,
                    target,
                    severity,
                    reason,
                    since,
                    runbook,
                    notify,
                    policy,
                    ..
                } => {
                    fact("reason", printable::line(reason));
                    fact("target", format!("{target}, {severity}"));
                    fact("cause", printable::line(&cause_with_labels(cause)));
                    let opened = utc(record.wall_unix_ms, "%F %T UTC");
                    let before = record.event.at.since(*since);
                    let began = match before.is_zero_or_negative() {
                        true => String::new(),
                        false => format!(", {} after it began", before.rounded()),
                    };
                    fact("opened", format!("{opened}{began}"));
                    let told: Vec<&str> = notify.iter().map(|receiver| receiver.as_str()).collect();
                    let policy = policy.as_ref().map(|policy| format!(" ({})", policy.as_str()));
                    if !told.is_empty() {
                        fact("told", format!("{}{}", told.join(", "), policy.unwrap_or_default()));
                    }
                    if let Some(runbook) = runbook {
                        fact("runbook", printable::line(runbook));
                    }
                }
                Happening::IncidentResolved { reason, .. } => {
                    let at = utc(record.wall_unix_ms, "%F %T UTC");
                    fact("resolved", format!("{at}: {}", printable::line(reason)));
                }
                _ => {}
            }
        }
        section
    }

    /// Returns what the breach was and what became of it.
    fn before_and_after(&self) -> Section {
        let mut section = Section::new("BEFORE AND AFTER", &["what", "before", "after", "seen by"]);
        let breach = self.records.iter().find_map(|record| match &record.event.what {
            Happening::IncidentOpened { evidence, .. } | Happening::TriggerFiring { evidence, .. } => {
                evidence.clone()
            }
            _ => None,
        });
        let Some(breach) = breach else { return section };
        let before = |subject: &str| match subject == self::subject(&breach.condition) {
            true => format!("before: {}", printable::line(&breach.shown)),
            false => "before: not looked at".to_owned(),
        };
        let mut row = |subject: &str, after: String, by: String| {
            let after = format!("after: {}", printable::line(&after));
            section.push([printable::line(subject), before(subject), after, by]);
        };
        let mut cleared = None;
        for record in self.records {
            match &record.event.what {
                Happening::VerificationSaw { rollback, checks } if self.is_last_look(record) => {
                    for check in checks {
                        let shown = check.evidence.as_ref().map_or("-", |evidence| evidence.shown.as_str());
                        let by = format!(
                            "{rollback}'s verification, {}: {}",
                            self.offset(record.event.at),
                            met(check)
                        );
                        row(self::subject(&check.condition), shown.to_owned(), by);
                    }
                }
                Happening::TriggerCleared { evidence: Some(evidence), .. } => {
                    cleared = Some((record, evidence))
                }
                _ => {}
            }
        }
        match cleared {
            Some((record, evidence)) => {
                let by = format!("its trigger, {}: quiet again", self.offset(record.event.at));
                row(self::subject(&evidence.condition), evidence.shown.clone(), by);
            }
            None => {
                let by = "its trigger is not quiet yet".to_owned();
                row(self::subject(&breach.condition), "not known".to_owned(), by);
            }
        }
        section
    }

    /// Returns whether no later event tells what the same verification saw.
    fn is_last_look(&self, record: &Record) -> bool {
        let Happening::VerificationSaw { rollback: own, .. } = &record.event.what else { return false };
        !self.records.iter().any(|later| {
            later.seq > record.seq
                && matches!(&later.event.what, Happening::VerificationSaw { rollback, .. } if rollback == own)
        })
    }

    /// Returns every decision with its reason: what is neither measured, nor done, nor told.
    fn decisions(&self) -> Section {
        let mut section = Section::new("DECIDED", &["at", "after", "what and why"]);
        let decided = self.records.iter().filter(|record| {
            !matches!(
                record.event.what,
                Happening::TriggerPending { .. }
                    | Happening::TriggerFiring { .. }
                    | Happening::TriggerCleared { .. }
                    | Happening::StepIntended { .. }
                    | Happening::StepStarted { .. }
                    | Happening::StepEnded { .. }
                    | Happening::StepSettled { .. }
                    | Happening::VerificationStarted { .. }
                    | Happening::VerificationSaw { .. }
                    | Happening::PageDecided { .. }
                    | Happening::DeliveryReported { .. }
                    | Happening::TaskDone { .. }
            )
        });
        for record in decided {
            let [at, after] = self.when(record);
            section.push([at, after, record.event.what.to_string()]);
        }
        section
    }

    fn pages(&self) -> Section {
        let mut section = Section::new("TOLD", &["at", "after", "to", "kind", "what became of it"]);
        let mut places: BTreeMap<EffectId, (usize, Timestamp)> = BTreeMap::new();
        for record in self.records {
            match &record.event.what {
                Happening::PageDecided { message, deliveries, .. } => {
                    let kind = match message.kind {
                        MessageKind::Trigger => "page",
                        MessageKind::Update => "update",
                        MessageKind::Resolve => "all-clear",
                    };
                    for (effect, receiver) in deliveries {
                        let [at, after] = self.when(record);
                        let waits = "ON ITS WAY".to_owned();
                        places.insert(*effect, (section.rows.len(), record.event.at));
                        section.push([at, after, receiver.to_string(), kind.to_owned(), waits]);
                    }
                    if let Some(last) = section.rows.last_mut() {
                        last.below.push(printable::line(&message.summary));
                    }
                }
                Happening::DeliveryReported { effect, report, .. } => {
                    let Some((place, decided)) = places.get(effect) else { continue };
                    let after = record.event.at.since(*decided).rounded();
                    let told = match report {
                        DeliveryReport::FirstFailure(why) => {
                            format!("FAILED after {after}, tried on: {}", printable::line(why))
                        }
                        DeliveryReport::Accepted(receipt) => {
                            format!("accepted after {after}: {}", printable::line(receipt))
                        }
                        DeliveryReport::Dead(why) => {
                            format!("REFUSED for good after {after}: {}", printable::line(why))
                        }
                    };
                    if let Some(outcome) = section.rows.get_mut(*place).and_then(|row| row.cells.last_mut()) {
                        match outcome.as_str() {
                            "ON ITS WAY" => *outcome = told,
                            _ => *outcome = format!("{outcome}; {told}"),
                        }
                    }
                }
                _ => {}
            }
        }
        section
    }

    fn clocks(&self) -> Section {
        let mut section = Section::new("CLOCKS", &["what", "within", "how it stands"]);
        let due = self.records.iter().find_map(|record| match &record.event.what {
            Happening::IncidentOpened { due, .. } => Some(due.clone()),
            _ => None,
        });
        for (clock, due_at) in due.unwrap_or_default() {
            let what = match &clock {
                Clock::Rollback => "rolled back".to_owned(),
                Clock::Verified => "rollback proven".to_owned(),
                Clock::Resolved => "resolved".to_owned(),
                Clock::Task(task) => format!("`{}`", printable::line(task)),
            };
            let stands = self.stands(&clock);
            section.push([what, due_at.since(self.zero).rounded().to_string(), stands]);
        }
        section
    }

    /// Returns how a clock stands: what stopped it, or that nothing has.
    fn stands(&self, clock: &Clock) -> String {
        for record in self.records {
            let at = self.offset(record.event.at);
            match (&record.event.what, clock) {
                (Happening::Overdue { clock: missed, .. }, _) if missed == clock => {
                    return format!("OVERDUE since {at}");
                }
                (Happening::TaskDone { task, by, .. }, Clock::Task(own)) if task == own => {
                    return format!("done {at}, says {}", printable::line(by));
                }
                (Happening::VerificationStarted { .. }, Clock::Rollback)
                | (Happening::IncidentResolved { .. }, Clock::Resolved) => return format!("met {at}"),
                (Happening::RollbackEnded { outcome, .. }, Clock::Rollback | Clock::Verified)
                    if *outcome == crate::engine::decision::Outcome::Succeeded =>
                {
                    return format!("met {at}");
                }
                // People's tasks outlive it.
                (Happening::IncidentResolved { tasks, .. }, Clock::Task(own)) if tasks.contains_key(own) => {}
                (Happening::IncidentResolved { .. }, _) => return format!("over with the incident, {at}"),
                _ => {}
            }
        }
        "runs".to_owned()
    }

    /// Returns what people and their programs have said.
    fn said(&self) -> Section {
        let mut section = Section::new("WHO SAID WHAT", &["at", "after", "who", "what"]);
        for record in self.records {
            let whole = serde_json::to_value(&record.event.what).unwrap_or_default();
            let content = whole.as_object().and_then(|one| one.values().next());
            if let Some(by) = content.and_then(|content| content.get("by")).and_then(|by| by.as_str()) {
                let [at, after] = self.when(record);
                section.push([at, after, printable::line(by), record.event.what.to_string()]);
            }
        }
        section
    }

    /// Returns every value that a decision rests on.
    fn measured(&self) -> Section {
        let mut section = Section::new("MEASURED", &["at", "after", "value", "condition", "what it meant"]);
        let mut row = |record: &Record, evidence: Option<&Evidence>, condition: &str, meant: String| {
            let [at, after] = self.when(record);
            let shown = evidence.map_or("-", |evidence| evidence.shown.as_str());
            section.push([at, after, printable::line(shown), printable::line(condition), meant]);
        };
        for record in self.records {
            match &record.event.what {
                Happening::TriggerPending { evidence: Some(evidence), .. } => {
                    row(record, Some(evidence), &evidence.condition, "breached, pending".to_owned());
                }
                Happening::TriggerFiring { evidence: Some(evidence), .. } => {
                    row(record, Some(evidence), &evidence.condition, "breached for long enough".to_owned());
                }
                Happening::TriggerCleared { evidence: Some(evidence), .. } => {
                    row(record, Some(evidence), &evidence.condition, "quiet again".to_owned());
                }
                Happening::VerificationSaw { rollback, checks } => {
                    for check in checks {
                        let meant = format!("{rollback}'s verification: {}", met(check));
                        row(record, check.evidence.as_ref(), &check.condition, meant);
                    }
                }
                _ => {}
            }
        }
        section
    }

    fn timeline(&self) -> Section {
        let mut section = Section::new("TIMELINE (UTC)", &["at", "after", "what"]);
        let mut day = String::new();
        for record in self.records {
            let today = utc(record.wall_unix_ms, "%F");
            if today != day {
                section.push([today.clone()]);
                day = today;
            }
            let [at, after] = self.when(record);
            let below = match &record.event.what {
                Happening::StepEnded { ending, .. } => ending.output.lines().map(printable::line).collect(),
                _ => Vec::new(),
            };
            section.rows.push(Row { cells: vec![at, after, record.event.what.to_string()], below });
        }
        section
    }

    fn record(&self, surroundings: &Surroundings) -> Section {
        let mut section = Section::new("FOR THE RECORD", &["fact", "value"]);
        let mut fact = |name: &str, value: String| section.push([name.to_owned(), value]);
        let (first, last) = (self.records.first(), self.records.last());
        fact("journal", surroundings.journal.clone());
        fact(
            "events",
            format!("{} to {}", first.map_or(0, |first| first.seq), last.map_or(0, |last| last.seq)),
        );
        if let Some(hash) = surroundings.last_hash {
            fact("hash", hash.to_string());
        }
        fact("head", format!("{} at event {}", surroundings.head.hash, surroundings.head.seq));
        if let Some(files) = &surroundings.files {
            fact("files", format!("{} in force when it was opened", printable::line(files)));
        }
        section
    }
}

/// Returns what a condition is about: `error_rate` of `error_rate > 2%`.
fn subject(condition: &str) -> &str {
    condition.split(['<', '>', '=', '!']).next().unwrap_or(condition).trim()
}

fn met(check: &CheckSeen) -> &'static str {
    match check.verdict {
        Verdict::Holds => "met",
        Verdict::Breached => "NOT MET",
        Verdict::NoData => "no fresh data",
        Verdict::Unknown(_) => "not known",
    }
}

fn cause_with_labels(cause: &Cause) -> String {
    match cause {
        Cause::Trigger(key) | Cause::Blind(key) if !key.labels.is_empty() => {
            format!("{cause} {}", key.labels)
        }
        cause => cause.to_string(),
    }
}

/// Returns a span as people read it.
pub(super) fn took(span: Span) -> String {
    span.rounded().to_string()
}
