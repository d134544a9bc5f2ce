//! Sections of facts as text for a terminal, or as Markdown.

use serde::Serialize;

/// How many columns stand before a section's rows.
const INDENT: usize = 2;

/// The most that a column but the last takes; longer cells push the rest of their row to the right.
const COLUMN_MAX: usize = 32;

/// The least room in which the last column is wrapped; in less it is not.
const ROOM_MIN: usize = 20;

/// A part of a story: rows of facts under a title.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Section {
    pub(super) title: String,
    /// One name for each cell of the rows.
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

/// One fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// What belongs below it as it is: what a step printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) below: Vec<String>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row { cells: cells.into_iter().collect(), below: Vec::new() });
    }
}

/// Returns the sections that say something, for a terminal of `width` columns; unwrapped where there is none.
pub(super) fn text(sections: &[Section], width: Option<usize>) -> String {
    let told = sections.iter().filter(|section| !section.rows.is_empty());
    told.map(|section| section_text(section, width)).collect::<Vec<_>>().join("\n")
}

fn section_text(section: &Section, width: Option<usize>) -> String {
    let mut text = format!("{}\n", section.title);
    let widths = widths(section);
    for row in &section.rows {
        let mut line = " ".repeat(INDENT);
        let Some((last, first)) = row.cells.split_last() else { continue };
        for (cell, width) in first.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat((width + 2).saturating_sub(cell.chars().count()).max(1)));
        }
        let hang = INDENT + widths.iter().take(first.len()).map(|width| width + 2).sum::<usize>();
        let room =
            width.map(|width| width.saturating_sub(line.chars().count())).filter(|room| *room >= ROOM_MIN);
        for (nth, part) in wrapped(last, room).into_iter().enumerate() {
            if nth > 0 {
                line.push('\n');
                line.push_str(&" ".repeat(hang));
            }
            line.push_str(&part);
        }
        text.push_str(line.trim_end());
        text.push('\n');
        for below in &row.below {
            text.push_str(&format!("{}| {below}\n", " ".repeat(INDENT + 2)));
        }
    }
    text
}

/// Returns how wide each column but the last is.
fn widths(section: &Section) -> Vec<usize> {
    let of = |column: usize| {
        let cells = section.rows.iter().filter(|row| column + 1 < row.cells.len());
        cells
            .map(|row| row.cells[column].chars().count())
            .filter(|width| *width <= COLUMN_MAX)
            .max()
            .unwrap_or(0)
    };
    (0..section.columns.len().saturating_sub(1)).map(of).collect()
}

/// Breaks a text between words; a word that is too long for a line stays whole, so that it can be copied.
fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
        }
        used += length;
    }
    lines
}

/// Returns the sections as Markdown under a heading.
pub(super) fn markdown(heading: &str, sections: &[Section]) -> String {
    let mut text = format!("# {}\n", escaped(heading));
    for section in sections.iter().filter(|section| !section.rows.is_empty()) {
        text.push_str(&format!("\n## {}\n\n", escaped(&section.title)));
        text.push_str(&format!("| {} |\n", section.columns.join(" | ")));
        text.push_str(&format!("|{}\n", "---|".repeat(section.columns.len())));
        for row in &section.rows {
            let cells: Vec<String> = row.cells.iter().map(|cell| escaped(cell)).collect();
            let missing = "| ".repeat(section.columns.len().saturating_sub(cells.len()));
            text.push_str(&format!("| {} {missing}|\n", cells.join(" | ")));
        }
        for row in section.rows.iter().filter(|row| !row.below.is_empty()) {
            let name = row.cells.iter().rev().skip(1).rev().map(|cell| escaped(cell));
            let name = name.collect::<Vec<_>>().join(" ");
            // Indented, not fenced: no output can end the block.
            text.push_str(&format!("\n{name}:\n\n"));
            for line in &row.below {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
    text
}

/// Makes a text of outside plain text in Markdown (E11).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        let mut section = Section::new("PAGES", &["when", "to", "what"]);
        section.push(["+1s".to_owned(), "pager".to_owned(), "one two three four five six".to_owned()]);
        section.push(["+10.5s".to_owned(), "a".repeat(40), "x <b> | `y`".to_owned()]);
        section.rows[0].below = vec!["a | b".to_owned()];
        section
    }

    #[test]
    fn rows_are_aligned_and_wrapped_between_words() {
        let expected = "PAGES\n  +1s     pager  one two three four\n                 five six\n    | a | b\n";
        let all = text(&[section()], Some(37));
        assert!(all.starts_with(expected), "{all}");
        assert!(all.ends_with(&format!("  +10.5s  {} x <b> | `y`\n", "a".repeat(40))), "{all}");
        let wide = text(&[section()], None);
        assert!(wide.contains("pager  one two three four five six\n"), "{wide}");
    }

    #[test]
    fn nothing_in_markdown_comes_from_outside_but_text() {
        let all = markdown("I1 <script>", &[section()]);
        assert!(
            all.starts_with("# I1 &lt;script&gt;\n\n## PAGES\n\n| when | to | what |\n|---|---|---|\n"),
            "{all}"
        );
        assert!(all.contains(r"| x &lt;b&gt; \| \`y\` |"), "{all}");
        assert!(all.ends_with("\n+1s pager:\n\n    a | b\n"), "{all}");
    }
}
