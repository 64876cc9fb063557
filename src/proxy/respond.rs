//! Answers that refshim makes itself: exact length, an `ETag` that clients may ask by, the same headers for HEAD.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LINK, VARY, WARNING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use super::content_coding::{COMPRESSED_FROM, gzip, wants_gzip};
use super::headers;
use crate::http::body::Body;
use crate::oci::Digest;
use crate::referrers::Lookup;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// In the only form that the distribution-spec has ("Warnings"); clients show it to their users.
const STALE: HeaderValue =
    HeaderValue::from_static("299 - \"refshim answers from its cache, and the answer may be stale\"");

/// Room for the headers of most answers, so that their map does not grow.
const USUAL_HEADERS: usize = 6;

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct LocalResponse {
    headers: HeaderMap,
    body: Bytes,
    /// The body's digest, where it is known already.
    digest: Option<Digest>,
}

impl LocalResponse {
    pub(super) fn new(content_type: &'static str, body: Bytes) -> Self {
        Self::of(HeaderValue::from_static(content_type), body)
    }

    fn of(content_type: HeaderValue, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(USUAL_HEADERS);
        headers.insert(CONTENT_TYPE, content_type);
        Self {
            headers,
            body,
            digest: None,
        }
    }

    /// An answer whose body has this digest.
    pub(super) fn known(content_type: HeaderValue, (body, digest): &(Bytes, Digest)) -> Self {
        Self {
            digest: Some(digest.clone()),
            ..Self::of(content_type, body.clone())
        }
    }

    /// A manifest as a registry answers it.
    pub(super) fn manifest(media_type: &str, digest: &Digest, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        // What came as a header, and a digest, are header values.
        if let (Ok(media_type), Ok(named)) = (
            HeaderValue::try_from(media_type),
            HeaderValue::try_from(digest.as_str()),
        ) {
            headers.insert(CONTENT_TYPE, media_type);
            headers.insert(CONTENT_DIGEST, named);
        }
        Self {
            headers,
            body,
            digest: Some(digest.clone()),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// A `Link` header, when there is more to come.
    pub(super) fn link(mut self, link: Option<String>) -> Self {
        // Printed percent-encoded, so it is always a header value.
        if let Some(value) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            self.headers.insert(LINK, value);
        }
        self
    }

    /// Says how old the list is that it was made of, where that was remembered, and whether it is stale (RFC 9111, 5.1).
    pub(super) fn made_of(mut self, resolved: &Lookup) -> Self {
        if let Some(age) = resolved.age {
            self.headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
        if resolved.is_stale() {
            self.headers.insert(WARNING, STALE);
        }
        self
    }

    /// Sends what the registry once sent with this body, its `ETag` too.
    pub(super) fn sent_along(mut self, sent: &HeaderMap) -> Self {
        headers::add(&mut self.headers, sent);
        self
    }

    /// Says that the body was remembered `age` ago and could not be asked for again (RFC 9111, 5.1).
    pub(super) fn stale(mut self, age: Duration) -> Self {
        self.headers.insert(AGE, HeaderValue::from(age.as_secs()));
        self.headers.append(WARNING, STALE);
        self
    }

    /// The response to `request`: 304 where its `If-None-Match` knows this body, no body for HEAD.
    pub(super) fn respond(mut self, request: &Parts) -> Response<Body> {
        let digest = self.digest.take().unwrap_or_else(|| Digest::sha256(&self.body));
        let etag = ["\"", digest.as_str(), "\""].concat();
        let theirs = self.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let theirs = theirs.map(|etag| etag.strip_prefix("W/").unwrap_or(etag));
        let known = knows(&request.headers, &etag) || theirs.is_some_and(|etag| knows(&request.headers, etag));
        // A quoted digest is ASCII.
        if let Ok(etag) = HeaderValue::try_from(etag) {
            self.headers.entry(ETAG).or_insert(etag);
        }
        self.finish(request, known)
    }

    /// The same, as gzip where the body is large and the caller asks for that. Each coding has an `ETag` of its own (RFC 9110, 8.8.3.3).
    pub(super) async fn respond_compressed(mut self, request: &Parts) -> Response<Body> {
        self.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        if self.body.len() < COMPRESSED_FROM || !wants_gzip(&request.headers) {
            return self.respond(request);
        }
        let digest = Digest::sha256(&self.body);
        let etag = ["\"", digest.as_str(), "-gzip\""].concat();
        let known = knows(&request.headers, &etag);
        if !known {
            match gzip(self.body.clone()).await {
                Some(compressed) => self.body = compressed,
                None => return self.respond(request),
            }
            self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        // A quoted digest is ASCII.
        if let Ok(etag) = HeaderValue::try_from(etag) {
            self.headers.insert(ETAG, etag);
        }
        self.finish(request, known)
    }

    fn finish(mut self, request: &Parts, known: bool) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            self.headers.remove(CONTENT_TYPE);
        } else {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            if request.method != Method::HEAD {
                *response.body_mut() = Body::from(self.body);
            }
        }
        *response.headers_mut() = self.headers;
        response
    }
}

/// The answer to HEAD: the length of what GET would get.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}

/// Whether `If-None-Match` lists `etag`, compared weakly (RFC 9110, 13.1.2), or anything.
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter();
    let mut listed = lines
        .filter_map(|line| line.to_str().ok())
        // Digests hold no comma, so no quoted text that matters is cut.
        .flat_map(|line| line.split(','));
    listed.any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oci::ReferrerList;
    use crate::referrers::AnsweredFrom;

    fn resolved(from: AnsweredFrom, age: Option<u64>) -> Lookup {
        Lookup {
            links: Arc::new(ReferrerList::new(Digest::sha256(b"x"), Vec::new())),
            from,
            age: age.map(Duration::from_millis),
        }
    }

    fn ask(method: Method, if_none_match: &[&str]) -> Response<Body> {
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        for line in if_none_match {
            request.headers_mut().append(IF_NONE_MATCH, line.parse().unwrap());
        }
        let answer = LocalResponse::new("application/x", Bytes::from_static(b"{}"));
        let answer = answer.made_of(&resolved(AnsweredFrom::Stale, Some(7900)));
        answer.respond(&request.into_parts().0)
    }

    #[test]
    fn head_has_the_headers_of_get() {
        let (get, head) = (ask(Method::GET, &[]), ask(Method::HEAD, &[]));
        assert_eq!(get.headers(), head.headers());
        assert_eq!(get.headers()[CONTENT_LENGTH], "2");
        assert_eq!(get.headers()[AGE], "7");
        assert_eq!(get.headers()[WARNING], STALE);
        assert!(matches!(get.body(), Body::Full(Some(_))));
        assert!(matches!(head.body(), Body::Full(None)));
    }

    #[test]
    fn what_was_remembered_has_its_age_and_what_is_stale_a_warning() {
        let request = http::Request::new(()).into_parts().0;
        for (from, age, told) in [
            (AnsweredFrom::Scan, None, (None, false)),
            (AnsweredFrom::Fresh, Some(900), (Some("0"), false)),
            (AnsweredFrom::Refreshing, Some(31_000), (Some("31"), true)),
            (AnsweredFrom::Stale, Some(90_000), (Some("90"), true)),
        ] {
            let answer = LocalResponse::new("application/x", Bytes::new()).made_of(&resolved(from, age));
            let response = answer.respond(&request);
            let said = response.headers().get(AGE).map(|value| value.to_str().unwrap());
            assert_eq!((said, response.headers().contains_key(WARNING)), told, "{from:?}");
        }
    }

    #[test]
    fn a_known_body_is_not_sent_again() {
        let etag = ask(Method::GET, &[]).headers()[ETAG].to_str().unwrap().to_owned();
        let weak = format!("\"x\", W/{etag}");
        for lines in [&[etag.as_str()][..], &[&weak], &["*"], &["\"x\"", &etag]] {
            let response = ask(Method::GET, lines);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{lines:?}");
            assert_eq!(response.headers()[ETAG], etag.as_str());
            assert!(!response.headers().contains_key(CONTENT_LENGTH));
        }
        let unquoted = etag.trim_matches('"');
        for lines in [&["\"x\""][..], &[unquoted], &[]] {
            assert_eq!(ask(Method::GET, lines).status(), StatusCode::OK, "{lines:?}");
        }
    }
}
