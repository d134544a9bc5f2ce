//! A line of the story and how it is printed: columns, wrapping, color.

use clap::builder::styling::{AnsiColor, Style};

use crate::effects::printable;
use crate::engine::time::Span;

/// The column in which labels begin: two blanks, the time, the mark.
const LABEL_AT: usize = 12;

/// The width of the column of labels.
pub const LABEL_WIDTH: usize = 13;

/// The column in which texts begin.
pub const TEXT_AT: usize = LABEL_AT + LABEL_WIDTH;

/// What kind of news a line is: a sign and a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Good to know.
    Quiet,
    /// Something happened.
    News,
    /// It may turn bad.
    Warning,
    /// It is bad.
    Bad,
    /// It is good.
    Good,
    /// Rearguard does something.
    Act,
    /// Something reached the world outside.
    Arrived,
}

/// Whether colors are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// With colors, for terminals.
    Color,
    /// Without.
    Plain,
}

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, since the story began.
    pub at: Span,
    /// What kind of news it is.
    pub mark: Mark,
    /// One or two words.
    pub label: String,
    /// What happened.
    pub text: String,
    /// Whether a chapter of the story begins here.
    pub chapter: bool,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Self::Quiet => '·',
            Self::News => '●',
            Self::Warning => '!',
            Self::Bad => '✗',
            Self::Good => '✓',
            Self::Act => '▶',
            Self::Arrived => '←',
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Quiet => Style::new().dimmed(),
            Self::News => Style::new().bold(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Act => AnsiColor::Cyan.on_default().bold(),
            Self::Arrived => AnsiColor::Magenta.on_default(),
        }
    }
}

impl Paint {
    /// Returns `text` in `style`, or as it is.
    pub fn apply(self, style: Style, text: &str) -> String {
        match self {
            Self::Color => format!("{style}{text}{style:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

impl Line {
    /// Prints the line for a terminal of `width` columns: wrapped, and continued under the text.
    pub fn render(&self, width: usize, paint: Paint) -> String {
        let dim = Style::new().dimmed();
        let at = format!("{:+.1}s", self.at.as_secs_f64());
        let gap = if self.chapter { "\n" } else { "" };
        let sign = self.mark.sign().to_string();
        let label = format!("{:LABEL_WIDTH$}", self.label);
        let mut out = format!(
            "{gap}{} {} {}",
            paint.apply(dim, &format!("{at:>9}")),
            paint.apply(self.mark.style(), &sign),
            paint.apply(self.mark.style(), &label)
        );
        for (number, part) in
            wrap(&printable::line(&self.text), width.saturating_sub(TEXT_AT)).iter().enumerate()
        {
            if number > 0 {
                out.push('\n');
                out.push_str(&" ".repeat(TEXT_AT));
            }
            let dimmed = self.mark == Mark::Quiet;
            out.push_str(&if dimmed { paint.apply(dim, part) } else { part.clone() });
        }
        out
    }
}

/// Breaks `text` at blanks into parts of at most `width` characters; longer words are cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut parts = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            parts.push(String::new());
            used = 0;
        }
        if used > 0 {
            parts.last_mut().into_iter().for_each(|part| part.push(' '));
            used += 1;
        }
        for c in word.chars() {
            if used == width {
                parts.push(String::new());
                used = 0;
            }
            parts.last_mut().into_iter().for_each(|part| part.push(c));
            used += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let (at, label) = (Span::from_millis(12_340), "firing".to_owned());
        Line { at, mark: Mark::Bad, label, text: text.to_owned(), chapter: false }
    }

    #[test]
    fn columns_are_aligned_and_long_texts_continue_under_themselves() {
        let rendered = line("one two three four five six seven eight").render(49, Paint::Plain);
        let expected =
            "   +12.3s ✗ firing       one two three four five\n                         six seven eight";
        assert_eq!(rendered, expected);
        let late = Line { at: Span::from_millis(-100), ..line("x") };
        assert_eq!(late.render(80, Paint::Plain), "    -0.1s ✗ firing       x");
        let chapter = Line { chapter: true, ..line("x") };
        assert_eq!(chapter.render(80, Paint::Plain), "\n   +12.3s ✗ firing       x");
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_hide() {
        let rendered = line("a\u{1b}[2Jb\nc\u{202e}d").render(80, Paint::Plain);
        assert!(rendered.ends_with(r"a\u{1b}[2Jb\nc\u{202e}d"), "{rendered}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_overflows_its_column_or_is_lost(text in "[a-z ]{0,200}", width in 20_usize..90) {
            let parts = wrap(&text, width);
            proptest::prop_assert!(parts.iter().all(|part| part.chars().count() <= width));
            let squeezed = |text: &str| text.replace(' ', "");
            proptest::prop_assert_eq!(squeezed(&parts.concat()), squeezed(&text));
        }
    }
}
