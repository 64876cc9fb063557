//! Names of requests.

use http::request::Parts;
use http::{HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer request IDs of callers (in bytes) are replaced.
const LONGEST_ID: usize = 64;

/// Names a request in the log and in the answer. Its characters are those of a text and of a header value.
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// What the caller calls the request, where that can be logged as it is; otherwise 64 random bits in hexadecimal.
    pub(super) fn of(request: &Parts) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_id = |id: &&HeaderValue| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
        let given = request.headers.get(REQUEST_ID).filter(is_id);
        given.map_or_else(Self::random, |id| Self(id.clone()))
    }

    fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits: u64 = rand::random();
        let text: [u8; 16] = std::array::from_fn(|place| DIGITS[(bits >> (60 - 4 * place)) as usize & 15]);
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}
