//! Results for pipelines: the XML that JUnit's reporters write and every CI server reads.
//!
//! There is no standard; this keeps to what the readers of Jenkins, GitLab and GitHub agree on: a `testsuite` per file, a
//! `testcase` per test, one `failure` with the differences as text. A file that cannot be run is an `error`.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::{Outcome, text};
use crate::config::Style;
use crate::engine::rules::Level;
use crate::replay::rule_test::TestReport;

/// Returns the whole document.
pub(super) fn document(outcomes: &[Outcome]) -> String {
    let mut document = Document(Writer::new_with_indent(Vec::new(), b' ', 2));
    document.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    let tests = outcomes.iter().map(cases).sum::<usize>();
    let failures = outcomes.iter().map(|outcome| outcome.report.failed()).sum::<usize>();
    let errors = outcomes.iter().filter(|outcome| outcome.is_refused()).count();
    document.open("testsuites", &counts("rearguard test", tests, failures, errors));
    for outcome in outcomes {
        document.suite(outcome);
    }
    document.close("testsuites");
    let mut text = String::from_utf8_lossy(&document.0.into_inner()).into_owned();
    text.push('\n');
    text
}

/// Returns how many test cases a file has; one that cannot be run counts as one.
fn cases(outcome: &Outcome) -> usize {
    outcome.report.tests.len() + usize::from(outcome.is_refused())
}

fn counts(name: &str, tests: usize, failures: usize, errors: usize) -> [(&'static str, String); 4] {
    [
        ("name", name.to_owned()),
        ("tests", tests.to_string()),
        ("failures", failures.to_string()),
        ("errors", errors.to_string()),
    ]
}

struct Document(Writer<Vec<u8>>);

impl Document {
    fn suite(&mut self, outcome: &Outcome) {
        let file = &outcome.report.file;
        let refused = outcome.is_refused();
        let failed = outcome.report.failed();
        self.open("testsuite", &counts(file, cases(outcome), failed, usize::from(refused)));
        for test in &outcome.report.tests {
            self.case(file, test);
        }
        if refused {
            self.open("testcase", &[("name", file.clone()), ("classname", file.clone())]);
            let error = outcome.problems.iter().find(|problem| problem.level == Level::Error);
            let message = error.map(ToString::to_string).unwrap_or_default();
            self.open("error", &[("message", message), ("type", "invalid".to_owned())]);
            self.text(&outcome.render_problems(Style::Plain));
            self.close("error");
            self.close("testcase");
        }
        self.close("testsuite");
    }

    fn case(&mut self, file: &str, test: &TestReport) {
        let attributes = [
            ("name", test.name.clone()),
            ("classname", file.to_owned()),
            ("file", file.to_owned()),
            ("line", test.line.to_string()),
        ];
        self.open("testcase", &attributes);
        // One `failure` per test: some readers show the first only.
        if let Some(first) = test.failures.first() {
            let more = match test.failures.len() {
                1 => String::new(),
                all => format!(" (and {} more)", all - 1),
            };
            let message = format!("{}{more}", text::headline(first));
            self.open("failure", &[("message", message), ("type", "difference".to_owned())]);
            let mut told: Vec<String> =
                test.failures.iter().map(|failure| text::failure(failure, Style::Plain)).collect();
            if !test.timeline.is_empty() {
                told.push(text::timeline(&test.timeline, Style::Plain));
            }
            self.text(&format!("\n{}", told.join("\n")));
            self.close("failure");
        }
        self.close("testcase");
    }

    fn open(&mut self, name: &str, attributes: &[(&str, String)]) {
        let mut start = BytesStart::new(name);
        for (name, value) in attributes {
            start.push_attribute((*name, legal(value).as_str()));
        }
        self.event(Event::Start(start));
    }

    fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn text(&mut self, text: &str) {
        self.event(Event::Text(BytesText::new(&legal(text))));
    }

    fn event(&mut self, event: Event<'_>) {
        // Writing to a vector cannot fail.
        self.0.write_event(event).unwrap_or_default();
    }
}

/// Escapes what XML 1.0 cannot hold in any form (its production `Char`): most control characters, two noncharacters.
fn legal(text: &str) -> String {
    let is_legal = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    };
    let mut legal = String::with_capacity(text.len());
    for c in text.chars() {
        if is_legal(c) {
            legal.push(c);
        } else {
            legal.extend(c.escape_default());
        }
    }
    legal
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::*;
    use crate::engine::time::Span;
    use crate::replay::rule_test::{Cause, Failure, FileReport, Subject};

    /// Reads a document back: elements with their attributes, and texts.
    fn read_back(xml: &str) -> Vec<String> {
        let mut reader = Reader::from_str(xml);
        let mut told = Vec::new();
        loop {
            match reader.read_event().expect("is XML") {
                Event::Eof => return told,
                Event::Start(start) => {
                    let mut element = start.name().as_ref().to_owned();
                    for attribute in start.attributes() {
                        let attribute = attribute.expect("is an attribute");
                        let value = attribute.value.into_owned();
                        let value = quick_xml::escape::unescape(&value).expect("is escaped").into_owned();
                        element.push_str(&format!(" {}={value}", attribute.key.as_ref()));
                    }
                    told.push(element);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn whatever_names_and_messages_hold_it_stays_xml() {
        let hostile = "a<b>&\"'\u{0}\u{1b}[2J]]>\u{ffff}é";
        let failure = Failure {
            file: "f.yaml".to_owned(),
            line: 3,
            at: Span::from_secs(60),
            subject: Subject::Alert { name: hostile.to_owned() },
            cause: Cause::Failed { message: hostile.to_owned() },
            note: None,
        };
        let test = TestReport {
            name: hostile.to_owned(),
            line: 2,
            checks: 1,
            failures: vec![failure.clone(), failure],
            timeline: Vec::new(),
        };
        let passed = TestReport {
            name: "good".to_owned(),
            line: 9,
            checks: 1,
            failures: Vec::new(),
            timeline: Vec::new(),
        };
        let report = FileReport { file: "f.yaml".to_owned(), tests: vec![test, passed] };
        let outcomes = [Outcome { report, problems: Vec::new(), files: Vec::new() }];
        let xml = document(&outcomes);
        let told = read_back(&xml);
        let name = r#"a<b>&"'\u{0}\u{1b}[2J]]>\u{ffff}é"#;
        let expected = [
            "testsuites name=rearguard test tests=2 failures=1 errors=0".to_owned(),
            "testsuite name=f.yaml tests=2 failures=1 errors=0".to_owned(),
            format!("testcase name={name} classname=f.yaml file=f.yaml line=2"),
            format!("failure message=alert {name} at 1m: {name} (and 1 more) type=difference"),
            "testcase name=good classname=f.yaml file=f.yaml line=9".to_owned(),
        ];
        assert_eq!(told, expected, "{xml}");
        assert!(!xml.contains(['\u{0}', '\u{1b}', '\u{ffff}']), "{xml:?}");
    }
}
