//! The daemon from end to end: the real program as a process, real sockets, and what its users see of it.

mod actuators;
mod again;
mod api;
mod application;
mod audit;
mod bad_input;
#[path = "../daemon_fixture/mod.rs"]
mod daemon_fixture;
mod deliveries;
mod deployments;
mod files;
mod foreign;
mod imported;
mod modes;
mod restart;
mod state;
mod supervision;
mod timeline;

/// Checks that `text` holds every one of `phrases`.
#[track_caller]
fn assert_says(text: &str, phrases: &[&str]) {
    let missing: Vec<_> = phrases.iter().filter(|phrase| !text.contains(**phrase)).collect();
    assert!(missing.is_empty(), "{missing:#?} are missing in:\n{text}");
}
