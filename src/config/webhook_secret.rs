//! Keys that sign events, as Standard Webhooks writes them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// In front of a symmetric key (Standard Webhooks 1.0.0, "Signature scheme").
const PREFIX: &str = "whsec_";
/// Bytes of a key (the same section).
const LEAST: usize = 24;
const MOST: usize = 64;

/// What a key must look like. The rejected text is never repeated.
pub(super) const FORM: &str = "is not a key of Standard Webhooks, 24 to 64 random bytes in base64: \
                               make one with 'openssl rand -base64 32'";

/// The bytes of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// With or without its prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok()?;
        (LEAST..=MOST).contains(&key.len()).then_some(Self(key))
    }

    /// The keys in a file, a line each: at least one.
    ///
    /// # Errors
    /// What the file should hold.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, &'static str> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let keys = lines.map(Self::parse).collect::<Option<Vec<_>>>();
        keys.filter(|keys| !keys.is_empty()).ok_or(FORM)
    }

    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_base64_of_the_length_that_the_specification_asks_for() {
        let encoded = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        for (bytes, is_key) in [(23, false), (24, true), (64, true), (65, false)] {
            for text in [encoded(bytes), format!("{PREFIX}{}", encoded(bytes))] {
                assert_eq!(WebhookSecret::parse(&text).is_some(), is_key, "{text}");
            }
        }
        for none in ["", PREFIX, "a password that is not base64, but long"] {
            assert_eq!(WebhookSecret::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_file_has_the_new_key_and_perhaps_the_old_one() {
        let (new, old) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let keys = WebhookSecret::parse_file(&format!("{new}\n{PREFIX}{old}\n\n")).unwrap();
        assert_eq!(
            keys.iter().map(WebhookSecret::reveal).collect::<Vec<_>>(),
            [[1; 32], [2; 32]]
        );
        for wrong in ["", "\n", &format!("{new}\nold")] {
            let problem = WebhookSecret::parse_file(wrong).unwrap_err();
            assert!(!problem.contains(&new), "{problem}");
        }
    }
}
