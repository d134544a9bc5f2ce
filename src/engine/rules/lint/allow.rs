//! Silencing one lint at one place: a comment `# rearguard: allow NAME` on the line or above it.

use std::collections::BTreeMap;

use super::super::diagnostic::{Diagnostic, SourceFile, name_hint};

const MARK: &str = "rearguard:";

/// What the comments of one file allow.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// By line, counted from 1.
    names: BTreeMap<usize, Vec<String>>,
    /// Lines that hold nothing but a comment: what they allow holds for the line below.
    comment_lines: Vec<bool>,
}

/// Reads the comments of a file; `known` are the names that may be allowed.
///
/// A name that nobody knows would silence nothing, so it is a warning.
pub fn read<'k>(
    file: &SourceFile,
    known: impl Iterator<Item = &'k str> + Clone,
    out: &mut Vec<Diagnostic>,
) -> Allowed {
    let mut allowed = Allowed::default();
    let mut start = 0;
    for (index, line) in file.text().split('\n').enumerate() {
        allowed.comment_lines.push(line.trim_start().starts_with('#'));
        if let Some((at, comment)) = comment(line) {
            for (offset, name) in names(comment) {
                if known.clone().any(|one| one == name) {
                    allowed.names.entry(index + 1).or_default().push(name.to_owned());
                } else {
                    let from = start + at + offset;
                    let place = file.place(from..from + name.len());
                    let message =
                        format!("there is no lint `{}`, so nothing is allowed here", name.escape_debug());
                    let hint = name_hint(name, "lint", known.clone());
                    out.push(Diagnostic::warning("unknown-lint", place, message).hint(hint));
                }
            }
        }
        start += line.len() + 1;
    }
    allowed
}

/// Returns what follows `# rearguard: allow` on a line, and where that begins.
fn comment(line: &str) -> Option<(usize, &str)> {
    let blanks_before = |at: usize| at == 0 || line[..at].ends_with([' ', '\t']);
    let (hash, _) = line.match_indices('#').find(|(at, _)| {
        blanks_before(*at) && line[at + 1..].trim_start_matches(['#', ' ', '\t']).starts_with(MARK)
    })?;
    let at = hash + line[hash..].find(MARK)? + MARK.len();
    let rest = line[at..].trim_start().strip_prefix("allow")?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some((line.len() - rest.len(), rest))
}

/// Returns the names of a list `a, b`, with their places; what follows the list is a reason, for people.
fn names(list: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut at = 0;
    loop {
        at += list[at..].len() - list[at..].trim_start().len();
        let length =
            list[at..].find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(list[at..].len());
        if length == 0 {
            return names;
        }
        names.push((at, &list[at..at + length]));
        at += length;
        match list[at..].strip_prefix(',') {
            Some(_) => at += 1,
            None => return names,
        }
    }
}

impl Allowed {
    /// Returns whether the comments allow this kind of problem at one of the lines.
    pub fn covers(&self, name: &str, lines: &[usize]) -> bool {
        lines.iter().any(|line| self.at(name, *line) || self.above(name, *line))
    }

    fn at(&self, name: &str, line: usize) -> bool {
        self.names.get(&line).is_some_and(|names| names.iter().any(|one| one == name))
    }

    /// Looks through the comment lines that stand directly above.
    fn above(&self, name: &str, line: usize) -> bool {
        let mut above = line.saturating_sub(1);
        while above > 0 && self.comment_lines.get(above - 1) == Some(&true) {
            if self.at(name, above) {
                return true;
            }
            above -= 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_allow_their_own_line_and_the_one_below() {
        let text = "\
a: 1 # rearguard: allow one
b: 2
# rearguard: allow one, two because we know
# another comment
c: 3
d: 'text # rearguard: allowed'
e: 5 #rearguard: allow nonsense
";
        let file = SourceFile::new("t.yaml", text);
        let mut out = Vec::new();
        let allowed = read(&file, ["one", "two"].into_iter(), &mut out);
        let cases = [
            ("one", 1, true),
            ("two", 1, false),
            ("one", 2, false),
            ("one", 5, true),
            ("two", 5, true),
            ("two", 6, false),
        ];
        for (name, line, expected) in cases {
            assert_eq!(allowed.covers(name, &[line]), expected, "{name} at line {line}");
        }
        let told: Vec<_> = out.iter().map(|d| (d.code, d.place.line, d.place.column)).collect();
        assert_eq!(told, [("unknown-lint", 7, 24)]);
    }
}
