//! Where requests go: the upstream's own origin and path prefix, and what is written in `Link` and `Location`.

use std::net::Ipv6Addr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use super::error::UpstreamError;

/// Scheme, authority and path prefix of an upstream.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; usually empty.
    prefix: String,
}

impl Origin {
    /// `None` unless `url` is of http or https and has a host.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Some(Self {
            scheme: match url.scheme() {
                "http" => Scheme::HTTP,
                "https" => Scheme::HTTPS,
                _ => return None,
            },
            authority: authority.parse().ok()?,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// What stands before `/v2`.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// `path_and_query` (such as `/v2/`) on this upstream, not a byte of it changed.
    pub(super) fn uri(&self, path_and_query: &str) -> Result<Uri, UpstreamError> {
        let invalid = |e: http::uri::InvalidUri| UpstreamError::Invalid(format!("no URL can be made of the path: {e}"));
        let path = if self.prefix.is_empty() {
            PathAndQuery::try_from(path_and_query).map_err(invalid)?
        } else {
            PathAndQuery::try_from(format!("{}{path_and_query}", self.prefix)).map_err(invalid)?
        };
        Ok(self.at(path))
    }

    /// The same for what is a target already.
    pub(super) fn below(&self, path: Option<&PathAndQuery>) -> Result<Uri, UpstreamError> {
        match path {
            Some(path) if self.prefix.is_empty() => Ok(self.at(path.clone())),
            Some(path) => self.uri(path.as_str()),
            None => self.uri("/"),
        }
    }

    /// The whole of `path`, prefix included, on this upstream.
    pub(super) fn at(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // All three parts are there, which is all that `from_parts` checks.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Whether `uri` has this scheme, host and port.
    pub(super) fn holds(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme)
            && uri.host().is_some_and(|host| is_same_host(host, self.authority.host()))
            && port(uri) == self.port()
    }

    /// Whether `uri`, which this origin holds, is below `/v2/`.
    pub(super) fn is_api(&self, uri: &Uri) -> bool {
        let path = uri.path().strip_prefix(&self.prefix);
        path.is_some_and(|path| path.starts_with("/v2/"))
    }

    /// `asked` with another query.
    pub(super) fn same_path(&self, asked: &Uri, query: &str) -> Option<Uri> {
        let path = format!("{}?{query}", asked.path()).parse().ok()?;
        Some(self.at(path))
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(default_port(&self.scheme))
    }

    /// Takes a `Link` or upload `Location` that the upstream wrote about itself, as it has to be asked here. A registry behind a TLS
    /// terminator writes `http` where `https` is meant; one behind a proxy that hands on the host without its port, or that is reached
    /// through another port than it listens at, writes none or a default one, which only counts below `/v2/`: something else may
    /// be served there. The host must be this one.
    pub(super) fn own(&self, uri: &Uri) -> Option<Uri> {
        let same_host = uri.host().is_some_and(|host| is_same_host(host, self.authority.host()));
        let terminated = uri.scheme() != Some(&self.scheme) && uri.port_u16().is_none_or(|p| p == self.port());
        let without_port = matches!(uri.port_u16(), None | Some(80 | 443)) && self.may_be_api(uri);
        if self.holds(uri) || same_host && (terminated || without_port) {
            uri.path_and_query().map(|path| self.at(path.clone()))
        } else {
            None
        }
    }

    /// Whether `uri` is below `/v2/`, or below this upstream's prefix and `/v2/`.
    fn may_be_api(&self, uri: &Uri) -> bool {
        self.is_api(uri) || uri.path().starts_with("/v2/")
    }
}

/// Whether two host names, IPv6 addresses in brackets, are the same, however they are written.
fn is_same_host(one: &str, other: &str) -> bool {
    let address = |host: &str| -> Option<Ipv6Addr> { host.strip_prefix('[')?.strip_suffix(']')?.parse().ok() };
    one.eq_ignore_ascii_case(other) || address(one).is_some_and(|one| address(other) == Some(one))
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16()
        .unwrap_or_else(|| default_port(uri.scheme().unwrap_or(&Scheme::HTTP)))
}

/// What `reference` means in an answer to a request for `base`. Queries stay byte-exact where the reference is absolute or has
/// an absolute path: they may be signed. `None` for what is no http or https URL, or holds credentials.
pub(super) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    let uri: Uri = if let Some(rest) = reference.strip_prefix("//") {
        format!("{}://{rest}", base.scheme_str()?).parse().ok()?
    } else if reference.starts_with('/') {
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(reference.parse().ok()?);
        Uri::from_parts(parts).ok()?
    } else if has_scheme(reference) {
        reference.parse().ok()?
    } else {
        let base = Url::parse(&base.to_string()).ok()?;
        base.join(reference).ok()?.as_str().parse().ok()?
    };
    let is_http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let plain = uri
        .authority()
        .is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty());
    (is_http && plain).then_some(uri)
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn paths_stay_byte_exact_behind_the_prefix() {
        let uri = origin("https://r.example/pre/")
            .uri("/v2/a%2fb/x?last=%7E+&n=")
            .unwrap();
        assert_eq!(uri.to_string(), "https://r.example/pre/v2/a%2fb/x?last=%7E+&n=");
        assert_eq!(
            origin("http://[::1]:5000").uri("/v2/").unwrap().to_string(),
            "http://[::1]:5000/v2/"
        );
    }

    #[test]
    fn only_http_urls_with_a_host_are_origins() {
        for url in ["ftp://a/", "data:x", "unix:/x"] {
            assert!(Origin::of(&Url::parse(url).unwrap()).is_none(), "{url}");
        }
    }

    #[test]
    fn references_resolve_against_the_request() {
        let base: Uri = "https://r.example:5000/v2/a/tags/list?n=1".parse().unwrap();
        for (reference, expected) in [
            (
                "/v2/a/tags/list?last=%2f'~",
                "https://r.example:5000/v2/a/tags/list?last=%2f'~",
            ),
            ("?last=x", "https://r.example:5000/v2/a/tags/list?last=x"),
            ("list?last=x", "https://r.example:5000/v2/a/tags/list?last=x"),
            ("../x", "https://r.example:5000/v2/a/x"),
            ("//b.example/x", "https://b.example/x"),
            ("http://b.example/x?y=https://z#f", "http://b.example/x?y=https://z"),
            ("list?u=https://z", "https://r.example:5000/v2/a/tags/list?u=https://z"),
        ] {
            assert_eq!(
                resolve(&base, reference).map(|u| u.to_string()).as_deref(),
                Some(expected)
            );
        }
        for reference in ["ftp://b/", "https://u:p@b/", "http://", "https:///x", "/\u{1}"] {
            assert_eq!(resolve(&base, reference), None, "{reference}");
        }
    }

    #[test]
    fn links_must_stay_at_home() {
        let home = origin("https://r.example/pre");
        let own = |uri: &str| home.own(&uri.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(
            own("https://R.example:443/v2/x").as_deref(),
            Some("https://r.example/v2/x")
        );
        assert_eq!(own("http://r.example/v2/x").as_deref(), Some("https://r.example/v2/x"));
        assert_eq!(own("https://r.example:444/v2/x"), None);
        assert_eq!(own("http://r.example:81/v2/x"), None);
        assert_eq!(own("https://evil.example/v2/x"), None);
        assert_eq!(
            own("https://r.example:443/elsewhere").as_deref(),
            Some("https://r.example/elsewhere")
        );
        assert!(!home.holds(&"http://r.example/".parse().unwrap()));
    }

    #[test]
    fn a_registry_may_not_know_the_port_that_it_is_reached_at() {
        let home = origin("http://r.example:5000/pre");
        let own = |uri: &str| home.own(&uri.parse().unwrap()).map(|u| u.to_string());
        for (written, meant) in [
            (
                "http://r.example/pre/v2/x?_state=%2F",
                "http://r.example:5000/pre/v2/x?_state=%2F",
            ),
            ("https://R.example/v2/x", "http://r.example:5000/v2/x"),
            ("http://r.example:80/pre/v2/x", "http://r.example:5000/pre/v2/x"),
            ("https://r.example:443/pre/v2/x", "http://r.example:5000/pre/v2/x"),
        ] {
            assert_eq!(own(written).as_deref(), Some(meant), "{written}");
        }
        for other in [
            "http://r.example/bucket/x",
            "http://r.example:80/pre/x",
            "http://r.example:9000/pre/v2/x",
            "http://evil.example/pre/v2/x",
            "http://r.example.evil.example/pre/v2/x",
        ] {
            assert_eq!(own(other), None, "{other}");
        }
        let home = origin("http://[::1]:5000");
        for written in ["http://[::1]/v2/x", "http://[0:0:0:0:0:0:0:1]:5000/v2/x"] {
            let meant = home.own(&written.parse().unwrap()).unwrap();
            assert_eq!(meant.to_string(), "http://[::1]:5000/v2/x");
        }
        assert_eq!(home.own(&"http://[::2]/v2/x".parse().unwrap()), None);
    }
}
