//! Text that must never be printed: routing keys, passwords, tokens.

use std::fmt;

/// A secret; `Debug` and `Display` print `***`.
///
/// It has no serde: a secret is never part of an event, an effect or a status page. What must be told about it is where
/// it came from, and that is configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What is printed in a secret's place.
const MASK: &str = "***";

impl Secret {
    /// Wraps a secret. Surrounding white space is dropped: files and credentials end in a newline.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Returns the secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `text` with every occurrence of the secret masked: servers like to repeat what they were sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, MASK) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2\n");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(secret.redact("bad key hunter2!"), "bad key ***!");
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        assert!(Secret::new(" \n").is_empty());
        assert_eq!(Secret::new("").redact("text"), "text");
    }
}
