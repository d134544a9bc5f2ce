//! Parses arguments, calls the command, maps the error's kind to an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == rearguard::effects::step::gate::COMMAND) {
        return rearguard::effects::step::gate::run();
    }
    ExitCode::SUCCESS
}
