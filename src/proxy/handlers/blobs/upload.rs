//! Chunks of uploads that come out of order.
//!
//! A chunk is refused only when the upstream, asked, agrees with what this process saw: chunks may have gone through other replicas.
//! The upstream's own `Range` alone would not do: ECR's sticks at the first chunk.

use http::header::{CONTENT_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use crate::proxy::context::RequestContext;

/// Largest answer to the question where an upload stands, in bytes.
const STATUS_LIMIT: usize = 4096;

/// The bytes that a chunk is, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub first: u64,
    pub last: u64,
}

impl Chunk {
    /// From a request's `Content-Range`.
    pub fn of(request: &Parts) -> Option<Self> {
        if !matches!(request.method, Method::PATCH | Method::PUT) {
            return None;
        }
        Self::parse(request.headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    /// `<first>-<last>` (distribution-spec), also with HTTP's `bytes` before and length behind it.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix("bytes")
            .unwrap_or(text)
            .trim_start_matches([' ', '=']);
        let (first, last) = text.split('/').next()?.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last < u64::MAX).then_some(Self { first, last })
    }
}

/// Where the upload stands, when `chunk` certainly does not begin there.
pub(super) async fn out_of_order(context: &RequestContext<'_>, chunk: Chunk) -> Option<u64> {
    let backend = context.backend;
    let received = backend.uploads.received(&context.head)?;
    if received == chunk.first {
        return None;
    }
    let target = context.head.uri.path_and_query()?.as_str();
    let status = backend
        .upstream
        .get(target, &context.caller(), STATUS_LIMIT)
        .await
        .ok()?;
    let agrees = status.status == StatusCode::NO_CONTENT && says(&status.headers, received);
    agrees.then_some(received)
}

/// Whether `Range: 0-<last>` says that so many bytes were received. `0-0` may mean none as well as one.
fn says(headers: &HeaderMap, received: u64) -> bool {
    let range = headers.get(RANGE).and_then(|value| Chunk::parse(value.to_str().ok()?));
    range.is_some_and(|range| range.first == 0 && range.last == received.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_every_spelling() {
        let range = |first, last| Some(Chunk { first, last });
        assert_eq!(Chunk::parse("0-1023"), range(0, 1023));
        assert_eq!(Chunk::parse("bytes 5-6/7"), range(5, 6));
        assert_eq!(Chunk::parse("bytes=5-6"), range(5, 6));
        for bad in ["", "5", "6-5", "-5", "5-", "x-y", "0-18446744073709551615"] {
            assert_eq!(Chunk::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_and_one_byte_look_alike() {
        let says = |range: &str, received| {
            let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
            super::says(&headers, received)
        };
        assert!(says("0-0", 0) && says("0-0", 1) && says("0-1023", 1024));
        assert!(!says("0-1023", 0) && !says("0-1023", 2048) && !says("nonsense", 0));
        assert!(!super::says(&HeaderMap::new(), 0));
    }
}
