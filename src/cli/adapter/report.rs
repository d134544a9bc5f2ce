//! An adapter's answer: one line of JSON and an exit code.

use serde::Serialize;

use crate::cli::Exit;
use crate::effects::printable;

/// The longest `why`, in characters: it goes on into the journal and into a page.
const WHY_CHARS_MAX: usize = 2000;

/// What became of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Changed, and seen to hold.
    Done,
    /// Nothing to do: it was as it should be.
    AlreadyThere,
    /// `--check`: a real run would change it.
    WouldDo,
    /// Nothing was changed, because that would do harm, or nothing.
    Refused,
    /// Changed or not, it is not as it should be.
    Failed,
    /// Changed, and then set back by something else.
    FlippedBack,
    /// It could not be done now; it may be tried again.
    Retry,
    /// Left alone because of another target.
    NotTried,
    /// Of several targets: some were changed, others are not as they should be.
    Partial,
}

/// What became of one target, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ending {
    pub(super) target: String,
    pub(super) result: Outcome,
    /// What was there.
    pub(super) from: Option<String>,
    /// What is there now, or should be.
    pub(super) to: Option<String>,
    pub(super) why: String,
}

impl Ending {
    /// Text of other programs is made safe to print here, and here only (E11).
    pub(super) fn new(target: &str, result: Outcome, why: impl AsRef<str>) -> Self {
        let target = printable::line(target);
        let why = printable::short_line(why.as_ref().trim(), WHY_CHARS_MAX);
        Self { target, result, from: None, to: None, why }
    }

    pub(super) fn between(mut self, from: Option<&str>, to: Option<&str>) -> Self {
        self.from = from.map(printable::line);
        self.to = to.map(printable::line);
        self
    }

    /// Could not be done: now, where `trouble` may pass, or at all.
    pub(super) fn trouble(target: &str, trouble: &Trouble) -> Self {
        let result = if trouble.may_pass { Outcome::Retry } else { Outcome::Failed };
        Self::new(target, result, &trouble.why)
    }
}

/// Why something could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Whether trying again might help: nobody answered, or answered "later".
    pub(super) may_pass: bool,
    pub(super) why: String,
}

impl Trouble {
    pub(super) fn lasting(why: impl Into<String>) -> Self {
        Self { may_pass: false, why: why.into() }
    }

    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self { may_pass: true, why: why.into() }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    adapter: &'static str,
    action: &'static str,
    target: String,
    result: Outcome,
    from: Option<String>,
    to: Option<String>,
    why: String,
    /// Whether nothing was to be changed.
    check: bool,
    /// One by one, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Ending>,
    #[serde(skip)]
    exit: Exit,
}

impl Report {
    /// Sums up what became of the targets.
    pub(super) fn new(
        adapter: &'static str,
        action: &'static str,
        check: bool,
        endings: Vec<Ending>,
    ) -> Self {
        let (result, exit) = overall(&endings);
        if let [one] = endings.as_slice() {
            let Ending { target, from, to, why, .. } = one.clone();
            return Self { adapter, action, target, result, from, to, why, check, targets: Vec::new(), exit };
        }
        let names: Vec<&str> = endings.iter().map(|ending| ending.target.as_str()).collect();
        let whys: Vec<String> =
            endings.iter().map(|ending| format!("{}: {}", ending.target, ending.why)).collect();
        let why = printable::shorten(&whys.join("; "), WHY_CHARS_MAX);
        let target = names.join(",");
        Self { adapter, action, target, result, from: None, to: None, why, check, targets: endings, exit }
    }

    /// Returns what the answer means to a script.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }
}

/// What went wrong, the worst first. What was merely not tried is never the reason.
const WRONG: [Outcome; 5] =
    [Outcome::FlippedBack, Outcome::Failed, Outcome::Refused, Outcome::Retry, Outcome::NotTried];

/// Returns the result over all targets, and what it means to a script.
fn overall(endings: &[Ending]) -> (Outcome, Exit) {
    let has = |outcome: &Outcome| endings.iter().any(|ending| ending.result == *outcome);
    if let Some(worst) = WRONG.into_iter().find(has) {
        let exit = if worst == Outcome::Retry { Exit::TryAgain } else { Exit::Failed };
        return (if has(&Outcome::Done) { Outcome::Partial } else { worst }, exit);
    }
    let good = [Outcome::WouldDo, Outcome::Done].into_iter().find(has);
    (good.unwrap_or(Outcome::AlreadyThere), Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_what_was_done_is_not_hidden() {
        use Outcome::*;
        let cases: [(&[Outcome], Outcome, Exit); 10] = [
            (&[Done], Done, Exit::Done),
            (&[AlreadyThere, AlreadyThere], AlreadyThere, Exit::Done),
            (&[AlreadyThere, Done], Done, Exit::Done),
            (&[WouldDo, AlreadyThere], WouldDo, Exit::Done),
            (&[WouldDo, Refused], Refused, Exit::Failed),
            (&[Refused, NotTried], Refused, Exit::Failed),
            (&[Retry, NotTried], Retry, Exit::TryAgain),
            (&[Done, Retry], Partial, Exit::TryAgain),
            (&[Done, Failed, Retry], Partial, Exit::Failed),
            (&[FlippedBack, Failed], FlippedBack, Exit::Failed),
        ];
        for (outcomes, result, exit) in cases {
            let endings: Vec<Ending> =
                outcomes.iter().map(|outcome| Ending::new("web", *outcome, "because")).collect();
            assert_eq!(overall(&endings), (result, exit), "{outcomes:?}");
        }
    }

    #[test]
    fn text_of_other_programs_stays_on_one_line_and_is_bounded() {
        let ending = Ending::new("web\n", Outcome::Failed, "\u{1b}[31m".to_owned() + &"x".repeat(10_000))
            .between(Some("v1\nv2"), None);
        let report = Report::new("kubernetes", "undo", false, vec![ending]);
        assert_eq!(report.target, "web\\n");
        assert_eq!(report.from.as_deref(), Some("v1\\nv2"));
        assert!(report.why.starts_with("\\u{1b}[31mxxx") && report.why.len() <= WHY_CHARS_MAX);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains("targets") && !text.contains("exit"), "{text}");
    }
}
