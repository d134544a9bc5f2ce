//! Makes text from outside safe to print: one line stays one line, and nothing in it steers a terminal (E11).

/// Returns whether `c` could end a line, steer a terminal, or change the order in which text is shown.
///
/// Besides the control characters these are Unicode's line separators and the bidirectional marks, overrides and
/// isolates (UAX #9), with which text can be made to read as its opposite ("Trojan Source", CVE-2021-42574).
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns `text` as one line: newlines and other hostile characters appear as escapes such as `\n` or `\u{1b}`.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns `text` as one line of at most `chars_max` characters; what was cut is replaced by `...`.
pub fn short_line(text: &str, chars_max: usize) -> String {
    shorten(&line(text), chars_max)
}

/// Returns the first `chars_max` characters of `text`; where something was cut, the last of them are `...`.
pub fn shorten(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(3)).chain("...".chars()).collect()
}

/// Returns the error with everything that caused it, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some errors print their source themselves.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_escaped_and_others_kept() {
        let cases = [
            ("plain ünïcode 🚨", "plain ünïcode 🚨"),
            ("a\nlevel=error fake", "a\\nlevel=error fake"),
            ("\x1b[31mred\x07", "\\u{1b}[31mred\\u{7}"),
            ("nul\0tab\tcr\r", "nul\\u{0}tab\\tcr\\r"),
            ("\u{202e}gpj.exe\u{2028}", "\\u{202e}gpj.exe\\u{2028}"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn shortening_counts_characters_and_shows_the_cut() {
        assert_eq!(shorten("ééé", 3), "ééé");
        assert_eq!(shorten("éééééé", 5), "éé...");
        assert_eq!(short_line("a\nbcdef", 6), "a\\n...");
    }

    proptest::proptest! {
        #[test]
        fn a_line_is_a_line(text in "\\PC*|.*|(?s).{0,40}") {
            let line = line(&text);
            proptest::prop_assert!(!line.chars().any(is_hostile));
        }
    }
}
