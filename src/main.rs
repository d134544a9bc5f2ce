//! Hands over to the commands; nothing else.

fn main() -> std::process::ExitCode {
    rearguard::cli::main()
}
