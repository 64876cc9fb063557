//! Which headers cross the proxy in either direction, and which of an upstream's go along with an answer of refshim's own.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPECT, HeaderName,
    LAST_MODIFIED, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, VIA, WARNING, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

use crate::http::hop_by_hop::remove_hop_by_hop;

/// Makes containers/image call an API of another product (`/extensions/v2/…`) that is not passed through.
const SUPPORTS_SIGNATURES: HeaderName = HeaderName::from_static("x-registry-supports-signatures");

/// What a registry says of itself to every caller, whatever the body. Besides these, all of CORS (`access-control-…`,
/// `cross-origin-…`). Not here, so never sent a second time: lengths, encodings and `Link` of another body, cookies, challenges,
/// dates and limits of one answer, and whatever is not known.
const OF_THE_REGISTRY: [HeaderName; 12] = [
    CACHE_CONTROL,
    CONTENT_SECURITY_POLICY,
    REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY,
    VARY,
    WARNING,
    X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
    HeaderName::from_static("deprecation"),
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("timing-allow-origin"),
];

/// What is true of content for as long as its bytes are the same.
const OF_THE_CONTENT: [HeaderName; 5] = [ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, LAST_MODIFIED];

/// The headers of an upstream's answer that go along with an answer which refshim makes in its place.
pub fn along_with_another_body(sent: &HeaderMap) -> HeaderMap {
    chosen(sent, is_of_the_registry)
}

/// The headers of an upstream's answer that go along whenever the same content is given again.
pub fn along_with_the_same_content(sent: &HeaderMap) -> HeaderMap {
    chosen(sent, |name| is_of_the_registry(name) || OF_THE_CONTENT.contains(name))
}

fn is_of_the_registry(name: &HeaderName) -> bool {
    let cors = ["access-control-", "cross-origin-"];
    OF_THE_REGISTRY.contains(name) || cors.iter().any(|prefix| name.as_str().starts_with(prefix))
}

fn chosen(sent: &HeaderMap, is_chosen: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut along = HeaderMap::new();
    for (name, value) in sent.iter().filter(|(name, _)| is_chosen(name)) {
        along.append(name.clone(), value.clone());
    }
    along
}

/// Adds the lines of `along` whose names `headers` does not have.
pub fn add(headers: &mut HeaderMap, along: &HeaderMap) {
    for name in along
        .keys()
        .filter(|name| !headers.contains_key(*name))
        .cloned()
        .collect::<Vec<_>>()
    {
        for value in along.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Gives every value of the header `name` the text that `change` makes of it. A value that is no text, or of which it makes `None`,
/// stays.
pub fn rewrite(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    if values.is_empty() {
        return;
    }
    headers.remove(name);
    for value in values {
        let changed = value.to_str().ok().and_then(&change);
        let changed = changed.and_then(|text| HeaderValue::try_from(text).ok());
        headers.append(name, changed.unwrap_or(value));
    }
}

/// Readies a caller's headers for the upstream. A request with two framings needs no care: hyper has dropped its length.
pub fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // Answered by this hop: `100 Continue` goes out when the upstream begins to take the body.
    headers.remove(EXPECT);
}

/// Whether clients and proxies send it, and it says nothing of who asks, so that it may go to any registry. All else may say so:
/// registries trust headers such as `X-Real-IP` or `X-Remote-User`, and products have tokens of their own.
pub fn says_nothing_of_who_asks(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "connection"
            | "content-length"
            | "content-type"
            | "docker-distribution-api-version"
            | "host"
            | "if-modified-since"
            | "if-none-match"
            | "pragma"
            | "range"
            | "te"
            | "traceparent"
            | "tracestate"
            | "user-agent"
            | "x-meta-source-client"
            | "x-request-id"
    )
}

/// Readies a caller's headers for a registry that is not the caller's.
pub fn make_impersonal(headers: &mut HeaderMap) {
    let is_personal = |name: &&HeaderName| !says_nothing_of_who_asks(name) && **name != VIA;
    for name in headers.keys().filter(is_personal).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Readies the upstream's headers for the caller.
pub fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(SUPPORTS_SIGNATURES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn all_connection_lines_count() {
        let mut map = headers(&[
            ("Connection", "keep-alive, X-One"),
            ("Connection", "close,x-two , ,\"bad\""),
            ("Connection", "Content-Length"),
            ("Keep-Alive", "timeout=5"),
            ("X-One", "1"),
            ("X-Two", "2"),
            ("X-Two", "22"),
            ("X-Three", "3"),
            ("Content-Length", "7"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Connection", "x"),
            ("TE", "trailers"),
            ("Trailer", "X"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
            ("Authorization", "Basic y"),
            ("Expect", "100-continue"),
        ]);
        clean_request(&mut map);
        let kept = headers(&[("X-Three", "3"), ("Content-Length", "7"), ("Authorization", "Basic y")]);
        assert_eq!(map, kept);
    }

    #[test]
    fn only_what_is_known_to_hold_again_goes_along() {
        let sent = headers(&[
            ("Access-Control-Allow-Origin", "http://ui"),
            ("Access-Control-Expose-Headers", "Link"),
            ("Vary", "Origin"),
            ("Vary", "Accept"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Type", "a/b"),
            ("ETag", "\"x\""),
            ("Content-Length", "7"),
            ("Content-Encoding", "gzip"),
            ("Link", "</v2/>"),
            ("Set-Cookie", "s=1"),
            ("Date", "today"),
            ("RateLimit-Remaining", "1"),
            ("X-Request-Id", "1"),
        ]);
        let of_the_registry = headers(&[
            ("Access-Control-Allow-Origin", "http://ui"),
            ("Access-Control-Expose-Headers", "Link"),
            ("Vary", "Origin"),
            ("Vary", "Accept"),
            ("X-Content-Type-Options", "nosniff"),
        ]);
        assert_eq!(along_with_another_body(&sent), of_the_registry);
        let mut same = of_the_registry.clone();
        add(
            &mut same,
            &headers(&[("Content-Type", "a/b"), ("ETag", "\"x\""), ("Vary", "other")]),
        );
        assert_eq!(along_with_the_same_content(&sent), same);
    }

    #[test]
    fn responses_lose_what_would_send_clients_astray() {
        let mut map = headers(&[
            ("X-Registry-Supports-Signatures", "1"),
            ("Connection", "close"),
            ("Docker-Distribution-Api-Version", "registry/2.0"),
        ]);
        clean_response(&mut map);
        assert_eq!(map, headers(&[("Docker-Distribution-Api-Version", "registry/2.0")]));
    }
}
