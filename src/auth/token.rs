//! What a token endpoint answers, and values of the header `Authorization`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;

/// How long a token lives, in seconds, when the token endpoint does not say (the token specification's default).
const DEFAULT_LIFE: u64 = 60;

/// A token as its endpoint gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What follows `Bearer`.
    pub token: String,
    /// How long it is good for from when it was given.
    pub lives: Duration,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// Reads a token endpoint's answer. `None` where there is no token in it.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let answer: TokenResponse = serde_json::from_slice(body).ok()?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
        let lives = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE));
        (!token.is_empty()).then_some(Self { token, lives })
    }
}

/// The value of `Authorization` for a user and a password (RFC 7617).
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A header's value that no log prints. `None` where no header can hold it.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_every_spelling() {
        let parsed = |body: &str| Token::parse(body.as_bytes()).map(|token| (token.token, token.lives.as_secs()));
        let some = |token: &str, lives| Some((token.to_owned(), lives));
        assert_eq!(parsed(r#"{"token":"t","expires_in":300}"#), some("t", 300));
        assert_eq!(parsed(r#"{"access_token":"a","token":""}"#), some("a", 60));
        for nothing in ["", "{}", r#"{"token":""}"#, r#"{"token":1}"#, "<html>"] {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
    }
}
