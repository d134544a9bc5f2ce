//! `rearguard test --mutate`: which limits and windows of the rules no test holds in their place.

use std::path::PathBuf;

use regex::Regex;

use super::super::{CommandError, Exit, print};
use super::text::{BAD, GOOD, painted};
use crate::config::{self, Style};
use crate::engine::decision::counted;
use crate::replay::rule_test::mutation::{self, Change, Fate, Mutant};

/// How many changes ended in which way.
#[derive(Default, PartialEq, Eq)]
struct Counts {
    caught: usize,
    refused: usize,
    excused: usize,
    survived: usize,
    /// What is called unnoticeable, and is not.
    wrong: usize,
}

/// Changes the rules of every test file, and prints what became of each change.
pub(super) fn run(files: &[PathBuf], rules: &str, style: Style) -> Result<Exit, CommandError> {
    let wanted = Regex::new(rules)
        .map_err(|error| CommandError::usage(format!("--mutate is not a regular expression: {error}")))?;
    let mut counts = Counts::default();
    let (mut cannot, mut failing) = (false, 0);
    for path in files {
        match mutation::run(path, |rule| wanted.is_match(rule)) {
            Ok(mutation) => {
                failing += mutation.failing.len();
                for name in &mutation.failing {
                    let told = painted(style, BAD, "FAILS without a change");
                    print(&format!("{}: {told}: {name}\n", path.display()))?;
                }
                for (mutant, fate) in &mutation.tried {
                    counts.add(fate);
                    print(&line(mutant, fate, style))?;
                }
                if !mutation.wrong.is_empty() {
                    counts.wrong += mutation.wrong.len();
                    print(&config::render(&mutation.wrong, &mutation.files, style))?;
                }
            }
            Err(refused) => {
                cannot = true;
                print(&config::render(&refused.problems, &refused.files, style))?;
            }
        }
    }
    if cannot {
        return Ok(Exit::Usage);
    }
    if failing > 0 {
        let told = counted(failing, "failing test");
        print(&format!("{told}: where one fails anyway, that it fails after a change proves nothing\n"))?;
        return Ok(Exit::Failed);
    }
    if counts == Counts::default() {
        let error = CommandError::usage("there was nothing to change");
        return Err(error.with_hint("no rule with a limit or a window has such a name"));
    }
    print(&counts.told(style))?;
    Ok(if counts.survived + counts.wrong == 0 { Exit::Done } else { Exit::Failed })
}

impl Counts {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Caught(_) => self.caught += 1,
            Fate::Refused(_) => self.refused += 1,
            Fate::Excused(_) => self.excused += 1,
            Fate::Survived => self.survived += 1,
        }
    }

    fn told(&self, style: Style) -> String {
        let Self { caught, refused, excused, survived, wrong } = self;
        let counts =
            format!("{caught} caught by a test, {refused} refused when loaded, {excused} unnoticeable");
        let mut bad = Vec::new();
        if *survived > 0 {
            bad.push(format!("{survived} NOT NOTICED"));
        }
        if *wrong > 0 {
            bad.push(format!("{wrong} NOT UNNOTICEABLE"));
        }
        if bad.is_empty() {
            format!("{}: {counts}\n", painted(style, GOOD, "every change is noticed"))
        } else {
            format!("{}: {counts}\n", painted(style, BAD, &bad.join(", ")))
        }
    }
}

/// Tells what became of one change.
fn line(mutant: &Mutant, fate: &Fate, style: Style) -> String {
    let Mutant { rule, place, before, after, .. } = mutant;
    let change = format!("{place}  {rule}: {before}  ->  {after}");
    match fate {
        Fate::Caught(test) => format!("{change}   caught by \"{test}\"\n"),
        Fate::Refused(why) => format!("{change}   refused: {why}\n"),
        Fate::Excused(why) => format!("{change}   unnoticeable: {why}\n"),
        Fate::Survived => {
            let told = painted(style, BAD, "NOT NOTICED");
            format!("{change}   {told}\n    {}\n", hint(mutant))
        }
    }
}

/// Says which test is missing.
fn hint(mutant: &Mutant) -> &'static str {
    match mutant.change {
        Change::Comparison => {
            "give the indicator exactly the limit, and expect what follows or that nothing does"
        }
        Change::Number => {
            "give the indicator a value just inside and one just outside, or be in breach for just as long and a little less"
        }
    }
}
