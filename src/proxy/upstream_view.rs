//! What in a request named its upstream, and how addresses are written because of it. Pure.
//!
//! What named the upstream (`ns`, a prefix) is taken off the request's target, so that handlers see a target as if their upstream were
//! the only one. Addresses of the API in the answer get it back here, once, whoever made the answer.

use http::header::{LINK, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::headers;
use crate::oci::RepositoryName;
use crate::ui::Address;

/// containerd's name of the registry that it means.
pub(super) const NAMESPACE: &str = "ns";
/// Says that `ns` chose the registry, and what it was (distribution-spec 1.1+dev, "Registry Proxying").
const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// The repository that a blob is mounted from.
const FROM: &str = "from";
/// What stands in front of a repository's name, here and in the pages for people, the longest first where one begins with another.
const API_ROOTS: [&str; 6] = [
    "/v2/",
    "/v3/",
    "/oras/artifacts/v1/",
    Address::REPOSITORY,
    Address::MANIFEST,
    Address::BLOB,
];

/// In a query's value everything is encoded but what no parser takes for anything else.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What in the request named the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpstreamView {
    /// Nothing, or the host name.
    Plain,
    /// `?ns=<host>`
    Namespace(String),
    /// `/v2/<prefix>/…`. Outside the API, where nothing can stand in front of a name, `namespace` leads to the same upstream.
    Prefix { prefix: String, namespace: String },
}

impl UpstreamView {
    /// The target as the upstream's own; everything that is not changed stays byte for byte.
    pub fn inner(&self, uri: &Uri) -> Uri {
        let path = match self {
            Self::Plain => return uri.clone(),
            Self::Namespace(_) => None,
            Self::Prefix { prefix, .. } => without_prefix(uri.path(), prefix),
        };
        let path = path.unwrap_or_else(|| uri.path().to_owned());
        let pairs = uri.query().unwrap_or_default().split('&');
        let query: Vec<String> = pairs.filter_map(|pair| self.inner_pair(pair)).collect();
        let target = match query.is_empty() || uri.query().is_none() {
            true => path,
            false => format!("{path}?{}", query.join("&")),
        };
        let mut parts = uri.clone().into_parts();
        // Pieces of a target are a target.
        parts.path_and_query = PathAndQuery::try_from(target).ok().or(parts.path_and_query);
        Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
    }

    /// `None` for what only says which upstream is meant.
    fn inner_pair(&self, pair: &str) -> Option<String> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (&*percent_decode_str(key).decode_utf8_lossy(), self) {
            (NAMESPACE, _) => None,
            (FROM, Self::Prefix { prefix, .. }) => {
                let from = percent_decode_str(value).decode_utf8_lossy();
                let inner = from.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
                let inner = inner.filter(|name| RepositoryName::parse(name).is_ok());
                Some(inner.map_or_else(|| pair.to_owned(), |name| format!("{FROM}={name}")))
            }
            _ => Some(pair.to_owned()),
        }
    }

    /// A repository's name as the caller writes it.
    pub fn repository(&self, name: &RepositoryName) -> String {
        match self {
            Self::Prefix { prefix, .. } => format!("{prefix}/{name}"),
            Self::Plain | Self::Namespace(_) => name.to_string(),
        }
    }

    /// How the pages for people write addresses.
    pub fn address(&self) -> Address {
        match self {
            Self::Plain => Address::default(),
            Self::Namespace(namespace) => Address {
                namespace: Some(namespace.clone()),
                prefix: None,
            },
            Self::Prefix { prefix, namespace } => Address {
                prefix: Some(prefix.clone()),
                namespace: Some(namespace.clone()),
            },
        }
    }

    /// The namespace that leads to the upstream outside the API, where the host name alone does not.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Plain => None,
            Self::Namespace(namespace) | Self::Prefix { namespace, .. } => Some(namespace),
        }
    }

    /// Turns the addresses of an answer back: those of the API, path-absolute or on `origin`, which is the caller's own. Where `ns`
    /// chose the upstream, the answer says so.
    pub fn turn_back(&self, headers: &mut HeaderMap, origin: impl FnOnce() -> Option<String>) {
        if *self == Self::Plain {
            return;
        }
        if let Self::Namespace(namespace) = self
            && let Ok(value) = HeaderValue::try_from(namespace)
        {
            headers.insert(OCI_NAMESPACE, value);
        }
        let origin = origin();
        headers::rewrite(headers, &LOCATION, |value| self.outer(value, origin.as_deref()));
        headers::rewrite(headers, &LINK, |value| self.outer_link(value, origin.as_deref()));
    }

    fn outer(&self, target: &str, origin: Option<&str>) -> Option<String> {
        let (origin, local) = match origin.and_then(|origin| Some((origin, target.strip_prefix(origin)?))) {
            Some((origin, local)) => (origin, local),
            None => ("", target),
        };
        let root = API_ROOTS.iter().find(|root| local.starts_with(**root))?;
        let rest = &local[root.len()..];
        Some(match self {
            Self::Plain => target.to_owned(),
            Self::Prefix { prefix, .. } => format!("{origin}{root}{prefix}/{rest}"),
            Self::Namespace(namespace) => {
                let separator = if rest.contains('?') { '&' } else { '?' };
                let namespace = encoded(namespace);
                format!("{origin}{root}{rest}{separator}{NAMESPACE}={namespace}")
            }
        })
    }

    /// Every `<target>` of a `Link` header.
    fn outer_link(&self, value: &str, origin: Option<&str>) -> Option<String> {
        let (before, rest) = value.split_once('<')?;
        let (target, after) = rest.split_once('>')?;
        let target = self.outer(target, origin).unwrap_or_else(|| target.to_owned());
        let after = self.outer_link(after, origin).unwrap_or_else(|| after.to_owned());
        Some(format!("{before}<{target}>{after}"))
    }
}

/// As the value of a query's parameter.
pub(super) fn encoded(namespace: &str) -> String {
    utf8_percent_encode(namespace, VALUE).to_string()
}

/// `path` without the prefix in front of the repository's name; `None` where it is not there.
pub(super) fn without_prefix(path: &str, prefix: &str) -> Option<String> {
    API_ROOTS.iter().find_map(|root| {
        let rest = path.strip_prefix(root)?.strip_prefix(prefix)?.strip_prefix('/')?;
        Some(format!("{root}{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<&str> = Some("https://refs.example");

    fn prefix() -> UpstreamView {
        UpstreamView::Prefix {
            prefix: "ghcr".into(),
            namespace: "ghcr.io".into(),
        }
    }

    fn namespace() -> UpstreamView {
        UpstreamView::Namespace("localhost:5000".into())
    }

    fn inner(view: &UpstreamView, target: &str) -> String {
        view.inner(&target.parse().unwrap()).to_string()
    }

    #[test]
    fn the_upstream_is_asked_as_if_it_were_the_only_one() {
        for (target, expected) in [
            ("/v2/a/tags/list?ns=localhost%3A5000", "/v2/a/tags/list"),
            ("/v2/a/x?last=%7E+&n%73=y&n=&ns=z", "/v2/a/x?last=%7E+&n="),
            ("/v2/a/x", "/v2/a/x"),
        ] {
            assert_eq!(inner(&namespace(), target), expected);
        }
        for (target, expected) in [
            ("/v2/ghcr/o/app/tags/list?n=1", "/v2/o/app/tags/list?n=1"),
            ("/v2/ghcr/", "/v2/"),
            ("/v3/ghcr/a/referrers/x", "/v3/a/referrers/x"),
            (
                "/oras/artifacts/v1/ghcr/a/manifests/d/referrers",
                "/oras/artifacts/v1/a/manifests/d/referrers",
            ),
            (
                "https://h:1/v2/ghcr/a/blobs/uploads/?mount=d&from=ghcr%2Fo/b",
                "https://h:1/v2/a/blobs/uploads/?mount=d&from=o/b",
            ),
            (
                "/v2/ghcr/a/blobs/uploads/?from=other/b",
                "/v2/a/blobs/uploads/?from=other/b",
            ),
        ] {
            assert_eq!(inner(&prefix(), target), expected);
        }
    }

    #[test]
    fn addresses_lead_back_the_same_way() {
        let outer = |view: &UpstreamView, target: &str| view.outer(target, HERE);
        let some = |text: &str| Some(text.to_owned());
        for (target, by_prefix, by_namespace) in [
            (
                "/v2/a/blobs/uploads/1?_state=x%3D",
                "/v2/ghcr/a/blobs/uploads/1?_state=x%3D",
                "/v2/a/blobs/uploads/1?_state=x%3D&ns=localhost%3A5000",
            ),
            (
                "https://refs.example/v2/a/y",
                "https://refs.example/v2/ghcr/a/y",
                "https://refs.example/v2/a/y?ns=localhost%3A5000",
            ),
        ] {
            assert_eq!(outer(&prefix(), target), some(by_prefix));
            assert_eq!(outer(&namespace(), target), some(by_namespace));
        }
        for elsewhere in [
            "https://storage.example/v2/x",
            "/download/x",
            "https://refs.example.org/v2/x",
        ] {
            assert_eq!(outer(&prefix(), elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn an_answer_says_that_ns_chose_the_upstream() {
        for (view, said) in [
            (namespace(), Some("localhost:5000")),
            (prefix(), None),
            (UpstreamView::Plain, None),
        ] {
            let mut headers = HeaderMap::new();
            view.turn_back(&mut headers, || None);
            let stated = headers.get(OCI_NAMESPACE).map(|value| value.to_str().unwrap());
            assert_eq!(stated, said, "{view:?}");
        }
    }

    #[test]
    fn every_target_of_a_link_is_turned_back() {
        let mut headers = HeaderMap::new();
        headers.insert(
            LINK,
            "</v2/a/x?n=1>; rel=\"next\", <https://w/>; rel=help".parse().unwrap(),
        );
        prefix().turn_back(&mut headers, || HERE.map(str::to_owned));
        assert_eq!(
            headers[LINK],
            "</v2/ghcr/a/x?n=1>; rel=\"next\", <https://w/>; rel=help"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_target_is_survived(path in "(/[a-z%0-9.]{0,6}){1,5}", query in "[a-z=&%0-9+]{0,20}") {
            let target = format!("{path}?{query}");
            if let Ok(uri) = target.parse() {
                prefix().inner(&uri);
                let inner = namespace().inner(&uri);
                proptest::prop_assert!(!inner.query().unwrap_or_default().split('&').any(|pair| pair.starts_with("ns=")));
            }
        }
    }
}
