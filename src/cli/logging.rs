//! Where log lines go: systemd's journal with fields, or standard error as text or JSON.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Readable lines
    Text,
    /// One JSON object a line
    Json,
    /// Fields in systemd's journal
    Journal,
}

/// Begins to log. Without a choice: the journal where systemd reads our output, else text.
pub(super) fn start(format: Option<LogFormat>) {
    let to_journal = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream));
    let format = format.unwrap_or(if to_journal { LogFormat::Journal } else { LogFormat::Text });
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var("REARGUARD_LOG")
        .from_env_lossy();
    let registry = tracing_subscriber::registry().with(filter);
    let colored =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let text = || {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colored)
    };
    match format {
        LogFormat::Text => registry.with(text()).init(),
        LogFormat::Json => registry.with(text().json().flatten_event(true)).init(),
        LogFormat::Journal => match tracing_journald::layer() {
            Ok(journal) => registry.with(journal).init(),
            // Not under systemd after all: a log on the wrong stream is better than none.
            Err(_) => registry.with(text()).init(),
        },
    }
}

/// Returns whether `$JOURNAL_STREAM` names our standard error, as device and inode (systemd.exec(5)).
///
/// The variable alone says little: it is inherited by every terminal that systemd has started, and by whatever redirects
/// its output.
fn is_stderr(stream: &str) -> bool {
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| format!("{}:{}", stat.st_dev, stat.st_ino) == stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_standard_error_goes_to_the_journal() {
        let stat = rustix::fs::fstat(std::io::stderr()).unwrap();
        assert!(is_stderr(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        for other in [format!("{}:{}", stat.st_dev, stat.st_ino + 1), String::new(), "8:x".to_owned()] {
            assert!(!is_stderr(&other), "{other}");
        }
    }
}
