//! Whether bytes that the registry gave for a digest are what it promises.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::oci::media_type::essence;
use crate::oci::{Digest, ErrorBody};
use crate::registry::error::UpstreamError;

/// Fails unless `bytes`, which came with `headers`, are what `digest` promises.
pub(super) fn check(digest: &Digest, headers: &HeaderMap, bytes: &[u8]) -> Result<(), UpstreamError> {
    match digest.matches(bytes) {
        Some(true) => Ok(()),
        Some(false) if is_no_content(headers, bytes) => Err(UpstreamError::Invalid(format!(
            "HTTP 200 without the content of {digest}"
        ))),
        Some(false) => Err(UpstreamError::Content(format!("other bytes than {digest}"))),
        None => {
            let reason = format!("the digest algorithm '{}' is not supported", digest.algorithm());
            Err(UpstreamError::Content(reason))
        }
    }
}

/// Whether bytes that are not what was asked for are an error, a text for people or nothing at all. They say nothing of the content that
/// the registry keeps; other bytes are that of somebody's artifact, or of a damaged one.
fn is_no_content(headers: &HeaderMap, bytes: &[u8]) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = essence(content_type.unwrap_or_default()).to_ascii_lowercase();
    media_type.starts_with("text/") || (media_type.is_empty() && bytes.is_empty()) || ErrorBody::parse(bytes).is_some()
}
