//! The Prometheus projects' own pages: what they accept is accepted, what they refuse is refused.
//!
//! The data is not part of this repository: `REARGUARD_CONFORMANCE` names the directory that holds
//! `exposition/{accept,reject,either}`.

use std::fs;
use std::path::PathBuf;

use rearguard::sources::exposition::{self, Format};

/// Returns the pages of one folder with their formats, or `None` where no data is configured.
fn pages(folder: &str) -> Option<Vec<(String, Format, Vec<u8>)>> {
    let Some(root) = std::env::var_os("REARGUARD_CONFORMANCE") else {
        println!("skipped exposition/{folder}: REARGUARD_CONFORMANCE is not set");
        return None;
    };
    let folder = PathBuf::from(root).join("exposition").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut pages = Vec::new();
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let format = if name.ends_with(".om.txt") {
            Format::OpenMetrics
        } else if name.ends_with(".prom.txt") {
            Format::Text
        } else {
            panic!("{name}: expected *.om.txt or *.prom.txt");
        };
        let body = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        pages.push((name, format, body));
    }
    assert!(!pages.is_empty(), "{} is empty", folder.display());
    pages.sort_by(|one, other| one.0.cmp(&other.0));
    Some(pages)
}

#[test]
fn accepted_pages_are_read_whole() {
    let Some(pages) = pages("accept") else { return };
    let mut wrong = Vec::new();
    for (name, format, body) in &pages {
        let lines = body.split(|byte| *byte == b'\n');
        let expected = lines.filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#")).count();
        match exposition::parse(body, *format, usize::MAX) {
            Ok(page) if page.len() == expected => {}
            Ok(page) => wrong.push(format!("{name}: {} samples, expected {expected}", page.len())),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} pages:\n{}", wrong.len(), pages.len(), wrong.join("\n"));
    println!("{} pages accepted", pages.len());
}

#[test]
fn rejected_pages_are_refused_with_a_line() {
    let Some(pages) = pages("reject") else { return };
    let mut wrong = Vec::new();
    for (name, format, body) in &pages {
        match exposition::parse(body, *format, usize::MAX) {
            Ok(page) => wrong.push(format!("{name}: accepted with {} samples", page.len())),
            Err(error) if error.to_string().starts_with("line ") => println!("{name}: {error}"),
            Err(error) => wrong.push(format!("{name}: refused without a line: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} pages:\n{}", wrong.len(), pages.len(), wrong.join("\n"));
    println!("{} pages refused", pages.len());
}

#[test]
fn disputed_pages_get_an_answer_that_stays_the_same() {
    let Some(pages) = pages("either") else { return };
    for (name, format, body) in &pages {
        let answer = || format!("{:?}", exposition::parse(body, *format, usize::MAX).map(|page| page.len()));
        assert_eq!(answer(), answer(), "{name}");
    }
    println!("{} pages answered", pages.len());
}
