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
                // Only the line itself: a scrape body may have a hundred thousand of them.
                let (line, span) = line_of(file.text(), place.span.clone());
                let mut annotation = AnnotationKind::Primary.span(span);
                if !diagnostic.label.is_empty() {
                    annotation = annotation.label(diagnostic.label.as_str());
                }
                let snippet = Snippet::source(line).line_start(place.line).path(&*place.file);
                group.element(snippet.annotation(annotation))
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

/// Returns the line in which a range begins, and the part of the range that lies in it: a caret under a whole block says
/// nothing more.
fn line_of(text: &str, span: std::ops::Range<usize>) -> (&str, std::ops::Range<usize>) {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.start..].find('\n').map_or(text.len(), |newline| span.start + newline);
    (&text[start..end], span.start - start..span.end.min(end) - start)
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
    let notes = of(Level::Note);
    if notes > 0 {
        text.truncate(text.trim_end().len());
        text.push_str(&format!(", {}\n", words(notes, "note")));
    }
    text
}
