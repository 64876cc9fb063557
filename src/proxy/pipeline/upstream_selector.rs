//! Which upstream a request is for: containerd's `ns` says it, else the host name, else a prefix of the repository's name, else
//! it is the default one.

use std::collections::BTreeMap;

use http::header::HOST;
use http::request::Parts;

use crate::config::UpstreamConfig;
use crate::proxy::route::RouteError;
use crate::proxy::upstream_view::{NAMESPACE, UpstreamView, without_prefix};
use crate::render::Query;

/// The place of an upstream in the configuration.
type UpstreamIndex = usize;

/// The default upstream.
const FIRST: UpstreamIndex = 0;

#[derive(Debug)]
pub(super) struct UpstreamSelector {
    /// All in lower case.
    by_namespace: BTreeMap<String, UpstreamIndex>,
    by_host: BTreeMap<String, UpstreamIndex>,
    /// The longest first, so that the most exact is found.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    prefix: String,
    namespace: String,
    index: UpstreamIndex,
}

impl UpstreamSelector {
    /// What was checked already: no name leads to two upstreams.
    pub fn new(upstreams: &[UpstreamConfig]) -> Self {
        let mut selector = Self {
            by_namespace: BTreeMap::new(),
            by_host: BTreeMap::new(),
            prefixes: Vec::new(),
        };
        for (index, upstream) in upstreams.iter().enumerate() {
            let namespaces = upstream.namespaces();
            selector
                .by_host
                .extend(upstream.hosts.iter().map(|host| (host.clone(), index)));
            if let Some(prefix) = &upstream.prefix {
                selector.prefixes.push(Prefix {
                    prefix: prefix.to_string(),
                    namespace: namespaces.first().cloned().unwrap_or_default(),
                    index,
                });
            }
            for namespace in namespaces {
                // Two upstreams at one URL have the same namespace where neither is given its own.
                selector.by_namespace.entry(namespace).or_insert(index);
            }
        }
        selector
            .prefixes
            .sort_by_key(|prefix| std::cmp::Reverse(prefix.prefix.len()));
        selector
    }

    /// The upstream's place, and what named it. An unknown namespace is never the default upstream's: its content would be
    /// taken for that of another registry.
    pub fn choose(&self, request: &Parts) -> Result<(UpstreamIndex, UpstreamView), RouteError> {
        if let Some(namespace) = namespace(request)? {
            return match self.by_namespace.get(&namespace) {
                Some(&index) => Ok((index, UpstreamView::Namespace(namespace))),
                None => Err(RouteError::Namespace(namespace)),
            };
        }
        if !self.by_host.is_empty()
            && let Some(index) = host(request).and_then(|host| self.by_host(&host))
        {
            return Ok((index, UpstreamView::Plain));
        }
        let path = request.uri.path();
        let by_prefix = self
            .prefixes
            .iter()
            .find(|prefix| without_prefix(path, &prefix.prefix).is_some());
        Ok(match by_prefix {
            None => (FIRST, UpstreamView::Plain),
            Some(Prefix {
                prefix,
                namespace,
                index,
            }) => {
                let (prefix, namespace) = (prefix.clone(), namespace.clone());
                (*index, UpstreamView::Prefix { prefix, namespace })
            }
        })
    }

    /// With its port, else without.
    fn by_host(&self, host: &str) -> Option<UpstreamIndex> {
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        self.by_host.get(host).or_else(|| self.by_host.get(bare)).copied()
    }
}

/// In lower case. Two that differ are an error: whoever checks one must not be led by the other.
fn namespace(request: &Parts) -> Result<Option<String>, RouteError> {
    if request.uri.query().is_none() {
        return Ok(None);
    }
    let query = Query::parse(request.uri.query());
    let mut found: Option<String> = None;
    for (_, value) in query.pairs().filter(|(key, _)| *key == NAMESPACE) {
        let value = value.to_ascii_lowercase();
        if found.as_ref().is_some_and(|found| *found != value) {
            return Err(RouteError::TwoNamespaces);
        }
        found = Some(value);
    }
    Ok(found)
}

/// The host by which the proxy was reached, in lower case.
fn host(request: &Parts) -> Option<String> {
    let authority = request.uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| request.headers.get(HOST)?.to_str().ok())?;
    Some(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RepositoryName;

    fn upstream(url: &str, hosts: &[&str], prefix: Option<&str>) -> UpstreamConfig {
        UpstreamConfig {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            prefix: prefix.map(|prefix| RepositoryName::parse(prefix).unwrap()),
            ..UpstreamConfig::new(url.parse().unwrap())
        }
    }

    fn router() -> UpstreamSelector {
        let mut hub = upstream("https://registry-1.docker.io", &[], Some("hub"));
        hub.ns = ["docker.io".to_owned()].into();
        UpstreamSelector::new(&[
            upstream("https://ghcr.io", &[], None),
            upstream(
                "http://127.0.0.1:5000",
                &["local.example", "other.example:81"],
                Some("local"),
            ),
            hub,
            upstream("https://quay.io", &[], Some("local/quay")),
        ])
    }

    fn choose(target: &str, host: &str) -> Result<(usize, UpstreamView), RouteError> {
        let request = http::Request::builder()
            .uri(target)
            .header(HOST, host)
            .body(())
            .unwrap();
        router().choose(&request.into_parts().0)
    }

    #[test]
    fn the_namespace_beats_the_host_beats_the_prefix() {
        let by_namespace = |index, name: &str| Ok((index, UpstreamView::Namespace(name.into())));
        let by_prefix = |index, prefix: &str, namespace: &str| {
            let (prefix, namespace) = (prefix.into(), namespace.into());
            Ok((index, UpstreamView::Prefix { prefix, namespace }))
        };
        for (target, host, expected) in [
            ("/v2/a/tags/list", "x", Ok((0, UpstreamView::Plain))),
            ("/v2/", "LOCAL.example:5100", Ok((1, UpstreamView::Plain))),
            ("/v2/", "other.example", Ok((0, UpstreamView::Plain))),
            ("/v2/", "other.example:81", Ok((1, UpstreamView::Plain))),
            ("https://local.example/v2/", "x", Ok((1, UpstreamView::Plain))),
            (
                "/v2/a/tags/list?ns=Docker.io",
                "local.example",
                by_namespace(2, "docker.io"),
            ),
            ("/v2/a/x?n=1&n%73=ghcr.io", "x", by_namespace(0, "ghcr.io")),
            ("/v2/a/x?ns=127.0.0.1%3A5000", "x", by_namespace(1, "127.0.0.1:5000")),
            ("/v2/local/a/tags/list", "x", by_prefix(1, "local", "127.0.0.1:5000")),
            ("/v2/local/quay/a/tags/list", "x", by_prefix(3, "local/quay", "quay.io")),
            ("/v2/hub/", "x", by_prefix(2, "hub", "docker.io")),
            ("/v2/locals/a/tags/list", "x", Ok((0, UpstreamView::Plain))),
            ("/v2/local/a/tags/list", "local.example", Ok((1, UpstreamView::Plain))),
        ] {
            assert_eq!(choose(target, host), expected, "{target} at {host}");
        }
    }

    #[test]
    fn an_unknown_namespace_is_nobodys() {
        for unknown in ["registry-1.docker.io", "evil.example", "", "ghcr.io/x"] {
            let chosen = choose(&format!("/v2/a/x?ns={unknown}"), "x");
            assert_eq!(chosen, Err(RouteError::Namespace(unknown.into())));
        }
        assert_eq!(
            choose("/v2/a/x?ns=ghcr.io&ns=quay.io", "x"),
            Err(RouteError::TwoNamespaces)
        );
        assert!(choose("/v2/a/x?ns=ghcr.io&ns=GHCR.io", "x").is_ok());
    }
}
