//! Where uploads stand, as far as this process saw them. That is a hint: other replicas may have passed on what is missing here.

use std::time::Duration;

use http::header::LOCATION;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::expiring_map::ExpiringMap;
use crate::http::body::Body;

/// Uploads that are followed at once.
const FOLLOWED: u64 = 100_000;
/// An upload without a chunk for this long is forgotten, and then no longer checked.
const IDLE: Duration = Duration::from_secs(3600);

/// Bytes received, by the path of the upload's URL; its query may change with every chunk.
pub(super) struct UploadOffsets {
    received: ExpiringMap<String, u64>,
}

impl Default for UploadOffsets {
    fn default() -> Self {
        Self {
            received: ExpiringMap::builder(FOLLOWED).time_to_idle(IDLE).build(),
        }
    }
}

impl UploadOffsets {
    /// Notes that an upload `stands_at` so many bytes once `response` was given to `request`, or forgets it when that cannot be
    /// told. The `Location` is the caller's already.
    pub fn saw(&self, request: &Parts, response: &Response<Body>, stands_at: Option<u64>) {
        let wrote = matches!(
            request.method,
            Method::POST | Method::PATCH | Method::PUT | Method::DELETE
        );
        if !wrote || !response.status().is_success() {
            return;
        }
        self.received.remove(&request.uri.path().to_owned());
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let path = location.and_then(|location| location.split('?').next());
        if let (StatusCode::ACCEPTED, Some(stands_at), Some(path)) = (response.status(), stands_at, path) {
            self.received.insert(path.to_owned(), stands_at);
        }
    }

    /// Bytes that the upload behind `request` has received; `None` where this process did not see them.
    pub fn received(&self, request: &Parts) -> Option<u64> {
        self.received.get(&request.uri.path().to_owned())
    }
}
