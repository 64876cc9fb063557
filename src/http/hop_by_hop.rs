//! Hop-by-hop headers, which concern one connection only (RFC 9110, section 7.6.1): refshim passes them on in neither direction.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Whether a header is hop-by-hop even if `Connection` does not name it (RFC 9110, 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Removes the hop-by-hop headers and those that any `Connection` line names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    // Most messages have at most one of them, so a look-up is cheaper than ten removals.
    while let Some(found) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
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
