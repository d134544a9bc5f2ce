//! `during`: in which times a rule is judged, or may act.

use std::collections::BTreeSet;
use std::fmt;

use super::decode::{text, texts};
use super::diagnostic::{Diagnostic, Findings, name_hint};
use super::set::{During, Scope};
use super::yaml::{Node, Scalar};
use crate::engine::model::CalendarName;

/// The words that are no calendars.
const WORDS: [&str; 3] = ["deployment", "soak", "stage 25%"];

/// One word of `during` as it stands in the file; calendars are not looked up yet.
#[derive(Clone, Debug)]
pub struct WrittenDuring {
    during: During,
    /// As written.
    written: Scalar,
}

impl WrittenDuring {
    /// Returns the calendar that it names, if it names one.
    pub fn calendar(&self) -> Option<&CalendarName> {
        match &self.during.scope {
            Scope::Calendar(name) => Some(name),
            _ => None,
        }
    }
}

/// Reads `during`: one word or a list of them.
pub fn read(node: &Node, out: &mut Findings) -> Vec<WrittenDuring> {
    let words: Vec<&Scalar> = match node {
        Node::Scalar(_) => text(node, "`during`", out).into_iter().collect(),
        node => texts(node, "`during`", out),
    };
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = "`during` names no time: leave it out for always";
        out.push(Diagnostic::error("no-scope", node.place(), message));
    }
    words.into_iter().filter_map(|word| one(word, out)).collect()
}

fn one(written: &Scalar, out: &mut Findings) -> Option<WrittenDuring> {
    let words: Vec<&str> = written.value.split_whitespace().collect();
    let (is, words) = match words.as_slice() {
        ["not", rest @ ..] => (false, rest),
        all => (true, all),
    };
    let scope = match words {
        ["deployment"] => Ok(Scope::Deployment),
        ["soak"] => Ok(Scope::Soak),
        ["stage", share] => {
            part(share).map(Scope::Stage).ok_or("a stage is a part of the traffic: `stage 25%`")
        }
        ["stage"] => Err("which stage? `stage 25%`"),
        [calendar] if *calendar != "not" => Ok(Scope::Calendar(CalendarName::from(*calendar))),
        _ => Err("one word each: `deployment`, `soak`, `stage 25%`, a calendar, or `not` before one of them"),
    };
    match scope {
        Ok(scope) => Some(WrittenDuring { during: During { is, scope }, written: written.clone() }),
        Err(hint) => {
            let message = format!("`during` cannot be `{}`", written.value.escape_debug());
            out.push(Diagnostic::error("bad-scope", written.place(), message).hint(hint));
            None
        }
    }
}

fn part(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
    (percent > 0.0 && percent <= 100.0).then_some(percent / 100.0)
}

/// Looks up calendars; tells words that contradict each other.
pub fn link(
    written: &[WrittenDuring],
    calendars: &BTreeSet<CalendarName>,
    out: &mut Findings,
) -> Vec<During> {
    for (at, word) in written.iter().enumerate() {
        if let Scope::Calendar(name) = &word.during.scope
            && !calendars.contains(name)
        {
            let message = format!("there is no calendar `{}`", name.as_str().escape_debug());
            let known = calendars.iter().map(CalendarName::as_str).chain(WORDS);
            let hint = name_hint(name.as_str(), "calendar or time", known);
            out.push(Diagnostic::error("unknown-name", word.written.place(), message).hint(hint));
        }
        let contradicts = |other: &&WrittenDuring| {
            let (one, other) = (&word.during, &other.during);
            let both_stages =
                |a: &Scope, b: &Scope| matches!((a, b), (Scope::Stage(_), Scope::Stage(_))) && a != b;
            (one.scope == other.scope && one.is != other.is)
                || (one.is && other.is && both_stages(&one.scope, &other.scope))
                || never_together(one, other)
                || never_together(other, one)
        };
        if let Some(other) = written[..at].iter().find(contradicts) {
            let message =
                format!("`{}` and `{}` are never true at once", other.written.value, word.written.value);
            let hint = "all words of a list must be true: write a trigger for each";
            out.push(Diagnostic::error("empty-scope", word.written.place(), message).hint(hint));
        }
    }
    written.iter().map(|word| word.during.clone()).collect()
}

/// Soak and stages are parts of a deployment, and never at once.
fn never_together(one: &During, other: &During) -> bool {
    match (&one.scope, &other.scope) {
        (Scope::Soak | Scope::Stage(_), Scope::Deployment) => one.is && !other.is,
        (Scope::Soak, Scope::Stage(_)) => one.is && other.is,
        _ => false,
    }
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is {
            f.write_str("not ")?;
        }
        match &self.scope {
            Scope::Deployment => f.write_str("deployment"),
            Scope::Soak => f.write_str("soak"),
            Scope::Calendar(name) => write!(f, "{name}"),
            // Percentages as people write them: 0.07 is 7%, not 7.000000000000001%.
            Scope::Stage(share) => write!(f, "stage {}%", (share * 1e8).round() / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::SourceFile;
    use super::super::yaml;
    use super::*;

    /// Reads a value of `during`; returns it as it is shown, or the problems.
    fn read_back(value: &str) -> Result<Vec<String>, Vec<String>> {
        let file = SourceFile::new("t.yaml", &format!("{value}\n"));
        let node = yaml::parse(&file).ok().flatten().expect("YAML");
        let mut out = Findings::default();
        let written = read(&node, &mut out);
        let linked = link(&written, &BTreeSet::from(["market".into()]), &mut out);
        match out.conclude(linked) {
            Ok((linked, _)) => Ok(linked.iter().map(ToString::to_string).collect()),
            Err(all) => {
                Err(all.iter().map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.code)).collect())
            }
        }
    }

    #[test]
    fn words_read_back_and_mistakes_are_told_at_their_place() {
        let good: [(&str, &[&str]); 5] = [
            ("deployment", &["deployment"]),
            ("[market, deployment]", &["market", "deployment"]),
            ("not market", &["not market"]),
            ("[stage 7%, not market]", &["stage 7%", "not market"]),
            ("[soak, deployment]", &["soak", "deployment"]),
        ];
        for (text, shown) in good {
            assert_eq!(read_back(text).unwrap(), shown, "{text}");
        }
        let bad: [(&str, &[&str]); 11] = [
            ("marked", &["1:1 unknown-name"]),
            ("[]", &["1:1 no-scope"]),
            ("[market, stage]", &["1:10 bad-scope"]),
            ("stage 25", &["1:1 bad-scope"]),
            ("stage 0%", &["1:1 bad-scope"]),
            ("stage 101%", &["1:1 bad-scope"]),
            ("not", &["1:1 bad-scope"]),
            ("the weekend", &["1:1 bad-scope"]),
            ("[market, not market]", &["1:10 empty-scope"]),
            ("[stage 25%, soak]", &["1:13 empty-scope"]),
            ("[not deployment, soak]", &["1:18 empty-scope"]),
        ];
        for (text, problems) in bad {
            assert_eq!(read_back(text).unwrap_err(), problems, "{text}");
        }
    }
}
