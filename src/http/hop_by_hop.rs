//! Hop-by-hop headers, which concern one connection only (RFC 9110, section 7.6.1): refshim passes them on in neither direction.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue};

/// Headers that are hop-by-hop even if `Connection` does not name them (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Removes the hop-by-hop headers and those that any `Connection` line names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    // Most messages have at most one of them, so a look-up is cheaper than ten removals.
    while let Some(found) = headers.keys().find(|name| HOP_BY_HOP.contains(name)).cloned() {
        headers.remove(found);
    }
}

/// What any of the `Connection` lines names. The framing stays: hyper has read the body by it already.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines
        .map(HeaderValue::as_bytes)
        .flat_map(|line| line.split(|&byte| byte == b','));
    names
        .map(<[u8]>::trim_ascii)
        // What nearly all of them say, and no header of its own.
        .filter(|name| !matches!(*name, b"keep-alive" | b"close"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != CONTENT_LENGTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_headers_go_on_every_line() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, "close, X-One".parse().unwrap());
        headers.append(CONNECTION, "x-two,".parse().unwrap());
        for name in ["x-one", "x-two", "x-three", "keep-alive", "te"] {
            headers.insert(name, "1".parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-three"]);
    }
}
