//! The terminal: lines above, a bar below while something is waited for.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::story::{LABEL_WIDTH, Line, Mark, Paint, TEXT_AT, Teller, Waiting, seconds};
use crate::engine::time::Span;

/// The width where there is no terminal to ask.
const WIDTH_WITHOUT_TERMINAL: usize = 100;

/// A terminal that says that it is narrower than this does not know its width.
const WIDTH_MIN: usize = 40;

/// Lines get no longer than this, however wide the terminal is: long lines are hard to read.
const WIDTH_MAX: usize = 120;

/// Prints the story.
pub struct Screen {
    /// The columns that may be used.
    pub width: usize,
    /// Whether colors are used.
    pub paint: Paint,
    live: bool,
    bar: Option<(Waiting, ProgressBar)>,
    /// What is waited for and how many quarters of it have been told, where no bar can be drawn.
    quarters: Option<(Waiting, i64)>,
}

impl Screen {
    /// Looks at standard output and at `NO_COLOR` (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let live = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = Table::new()
            .width()
            .map(usize::from)
            .filter(|width| *width >= WIDTH_MIN)
            .unwrap_or(WIDTH_WITHOUT_TERMINAL);
        let paint = if live && !no_color { Paint::Color } else { Paint::Plain };
        Self { width: width.min(WIDTH_MAX), paint, live, bar: None, quarters: None }
    }

    /// Prints lines of the story.
    pub fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.text(&line.render(self.width, self.paint));
        }
    }

    /// Prints text as it is.
    pub fn text(&mut self, text: &str) {
        let print = || {
            // A closed pipe (`| head`) is no reason to stop guarding what the demo has started.
            writeln!(std::io::stdout(), "{text}").unwrap_or_default();
        };
        match &self.bar {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows how far that is which is waited for at `now_wall_unix_ms`.
    pub fn show(&mut self, teller: &Teller, now_wall_unix_ms: i64) {
        if self.live {
            self.draw(teller.waiting(), now_wall_unix_ms);
        } else if let Some(line) = self.next_quarter(teller, now_wall_unix_ms) {
            self.lines(&[line]);
        }
    }

    fn draw(&mut self, waiting: Option<&Waiting>, now_wall_unix_ms: i64) {
        if self.bar.as_ref().map(|(drawn, _)| drawn) != waiting {
            self.clear();
            self.bar = waiting.map(|waiting| (waiting.clone(), self.bar_for(waiting)));
        }
        if let Some((waiting, bar)) = &self.bar {
            let (done, of) = progress(waiting, now_wall_unix_ms);
            bar.set_position(u64::try_from(done).unwrap_or(0));
            let clock = format!("{:.1}s of {:.0}s", done as f64 / 1000.0, of as f64 / 1000.0);
            // What does not fit is cut: a bar that wraps cannot be redrawn.
            let room = self.width.saturating_sub(TEXT_AT + self.bar_width() + 3);
            bar.set_message(format!("{clock}  {}", waiting.text).chars().take(room).collect::<String>());
        }
    }

    /// Takes the bar away; what is printed from here on stays the last line.
    pub fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A quarter of the screen: the clock and the text after the bar need the rest.
    fn bar_width(&self) -> usize {
        self.width / 4
    }

    fn bar_for(&self, waiting: &Waiting) -> ProgressBar {
        let (_, of) = progress(waiting, 0);
        let color = if self.paint == Paint::Color { ".yellow/dim" } else { "" };
        let template =
            format!("          ┆ {{prefix:{LABEL_WIDTH}}}{{bar:{}{color}}} {{msg}}", self.bar_width());
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stdout();
        let bar = ProgressBar::with_draw_target(Some(u64::try_from(of).unwrap_or(1)), target);
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(waiting.label);
        bar
    }

    /// Where no bar can be drawn: returns a line at each quarter.
    fn next_quarter(&mut self, teller: &Teller, now_wall_unix_ms: i64) -> Option<Line> {
        let Some(waiting) = teller.waiting() else {
            self.quarters = None;
            return None;
        };
        let told = match &self.quarters {
            Some((before, told)) if before == waiting => *told,
            _ => 0,
        };
        let (done, of) = progress(waiting, now_wall_unix_ms);
        let quarter = done * 4 / of;
        self.quarters = Some((waiting.clone(), quarter.max(told)));
        (quarter > told && quarter < 4).then(|| {
            let text = format!("{} of {}s: {}", seconds(Span::from_millis(done)), of / 1000, waiting.text);
            let at = teller.since_start(now_wall_unix_ms);
            Line { at, mark: Mark::Quiet, label: waiting.label.to_owned(), text, chapter: false }
        })
    }
}

/// Returns how much of it is over and how much it is in all, in milliseconds.
fn progress(waiting: &Waiting, now_wall_unix_ms: i64) -> (i64, i64) {
    let of = (waiting.until_wall_unix_ms - waiting.from_wall_unix_ms).max(1);
    ((now_wall_unix_ms - waiting.from_wall_unix_ms).clamp(0, of), of)
}

#[cfg(test)]
mod tests {
    use super::super::app::Version;
    use super::super::story::{Deed, Item};
    use super::*;

    #[test]
    fn without_a_terminal_each_quarter_is_told_once() {
        let mut teller = Teller::new(0);
        let what = Deed::Planned { version: Version::Two, at_wall_unix_ms: 9_000 };
        teller.tell(&Item::Deed { wall_unix_ms: 1_000, what });
        let mut screen = Screen { width: 80, paint: Paint::Plain, live: false, bar: None, quarters: None };
        let cases = [
            (1_000, None),
            (2_999, None),
            (3_100, Some("2.1s of 8s: until version 2 is deployed")),
            (3_200, None),
            (7_500, Some("6.5s of 8s: until version 2 is deployed")),
            (9_000, None),
            (99_000, None),
        ];
        for (now, expected) in cases {
            let line = screen.next_quarter(&teller, now).map(|line| line.text);
            assert_eq!(line.as_deref(), expected, "at {now} ms");
        }
        let deployed = Item::Deed { wall_unix_ms: 9_000, what: Deed::Deployed(Version::Two) };
        teller.tell(&deployed);
        assert_eq!(screen.next_quarter(&teller, 9_100), None);
    }
}
