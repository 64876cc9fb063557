//! The caller at the other end of a connection, and the origin by which it reaches refshim.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use url::Url;

/// What the server knows of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// The address as the log has it: written once, not with every request.
    address_text: Arc<str>,
    /// Whether the caller speaks TLS to this very process.
    pub tls: bool,
    /// Whether it showed a certificate of an authority that the configuration trusts.
    pub certified: bool,
}

impl Peer {
    /// A caller who has shown nothing yet.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            address_text: address.to_string().into(),
            tls: false,
            certified: false,
        }
    }

    pub(super) fn address_text(&self) -> &str {
        &self.address_text
    }
}

/// The origin by which the caller reaches the proxy, such as `http://127.0.0.1:5100`: the configured one, or what the
/// request says. `None` where it says nothing that could stand in a URL.
pub(super) fn callers_origin(request: &Parts, peer: &Peer, public_url: Option<&Url>) -> Option<String> {
    if let Some(url) = public_url {
        return Some(url.origin().ascii_serialization());
    }
    let scheme = if peer.tls { "https" } else { "http" };
    let host = match request.headers.get(HOST) {
        Some(host) => host.to_str().ok()?,
        // HTTP/2 has it in the target.
        None => request.uri.authority()?.as_str(),
    };
    let authority: Authority = host.parse().ok()?;
    (!host.contains('@')).then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(host: Option<&str>, target: &str, public_url: Option<&str>, tls: bool) -> Option<String> {
        let mut request = http::Request::builder().uri(target).body(()).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host.parse().unwrap());
        }
        let peer = Peer {
            tls,
            ..Peer::new("127.0.0.1:1".parse().unwrap())
        };
        let public_url = public_url.map(|url| Url::parse(url).unwrap());
        callers_origin(&request.into_parts().0, &peer, public_url.as_ref())
    }

    #[test]
    fn the_configured_origin_wins_over_the_requests() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(origin(Some("a:5100"), "/v2/", None, false), some("http://a:5100"));
        assert_eq!(origin(Some("a"), "/v2/", None, true), some("https://a"));
        assert_eq!(origin(None, "http://b:1/v2/", None, true), some("https://b:1"));
        let public = Some("https://refs.example.org/ignored");
        assert_eq!(
            origin(Some("a"), "/v2/", public, false),
            some("https://refs.example.org")
        );
        for bad in ["", "u@a", "a/b", "a b", "a?b", "a#b"] {
            assert_eq!(origin(Some(bad), "/v2/", None, false), None, "{bad}");
        }
    }
}
