//! Parses arguments, calls the command, maps the error's kind to an exit code; nothing else.

fn main() {}
