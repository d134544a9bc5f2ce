//! Expectations in words, as a test would say them aloud.

use std::fmt;

use super::{
    ENDS, Fill, KINDS, Kind, MESSAGES, Pattern, STANDINGS, Standing, StatePattern, VERDICTS, VerdictWord,
    When,
};

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, other)| *other == value).map_or("", |(word, _)| word)
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{} to {}", self.from, self.to)
        }
    }
}

impl fmt::Display for Pattern {
    /// Prints it as a test would say it aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |what: &str| self.name.as_ref().map_or(format!("any {what}"), |name| name.value.clone());
        match self.kind {
            Kind::Fires => write!(f, "{} fires", any("trigger"))?,
            Kind::Pending => write!(f, "{} becomes pending", any("trigger"))?,
            Kind::Clears => write!(f, "{} clears", any("trigger"))?,
            Kind::Rollback => {
                write!(f, "rollback by {}", any("plan"))?;
                match (&self.ends, &self.refused) {
                    (Some(end), _) => write!(f, " ends: {}", word(&ENDS, *end))?,
                    (None, Some(why)) => write!(f, " is not begun: {why}")?,
                    (None, None) => write!(f, " begins")?,
                }
            }
            Kind::Step => match &self.ends {
                Some(end) => write!(f, "step {} ends: {}", any("step"), word(&ENDS, *end))?,
                None => write!(f, "step {} begins", any("step"))?,
            },
            Kind::Page => write!(f, "{} to {}", word(&MESSAGES, self.message), any("receiver"))?,
            Kind::Incident if self.resolved => write!(f, "incident is resolved: {}", any("incident"))?,
            Kind::Incident => write!(f, "incident opens: {}", any("incident"))?,
            Kind::Event => write!(f, "{}", any("event"))?,
        }
        let details = [("measured ", &self.value), ("because ", &self.because), ("says ", &self.says)];
        for (what, detail) in details {
            if let Some(detail) = detail {
                write!(f, ", {what}{detail:?}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for StatePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query { text, is, .. } => match is {
                Some(value) => write!(f, "{text} is {value}"),
                None => write!(f, "{text} is nothing"),
            },
            Self::Trigger { name, is, verdict, value, window, because } => {
                let parts = [
                    is.map(|is| word(&STANDINGS, is).to_owned()),
                    verdict.map(|verdict| format!("verdict {}", word(&VERDICTS, verdict))),
                    value.as_ref().map(|value| format!("measured {value}")),
                    window.map(|window| match window {
                        Fill::Time(span) => format!("breached for {span}"),
                        Fill::Count(count, of) => format!("{count} of {of} breaches"),
                    }),
                    because.as_ref().map(|because| format!("because {because:?}")),
                ];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                write!(f, "{} is {}", name.value, parts.join(", "))
            }
        }
    }
}

impl Kind {
    /// Returns the word for it.
    pub(in super::super) fn word(self) -> &'static str {
        word(&KINDS, self)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(&STANDINGS, *self))
    }
}

impl fmt::Display for VerdictWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "not judged yet",
            other => word(&VERDICTS, *other),
        })
    }
}
