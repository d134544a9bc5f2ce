//! `audit verify`: says that the chain holds, or where it does not.

use serde::Serialize;

use crate::cli::moment::utc;
use crate::cli::{CommandError, Exit, Output, print, print_json};
use crate::journal::{ChainBreak, Reader, Verified};

/// How many digits an anchor has at least: fewer would be found by chance, or by trying.
const ANCHOR_DIGITS_MIN: usize = 12;

/// Reads an anchor: a hash in hexadecimal, or its beginning.
pub(super) fn anchor(text: &str) -> Result<String, String> {
    let is_hash = text.len() <= 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_hash && text.len() >= ANCHOR_DIGITS_MIN {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!(
        "expected the hexadecimal digits that stand behind `head` in a page: 64, or at least the first {ANCHOR_DIGITS_MIN}"
    ))
}

/// The result for programs.
#[derive(Serialize)]
struct Told<'a> {
    journal: &'a str,
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<&'a Verified>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Broken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<&'a str>,
}

#[derive(Serialize)]
struct Broken<'a> {
    seq: u64,
    problem: &'a str,
    expected: Option<&'a str>,
    found: Option<&'a str>,
}

pub(super) fn run(reader: &Reader, anchor: Option<&str>, output: Output) -> Result<Exit, CommandError> {
    let verified = reader.verify(anchor);
    let journal = reader.id().as_str();
    let sound = verified.as_ref().is_ok_and(|verified| anchor.is_none() || verified.anchored.is_some());
    match output {
        Output::Json => {
            let broken = verified.as_ref().err().map(|broken| Broken {
                seq: broken.seq,
                problem: &broken.problem,
                expected: broken.sides.as_ref().map(|(expected, _)| expected.as_str()),
                found: broken.sides.as_ref().map(|(_, found)| found.as_str()),
            });
            print_json(&Told { journal, sound, proven: verified.as_ref().ok(), broken, anchor })?;
        }
        Output::Table => print(&match &verified {
            Ok(verified) => whole(journal, verified, anchor),
            Err(broken) => self::broken(journal, broken),
        })?,
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

fn whole(journal: &str, verified: &Verified, anchor: Option<&str>) -> String {
    let Verified { head, first, first_unix_ms, last_unix_ms, checkpoint, anchored } = verified;
    let time = |unix_ms: i64| utc(unix_ms, "%F %T UTC");
    if head.seq == 0 {
        return format!("journal {journal} is empty\n");
    }
    let mut text = format!(
        "journal {journal}: the chain is whole\n\
         events  {first} ({}) to {} ({})\n\
         head    {}\n",
        time(*first_unix_ms),
        head.seq,
        time(*last_unix_ms),
        head.hash
    );
    if let (true, Some(checkpoint)) = (*first > 1, checkpoint) {
        text.push_str(&format!(
            "before  events 1 to {} were dropped as `retention` says; the checkpoint at event {checkpoint} proves the rest\n",
            first - 1
        ));
    }
    match (anchor, anchored) {
        (Some(_), Some(anchored)) => text.push_str(&format!(
            "anchor  {} is in it: event {} of {}: {}\n",
            anchored.hash,
            anchored.seq,
            time(anchored.wall_unix_ms),
            anchored.what
        )),
        (Some(anchor), None) if *first > 1 => text.push_str(&format!(
            "anchor  {anchor} IS NOT IN IT: it is of an event before {first}, which is gone, or of another journal, or the \
             journal was rewritten\n"
        )),
        (Some(anchor), None) => text.push_str(&format!(
            "anchor  {anchor} IS NOT IN IT: it is of another journal (the page names it), or this one was rewritten\n"
        )),
        (None, _) => {}
    }
    text
}

fn broken(journal: &str, broken: &ChainBreak) -> String {
    let ChainBreak { seq, problem, sides } = broken;
    let mut text = format!("journal {journal}: THE CHAIN IS BROKEN at event {seq}: {problem}\n");
    if let Some((expected, found)) = sides {
        text.push_str(&format!("expected  {expected}\nfound     {found}\n"));
    }
    match seq {
        0 | 1 => text.push_str("Nothing in it is proven.\n"),
        2 => text.push_str("Event 1 is as it was written; what follows proves nothing.\n"),
        _ => text.push_str(&format!(
            "Events before {seq} are as they were written; what follows proves nothing.\n"
        )),
    }
    text.push_str(
        "Keep the file as it is; heads in pages tell up to when the chain was as it is now (`--anchor`).\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::anchor;

    #[test]
    fn an_anchor_is_a_hash_or_enough_of_it() {
        assert_eq!(anchor("0123456789AB").as_deref(), Ok("0123456789ab"));
        assert!(anchor(&"a".repeat(64)).is_ok());
        for text in ["", "0123456789a", "0123456789ag", &"a".repeat(65), "é"] {
            assert!(anchor(text).unwrap_err().contains("hexadecimal"), "{text:?}");
        }
    }
}
