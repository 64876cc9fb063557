//! Where uploads stand: learned from the upstream's answers, asked of it where another replica took the last chunk.

use std::time::Duration;

use http::header::{LOCATION, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use moka::sync::Cache;

use super::gateway::Gateway;
use crate::body::Body;

/// Uploads that are followed at once.
const FOLLOWED: u64 = 100_000;
/// An upload without a chunk for this long is forgotten: the upstream is asked where it stands then.
const IDLE: Duration = Duration::from_secs(3600);
/// Largest answer to the question where an upload stands, in bytes.
const STATUS_LIMIT: usize = 4096;

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    next: u64,
    /// `Range: 0-0` means one byte or none; registries do not tell which.
    ambiguous: bool,
}

impl Offset {
    /// From `Range: 0-<last>`.
    fn parse(headers: &HeaderMap) -> Option<Self> {
        let range = headers.get(RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        Some(Self {
            next: last.checked_add(1)?,
            ambiguous: last == 0,
        })
    }

    pub fn is_at(self, start: u64) -> bool {
        start == self.next || (self.ambiguous && start == 0)
    }

    /// The next byte that is wanted.
    pub fn next(self) -> u64 {
        if self.ambiguous { 0 } else { self.next }
    }

    pub fn range(self) -> String {
        format!("0-{}", self.next - 1)
    }
}

/// By the path of the upload's URL; its query may change with every chunk.
pub(super) struct Uploads {
    offsets: Cache<String, Offset>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            offsets: Cache::builder().max_capacity(FOLLOWED).time_to_idle(IDLE).build(),
        }
    }
}

impl Uploads {
    /// Learns from an answer, whose `Location` is the caller's already.
    pub fn saw(&self, request: &Parts, response: &Response<Body>) {
        if !matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return;
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let path = location
            .and_then(|location| location.split('?').next())
            .unwrap_or(request.uri.path());
        match Offset::parse(response.headers()) {
            // ECR's `Range` sticks at the first chunk, so only one that moves on is believed.
            Some(offset) if request.method != Method::PATCH || self.moves_on(path, offset) => {
                self.offsets.insert(path.to_owned(), offset);
            }
            _ => self.offsets.invalidate(path),
        }
    }

    fn moves_on(&self, path: &str, offset: Offset) -> bool {
        self.offsets
            .get(path)
            .is_none_or(|known| offset.next > known.next || known.ambiguous)
    }

    /// Where the upload that `request` adds to stands. `None` where nobody can tell: then the upstream judges the chunk.
    pub async fn offset(&self, gateway: &Gateway, request: &Parts) -> Option<Offset> {
        if let Some(known) = self.offsets.get(request.uri.path()) {
            return Some(known);
        }
        let target = request.uri.path_and_query()?.as_str();
        let caller = gateway.caller(request);
        let status = gateway.upstream.get(target, &caller, STATUS_LIMIT).await.ok()?;
        (status.status == StatusCode::NO_CONTENT)
            .then(|| Offset::parse(&status.headers))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn offset(range: &'static str) -> Option<Offset> {
        Offset::parse(&HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]))
    }

    #[test]
    fn nothing_and_one_byte_look_alike() {
        let begun = offset("0-0").unwrap();
        assert!(begun.is_at(0) && begun.is_at(1) && !begun.is_at(2));
        assert_eq!((begun.next(), begun.range()), (0, "0-0".to_owned()));
        let later = offset("0-99").unwrap();
        assert!(later.is_at(100) && !later.is_at(0));
        assert_eq!((later.next(), later.range()), (100, "0-99".to_owned()));
    }

    #[test]
    fn what_is_no_range_tells_nothing() {
        for range in ["", "5-9", "0-", "0-x", "0-18446744073709551615"] {
            assert_eq!(offset(range), None, "{range}");
        }
    }
}
