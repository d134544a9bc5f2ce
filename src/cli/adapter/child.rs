//! Runs the programs that know how to speak to a cluster or a host: without a shell, with bounded time and output.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::report::Trouble;

/// Limit for what is read of a program's output, in bytes: a namespace with thousands of objects fits in.
const OUTPUT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Limit for what is read of its messages, in bytes.
const MESSAGE_BYTES_MAX: u64 = 256 * 1024;

/// What a program said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) succeeded: bool,
    pub(super) output: String,
    pub(super) message: String,
}

impl Said {
    /// Returns the last line of its messages, else of its output: there programs say what is wrong.
    pub(super) fn last_words(&self) -> String {
        let last =
            |text: &'_ str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        last(&self.message).or_else(|| last(&self.output)).unwrap_or("failed without a word".to_owned())
    }
}

/// Runs `program` and waits for its end, at most for `limit`; then it is killed.
///
/// It gets this process' environment, which for a step is the documented one, and an empty standard input.
pub(super) async fn run(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    limit: Duration,
) -> Result<Said, Trouble> {
    let shown = program.display();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Trouble::lasting(format!("{shown} cannot be run: {error}")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Trouble::lasting(format!("{shown} has no output")));
    };
    let all = async {
        // Both at once, so that neither pipe fills up; then the exit.
        let (output, message) = tokio::join!(text(stdout, OUTPUT_BYTES_MAX), text(stderr, MESSAGE_BYTES_MAX));
        Ok::<_, std::io::Error>((output?, message?, child.wait().await?))
    };
    match tokio::time::timeout(limit, all).await {
        Ok(Ok((output, message, status))) => Ok(Said { succeeded: status.success(), output, message }),
        Ok(Err(error)) => Err(Trouble::lasting(format!("the output of {shown} cannot be read: {error}"))),
        Err(_) => {
            let seconds = limit.as_secs_f64();
            Err(Trouble::passing(format!("{shown} did not answer within {seconds:.1} s")))
        }
    }
}

/// Reads to the end; more than `bytes_max` is an error, since half an answer is none.
async fn text(from: impl AsyncRead + Unpin, bytes_max: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > bytes_max {
        return Err(std::io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit_ms: u64) -> Result<Said, Trouble> {
        run(Path::new("/bin/sh"), &["-c", script], Duration::from_millis(limit_ms)).await
    }

    #[tokio::test]
    async fn time_and_output_of_a_program_are_bounded() {
        let said = shell("echo out; echo first >&2; echo last >&2; exit 3", 10_000).await.unwrap();
        assert_eq!(
            (said.succeeded, said.output.as_str(), said.last_words().as_str()),
            (false, "out\n", "last")
        );
        assert!(shell("exec sleep 60", 50).await.unwrap_err().may_pass);
        let flood = shell("exec yes >&2", 10_000).await.unwrap_err();
        assert!(!flood.may_pass && flood.why.contains("longer than"), "{flood:?}");
        let missing = run(Path::new("/no/such/program"), &["x"], Duration::from_secs(1)).await.unwrap_err();
        assert!(!missing.may_pass && missing.why.contains("/no/such/program"), "{missing:?}");
    }
}
