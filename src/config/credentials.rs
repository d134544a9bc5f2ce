//! References to secrets, and reading them: a step of its own, so that `check` runs where the secrets are not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::settings::{Config, IngestToken};
use crate::engine::model::ReceiverName;
use crate::engine::rules::decode::{Shape, text};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};
use crate::secret::Secret;

/// A secret is a key or a password; what is longer is the wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is. The secret itself is never in the file, nor in the daemon's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Where to read it.
    pub source: SecretSource,
    /// Where the reference is written.
    pub place: Place,
}

/// The two ways to hand a secret to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A file that only its owner can read.
    File(PathBuf),
}

const REFERENCE: Shape =
    Shape { what: "a reference to a secret", keys: &["credential", "file"], later: &["env"] };

/// The code of problems whose line holds a secret: it is not shown (the renderer withholds the excerpt).
pub const SECRET_IN_TEXT: &str = "secret-in-text";

/// Reads `{ credential: NAME }` or `{ file: PATH }`; relative paths begin at `directory`.
pub(super) fn reference(node: &Node, what: &str, directory: &Path, out: &mut Findings) -> Option<SecretRef> {
    const FORMS: &str = "write `{ credential: NAME }` (systemd's LoadCredential=) or `{ file: PATH }`";
    if let Node::Scalar(scalar) = node
        && !scalar.is_null()
    {
        let message = format!("{what} stands in the file as text");
        let hint = format!("{FORMS}, and replace the secret: it has been seen");
        out.push(Diagnostic::error(SECRET_IN_TEXT, scalar.place(), message).hint(hint));
        return None;
    }
    let fields = REFERENCE.read(node, out)?;
    let place = fields.place();
    let source = match (fields.get("credential"), fields.get("file")) {
        (Some(node), None) => SecretSource::Credential(credential_name(node, out)?.value.clone()),
        (None, Some(node)) => SecretSource::File(directory.join(&text(node, "`file`", out)?.value)),
        (None, None) if fields.has_later("env") => return None,
        _ => {
            let message = format!("{what} needs exactly one of `credential` and `file`");
            out.push(Diagnostic::error("bad-secret-reference", place, message).hint(FORMS));
            return None;
        }
    };
    Some(SecretRef { source, place })
}

fn credential_name<'n>(node: &'n Node, out: &mut Findings) -> Option<&'n Scalar> {
    let name = text(node, "`credential`", out)?;
    if name.value.contains('/') || name.value.starts_with('.') {
        let message = format!("`{}` is not the name of a credential", name.value.escape_debug());
        out.push(
            Diagnostic::error("bad-secret-reference", name.place(), message)
                .hint("it is a file's name in $CREDENTIALS_DIRECTORY; for a path write `{ file: PATH }`"),
        );
        return None;
    }
    Some(name)
}

impl SecretRef {
    /// Reads the secret. `credentials` is the directory that systemd made for us, where it did.
    ///
    /// # Errors
    ///
    /// Says what is missing, empty, too long, not text, or readable by others, at the place of the reference. The
    /// secret's text is in no message.
    pub fn read(&self, credentials: Option<&Path>) -> Result<Secret, Box<Diagnostic>> {
        let fail = |message: String, hint: String| {
            Box::new(Diagnostic::error("unreadable-secret", self.place.clone(), message).hint(hint))
        };
        let path = match &self.source {
            SecretSource::File(path) => path.clone(),
            SecretSource::Credential(name) => match credentials {
                Some(directory) => directory.join(name),
                None => {
                    let message =
                        format!("credential `{name}` cannot be read: $CREDENTIALS_DIRECTORY is not set");
                    let hint = "run under systemd with `LoadCredential=`, or use `{ file: PATH }`".to_owned();
                    return Err(fail(message, hint));
                }
            },
        };
        let shown = path.display();
        let io = |error: std::io::Error| {
            let hint = match &self.source {
                SecretSource::Credential(name) => {
                    format!("add `LoadCredential={name}:/path/to/it` to the unit")
                }
                SecretSource::File(_) => "the daemon's user must be able to read it".to_owned(),
            };
            fail(format!("the secret in {shown} cannot be read: {error}"), hint)
        };
        let file = fs::File::open(&path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let mode = metadata.permissions().mode() & 0o777;
        if matches!(self.source, SecretSource::File(_)) && mode & 0o077 != 0 {
            let message = format!("the secret in {shown} is open to others (mode {mode:04o})");
            return Err(fail(message, format!("run `chmod 600 {shown}`")));
        }
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            let message = format!("the secret in {shown} is longer than {SECRET_BYTES_MAX} bytes");
            return Err(fail(message, "is it the right file?".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            fail(format!("the secret in {shown} is not UTF-8 text"), "is it the right file?".to_owned())
        })?;
        let secret = Secret::new(&text);
        if secret.is_empty() {
            return Err(fail(
                format!("the secret in {shown} is empty"),
                "put the key or password into it".to_owned(),
            ));
        }
        Ok(secret)
    }
}

/// The secrets of every receiver that has one, read.
pub type Secrets = BTreeMap<ReceiverName, Secret>;

/// Reads every secret that the configuration names.
///
/// # Errors
///
/// Every secret that cannot be read, at the place of its reference.
pub fn read_secrets(config: &Config, credentials: Option<&Path>) -> Result<Secrets, Vec<Diagnostic>> {
    let (secrets, problems) = read_each_secret(config, credentials);
    if problems.is_empty() { Ok(secrets) } else { Err(problems) }
}

/// A token of fewer bytes can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Reads every token of the `ingest` listener that can be read and is long enough to be one, and tells every other one at
/// the place of its reference.
pub fn read_tokens(
    config: &Config,
    credentials: Option<&Path>,
) -> (Vec<(IngestToken, Secret)>, Vec<Diagnostic>) {
    let mut tokens = Vec::new();
    let mut problems = Vec::new();
    for token in config.ingest.iter().flat_map(|ingest| &ingest.tokens) {
        match token.token.read(credentials) {
            Ok(secret) if secret.expose().len() < TOKEN_BYTES_MIN => {
                let message =
                    format!("the token `{}` has fewer than {TOKEN_BYTES_MIN} characters", token.name);
                let hint = "make one with `openssl rand -hex 32`";
                problems.push(Diagnostic::error("weak-token", token.token.place.clone(), message).hint(hint));
            }
            Ok(secret) => tokens.push((token.clone(), secret)),
            Err(problem) => problems.push(*problem),
        }
    }
    (tokens, problems)
}

/// Reads every secret that can be read, and tells every other one at the place of its reference.
pub fn read_each_secret(config: &Config, credentials: Option<&Path>) -> (Secrets, Vec<Diagnostic>) {
    let mut secrets = Secrets::new();
    let mut problems = Vec::new();
    for (name, receiver) in &config.receivers {
        match receiver.secret().map(|reference| reference.read(credentials)) {
            None => {}
            Some(Ok(secret)) => {
                secrets.insert(name.clone(), secret);
            }
            Some(Err(problem)) => problems.push(*problem),
        }
    }
    (secrets, problems)
}
