//! What a step printed: the end of it, bounded, made safe to print.

use std::collections::VecDeque;

use crate::effects::printable;

/// How much of the output's end is kept while the step runs, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How many of the last lines go into the record and the page.
const LINES_MAX: usize = 20;

/// How many characters go into the record and the page.
const CHARS_MAX: usize = 4096;

/// The end of an output, of whatever length.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    dropped_bytes: u64,
}

impl Tail {
    /// Takes the next bytes; drops the oldest beyond the bound and counts them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let fresh = &bytes[bytes.len().saturating_sub(KEPT_BYTES_MAX)..];
        let excess = (self.kept.len() + fresh.len()).saturating_sub(KEPT_BYTES_MAX);
        self.kept.drain(..excess);
        self.dropped_bytes += (excess + bytes.len() - fresh.len()) as u64;
        self.kept.extend(fresh);
    }

    /// Returns the last lines, each escaped; says first how much is missing before them.
    pub(super) fn render(&self) -> String {
        let kept: Vec<u8> = self.kept.iter().copied().collect();
        let text = kept.trim_ascii_end();
        let mut chosen = VecDeque::new();
        let mut room = CHARS_MAX;
        let mut chosen_bytes = 0;
        for line in text.rsplit(|byte| *byte == b'\n').take(LINES_MAX) {
            if room == 0 {
                break;
            }
            let shown = printable::short_line(String::from_utf8_lossy(line).trim_end_matches('\r'), room);
            room = room.saturating_sub(shown.chars().count() + 1);
            chosen_bytes += line.len() + 1;
            chosen.push_front(shown);
        }
        let missing = self.dropped_bytes + (text.len() + 1).saturating_sub(chosen_bytes) as u64;
        if missing > 0 {
            chosen.push_front(format!("[{missing} bytes before this are left out]"));
        }
        Vec::from(chosen).join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(chunks: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        chunks.iter().for_each(|chunk| tail.push(chunk));
        tail.render()
    }

    #[test]
    fn short_output_is_kept_as_it_is() {
        assert_eq!(rendered(&[]), "");
        assert_eq!(rendered(&[b"one\ntw", b"o\r\nthree\n"]), "one\ntwo\nthree");
    }

    #[test]
    fn control_characters_cannot_fake_a_line() {
        assert_eq!(rendered(&[b"\x1b[2Jcleared\x00\xff\n"]), "\\u{1b}[2Jcleared\\u{0}\u{fffd}");
        assert_eq!(rendered(&[b"progress 1%\rprogress 2%"]), "progress 1%\\rprogress 2%");
    }

    #[test]
    fn only_the_last_lines_are_shown_and_the_rest_is_counted() {
        let text: String = (0..100).map(|n| format!("line {n:02}\n")).collect();
        let shown = rendered(&[text.as_bytes()]);
        assert!(shown.starts_with("[640 bytes before this are left out]\nline 80\n"), "{shown}");
        assert!(shown.ends_with("line 99"));
        assert_eq!(shown.lines().count(), LINES_MAX + 1);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'x'; 10_000]);
        }
        tail.push(&[b'y'; 200_000]);
        assert_eq!(tail.kept.len(), KEPT_BYTES_MAX);
        assert_eq!(tail.dropped_bytes, 10_200_000 - KEPT_BYTES_MAX as u64);
        let shown = tail.render();
        assert!(shown.chars().count() < CHARS_MAX + 100);
    }
}
