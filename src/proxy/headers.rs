//! Headers that must not cross the proxy.

use http::HeaderMap;
use http::header::{EXPECT, HeaderName};

use crate::hop_by_hop::remove_hop_by_hop;

/// Makes containers/image call an API of another product (`/extensions/v2/…`) that is not passed through.
const SUPPORTS_SIGNATURES: HeaderName = HeaderName::from_static("x-registry-supports-signatures");

/// Readies a caller's headers for the upstream. A request with two framings needs no care: hyper has dropped its length.
pub fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // Answered by this hop: `100 Continue` goes out when the upstream begins to take the body.
    headers.remove(EXPECT);
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
