//! Blobs that the upstream keeps elsewhere, fetched on behalf of callers who cannot get there (`blobs = "stream"`).
//!
//! Redirects are followed as for refshim's own reads: no credentials go to another origin, and no private address is asked that
//! `redirect_hosts` does not list. A signed URL is good for GET alone, so a HEAD is answered from what a GET of one byte tells.

use http::header::{
    ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::relay_response;
use crate::http::body::Body;
use crate::registry::classify::is_redirect;
use crate::registry::client::Upstream;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::origin::resolve;
use crate::registry::reader::request::MOST_HOPS;
use crate::registry::transport::OWN_USER_AGENT;
use crate::registry::transport::collect;
use crate::registry::transport::idle_timeout::IdleBody;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");
/// What a storage service says that is true of the blob.
const KEPT: [HeaderName; 6] = [
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_ENCODING,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
];

/// Whether this answer to a request says that a blob is elsewhere.
pub(super) fn is_away(request: &Parts, response: &Response<IdleBody>) -> bool {
    is_redirect(response.status())
        && response.headers().contains_key(LOCATION)
        && matches!(request.method, Method::GET | Method::HEAD)
        && digest(&request.uri).is_some()
}

/// The digest of `…/blobs/<digest>`, as it was asked for.
fn digest(uri: &Uri) -> Option<&str> {
    let (before, last) = uri.path().rsplit_once('/')?;
    (before.ends_with("/blobs") && last.contains(':')).then_some(last)
}

impl Upstream {
    /// The blob itself. `response` is the upstream's redirect.
    pub(super) async fn fetch_stored(
        &self,
        request: &Parts,
        response: Response<IdleBody>,
    ) -> Result<Response<Body>, UpstreamError> {
        let mut found = match request.method {
            Method::HEAD => self.measure(request, response).await?,
            _ => {
                let headers = wanted(&request.headers);
                clean(self.follow(request, response, &headers).await?)
            }
        };
        let headers = found.headers_mut();
        if !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, OCTETS);
        }
        if let Some(digest) = digest(&request.uri).and_then(|digest| HeaderValue::from_str(digest).ok()) {
            headers.insert(CONTENT_DIGEST, digest);
        }
        Ok(found)
    }

    /// Follows redirects to their end, which must be a blob, a part of one, or that there is no such part.
    async fn follow(
        &self,
        asked: &Parts,
        mut response: Response<IdleBody>,
        headers: &HeaderMap,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        let mut uri = asked.uri.clone();
        for _ in 0..MOST_HOPS {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = location.and_then(|location| resolve(&uri, location));
            uri = target.ok_or_else(|| UpstreamError::Invalid("a blob's redirect leads nowhere".into()))?;
            // Its few bytes are read so that the connection can be used again.
            let _ = collect::refusal(response).await;
            response = self.fetch(asked, &uri, headers).await?;
            if !is_redirect(response.status()) {
                return usable(response);
            }
        }
        Err(UpstreamError::Invalid("a blob's redirects do not end".into()))
    }

    async fn fetch(&self, asked: &Parts, uri: &Uri, headers: &HeaderMap) -> Result<Response<IdleBody>, UpstreamError> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
        if self.origin().holds(uri) {
            if let Some(authorization) = asked.headers.get(AUTHORIZATION) {
                request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            }
            return self.reader.transport().send(RequestKind::Blob, request).await;
        }
        let transport = self.reader.transport().transport();
        transport.send_elsewhere(RequestKind::Blob, request).await
    }

    /// The head of a GET, its length told by a GET of the first byte.
    async fn measure(&self, request: &Parts, response: Response<IdleBody>) -> Result<Response<Body>, UpstreamError> {
        // That redirect was made for a HEAD, and may be signed for it.
        let _ = collect::refusal(response).await;
        let headers = HeaderMap::from_iter([(RANGE, FIRST_BYTE)]);
        let mut found = self.fetch(request, &request.uri, &headers).await?;
        if is_redirect(found.status()) {
            found = self.follow(request, found, &headers).await?;
        }
        let length = match found.status() {
            StatusCode::OK => found
                .headers()
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => total(found.headers()),
            // The upstream's own refusal, meanwhile.
            _ => return Ok(relay_response(found)),
        };
        let length: Option<u64> = length.and_then(|length| length.trim().parse().ok());
        let length = length.ok_or_else(|| UpstreamError::Invalid("the length of a blob cannot be told".into()))?;
        let ranges = found.status() == StatusCode::PARTIAL_CONTENT;
        let mut head = Response::new(Body::empty());
        head.headers_mut().insert(CONTENT_LENGTH, length.into());
        if ranges {
            head.headers_mut()
                .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        Ok(head)
    }
}

/// What is asked of the storage: the caller's range, and nothing of who the caller is.
fn wanted(headers: &HeaderMap) -> HeaderMap {
    let mut wanted = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
    for name in [RANGE, IF_RANGE] {
        if let Some(value) = headers.get(&name) {
            wanted.insert(name, value.clone());
        }
    }
    wanted
}

fn usable(response: Response<IdleBody>) -> Result<Response<IdleBody>, UpstreamError> {
    match response.status().as_u16() {
        200 | 206 | 304 | 416 => Ok(response),
        status => Err(UpstreamError::Invalid(format!(
            "the storage that it redirects to answered HTTP {status}"
        ))),
    }
}

/// Without what the storage says of itself.
fn clean(response: Response<IdleBody>) -> Response<Body> {
    let mut response = relay_response(response);
    let said = std::mem::take(response.headers_mut());
    for name in KEPT {
        if let Some(value) = said.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// The number behind the slash of `Content-Range: bytes 0-0/<length>`, or of `bytes */<length>`.
fn total(headers: &HeaderMap) -> Option<&str> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    Some(range.rsplit_once('/')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blobs_are_looked_for_elsewhere() {
        let of = |uri: &str| digest(&uri.parse().unwrap()).map(str::to_owned);
        assert_eq!(of("http://r/v2/a/blobs/sha256:0?x"), Some("sha256:0".to_owned()));
        for other in [
            "http://r/v2/a/manifests/sha256:0",
            "http://r/v2/a/blobs/uploads/x",
            "http://r/v2/",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_whole_length_stands_behind_the_slash() {
        let of = |value| {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(value))]);
            total(&headers).map(str::to_owned)
        };
        assert_eq!(of("bytes 0-0/123"), Some("123".to_owned()));
        assert_eq!(of("bytes */0"), Some("0".to_owned()));
        assert_eq!(of("bytes"), None);
    }
}
