//! Signatures after Standard Webhooks 1.0.0, "Signature scheme": HMAC-SHA256 of ID, time of the attempt and body.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::error::WebhookError;
use crate::config::WebhookSecret;

/// Where the keys of a receiver are.
#[derive(Clone, Debug)]
pub(super) enum SigningKeys {
    Given(WebhookSecret),
    /// A file with one, or with the new and the old one while receivers change over. Read for each attempt, so that a new one counts at once.
    File(PathBuf),
}

impl SigningKeys {
    /// Fails where there are none.
    pub async fn read(&self) -> Result<Vec<WebhookSecret>, WebhookError> {
        match self {
            Self::Given(key) => Ok(vec![key.clone()]),
            Self::File(file) => {
                let problem = |problem: String| WebhookError::Secret(format!("'{}' {problem}", file.display()));
                let text = tokio::fs::read_to_string(file).await;
                let text = text.map_err(|error| problem(format!("cannot be read: {error}")))?;
                WebhookSecret::parse_file(&text).map_err(|wrong| problem(wrong.to_owned()))
            }
        }
    }
}

/// The value of `webhook-signature`: a signature by each key.
pub(super) fn sign(keys: &[WebhookSecret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signed = keys.iter().map(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference libraries' tests and documentation.
    #[test]
    fn signatures_are_those_of_the_reference() {
        let key = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&key), id, 1_614_265_330, body), signature);
        let both = sign(&[key.clone(), key], id, 1_614_265_330, body);
        assert_eq!(both, format!("{signature} {signature}"));
    }
}
