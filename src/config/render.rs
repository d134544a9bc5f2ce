//! Shows problems the way compilers do: file, line, column, the line itself with a caret, and what to do next.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level as Title, Origin, Renderer, Snippet};

use super::credentials::SECRET_IN_TEXT;
use crate::engine::rules::{Diagnostic, Level, SourceFile};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain ASCII, for files, pipes and logs.
    Plain,
    /// Colours, for a terminal.
    Colored,
}

/// Renders every problem with its excerpt from `files`, and a last line that counts them.
///
/// A line that holds a secret is never shown, whatever else is wrong with it.
pub fn render(diagnostics: &[Diagnostic], files: &[SourceFile], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Colored => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let withheld: BTreeSet<(&str, usize)> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code == SECRET_IN_TEXT)
        .map(|diagnostic| (&*diagnostic.place.file, diagnostic.place.line))
        .collect();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let place = &diagnostic.place;
        let level = match diagnostic.level {
            Level::Error => Title::ERROR,
            Level::Warning => Title::WARNING,
            Level::Note => Title::NOTE,
        };
        let mut group = level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code)
            .elements([] as [Origin<'_>; 0]);
        let file = files.iter().find(|file| file.name() == &*place.file);
        group = match file.filter(|_| !withheld.contains(&(&*place.file, place.line))) {
            Some(file) if !file.text().is_empty() => {
                let mut annotation =
                    AnnotationKind::Primary.span(first_line(file.text(), place.span.clone()));
                if !diagnostic.label.is_empty() {
                    annotation = annotation.label(diagnostic.label.as_str());
                }
                group.element(Snippet::source(file.text()).path(&*place.file).annotation(annotation))
            }
            Some(_) => group.element(Origin::path(&*place.file)),
            None => group.element(Origin::path(&*place.file).line(place.line).char_column(place.column)),
        };
        if let Some(hint) = &diagnostic.hint {
            group = group.element(Title::HELP.message(hint.as_str()));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text.push_str(&count(diagnostics));
    text
}

/// Shortens a range to its first line: a caret under a whole block says nothing more.
fn first_line(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let excerpt = &text[span.clone()];
    let length = excerpt.find('\n').unwrap_or(excerpt.len());
    span.start..span.start + length
}

fn count(diagnostics: &[Diagnostic]) -> String {
    let of = |level| diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count();
    let words = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let written =
        writeln!(text, "{}, {}", words(of(Level::Error), "error"), words(of(Level::Warning), "warning"));
    debug_assert!(written.is_ok());
    text
}
