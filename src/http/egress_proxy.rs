//! Egress proxies: HTTP proxies on the way to registries and to the hosts that they name. https goes through a tunnel (`CONNECT`); http is
//! asked of the proxy itself, as most proxies make tunnels to TLS ports alone.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::body::BoxError;
use super::policy_resolver::{Connecting, PolicyResolver};
use crate::config::{EgressConfig, NamedProxy};

/// This machine is never reached through a proxy, as with Go's clients: what a proxy calls so is another machine.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

/// Which proxy leads to a host.
#[derive(Debug)]
pub(crate) struct EgressProxies {
    config: EgressConfig,
    matcher: Matcher,
    /// The entries of `NO_PROXY` that name a port, which [`Matcher`] knows nothing of: it matches what has to go through a proxy all
    /// the same.
    exempt_at_port: Vec<(u16, Matcher)>,
    /// Make tunnels for http too: HTTP/2 without TLS is not spoken to proxies.
    tunnels_http: bool,
}

/// How to connect to a host.
enum EgressRoute<'a> {
    Direct,
    /// The proxy is asked for the request's whole URL.
    Forward(&'a NamedProxy, Intercept),
    /// The proxy is asked for a connection.
    Tunnel(&'a NamedProxy, Intercept),
}

impl EgressProxies {
    pub(crate) fn new(config: EgressConfig, tunnels_http: bool) -> Self {
        let url = |proxy: &Option<NamedProxy>| proxy.as_ref().map_or_else(String::new, |p| p.url.reveal().to_owned());
        let (at_port, hosts): (Vec<_>, Vec<_>) =
            no_proxy_entries(&config.no_proxy).partition(|(_, port)| port.is_some());
        let hosts = hosts.into_iter().map(|(host, _)| host).chain([THIS_MACHINE.to_owned()]);
        let matcher = Matcher::builder().http(url(&config.http)).https(url(&config.https));
        let exempt = |(host, port): (String, Option<u16>)| {
            let any_proxy = Matcher::builder().all("http://proxy");
            Some((port?, any_proxy.no(host).build()))
        };
        Self {
            matcher: matcher.no(hosts.collect::<Vec<_>>().join(",")).build(),
            exempt_at_port: at_port.into_iter().filter_map(exempt).collect(),
            config,
            tunnels_http,
        }
    }

    /// The proxy on the way to `uri`.
    pub(crate) fn proxy_of(&self, uri: &Uri) -> Option<&NamedProxy> {
        match self.route(uri) {
            EgressRoute::Direct => None,
            EgressRoute::Forward(proxy, _) | EgressRoute::Tunnel(proxy, _) => Some(proxy),
        }
    }

    /// The proxy that is asked for `uri` itself, and what it is to be shown.
    pub(crate) fn forward_proxy_of(&self, uri: &Uri) -> Option<(&NamedProxy, Option<HeaderValue>)> {
        match self.route(uri) {
            EgressRoute::Forward(proxy, intercept) => Some((proxy, intercept.basic_auth().cloned())),
            EgressRoute::Direct | EgressRoute::Tunnel(..) => None,
        }
    }

    fn route(&self, uri: &Uri) -> EgressRoute<'_> {
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let named = if is_tls { &self.config.https } else { &self.config.http };
        let intercepted = named
            .as_ref()
            .and_then(|named| Some((named, self.matcher.intercept(uri)?)));
        let Some((named, intercept)) = intercepted else {
            return EgressRoute::Direct;
        };
        let mut exempt = self.exempt_at_port.iter();
        if exempt.any(|(port, others)| *port == port_of(uri) && others.intercept(uri).is_none()) {
            return EgressRoute::Direct;
        }
        match is_tls || self.tunnels_http {
            true => EgressRoute::Tunnel(named, intercept),
            false => EgressRoute::Forward(named, intercept),
        }
    }
}

/// The hosts in `NO_PROXY`, each with its port if it names one. `*.example.org` is `.example.org` to [`Matcher`].
fn no_proxy_entries(list: &str) -> impl Iterator<Item = (String, Option<u16>)> {
    let entries = list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| {
        let (host, port) = match entry.parse::<Authority>() {
            // The last group of an IPv6 address without brackets is no port.
            Ok(authority) if !authority.host().contains(':') || entry.starts_with('[') => (
                authority.host().trim_matches(['[', ']']).to_owned(),
                authority.port_u16(),
            ),
            _ => (entry.to_owned(), None),
        };
        match host.strip_prefix('*') {
            Some(domain) if domain.starts_with('.') => (domain.to_owned(), port),
            _ => (host, port),
        }
    })
}

fn port_of(uri: &Uri) -> u16 {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    uri.port_u16().unwrap_or(default)
}

/// The proxy did not connect refshim to where it wants to go.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} gave no connection to {target}")]
struct ProxyConnectError {
    proxy: NamedProxy,
    target: String,
    source: BoxError,
}

/// Connects through the proxy that leads to a host, or directly.
#[derive(Clone)]
pub(crate) struct EgressConnector {
    pub(super) proxies: Arc<EgressProxies>,
    pub(super) direct: HttpConnector<PolicyResolver>,
    /// The proxies' own addresses are the operator's, so no policy counts for them.
    pub(super) to_proxy: HttpsConnector<HttpConnector>,
}

impl Service<Uri> for EgressConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.to_proxy.poll_ready(cx))?;
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (proxy, connecting): (_, Self::Future) = match self.proxies.route(&uri) {
            EgressRoute::Direct => {
                let connecting = self.direct.call(uri);
                return Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) });
            }
            EgressRoute::Forward(proxy, intercept) => (proxy, self.to_proxy.call(intercept.uri().clone())),
            EgressRoute::Tunnel(proxy, intercept) => {
                let mut tunnel = Tunnel::new(intercept.uri().clone(), self.to_proxy.clone());
                if let Some(authorization) = intercept.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                let connecting = tunnel.call(with_port(&uri));
                (proxy, Box::pin(async move { Ok(connecting.await?) }))
            }
        };
        let (proxy, target) = (proxy.clone(), with_port(&uri).authority().map(ToString::to_string));
        Box::pin(async move {
            let failed = |source| ProxyConnectError {
                proxy,
                target: target.unwrap_or_default(),
                source,
            };
            Ok(connecting.await.map_err(failed)?)
        })
    }
}

/// `uri` with the port that its scheme implies, which [`Tunnel`] takes for 443 everywhere.
fn with_port(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let host = uri.host().unwrap_or_default();
    parts.authority = format!("{host}:{}", port_of(uri)).parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_with};

    fn proxies(variables: &[(&str, &str)], tunnels_http: bool) -> EgressProxies {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let overrides = Overrides {
            upstream: Some("https://registry.example".to_owned()),
            ..Overrides::default()
        };
        let config = load_with(None, variables, &overrides).unwrap();
        EgressProxies::new(config.upstreams[0].egress.clone(), tunnels_http)
    }

    /// How a URL is reached: directly, by asking a proxy for it, or by a tunnel.
    fn reached(proxies: &EgressProxies, url: &str) -> String {
        match proxies.route(&url.parse().unwrap()) {
            EgressRoute::Direct => "direct".to_owned(),
            EgressRoute::Forward(proxy, intercept) => format!("ask {proxy} at {}", intercept.uri()),
            EgressRoute::Tunnel(proxy, intercept) => format!("tunnel {proxy} at {}", intercept.uri()),
        }
    }

    #[test]
    fn https_is_tunnelled_and_http_asked_of_the_proxy() {
        let variables = [("HTTP_PROXY", "http://p:1"), ("HTTPS_PROXY", "https://u:hush@q")];
        let some = proxies(&variables, false);
        assert_eq!(
            reached(&some, "http://r.example/"),
            "ask http://p:1 (HTTP_PROXY) at http://p:1/"
        );
        assert_eq!(
            reached(&some, "https://r.example/"),
            "tunnel https://q (HTTPS_PROXY) at https://q/"
        );
        let tunnels = proxies(&variables, true);
        assert_eq!(
            reached(&tunnels, "http://r.example/"),
            "tunnel http://p:1 (HTTP_PROXY) at http://p:1/"
        );
        assert_eq!(reached(&proxies(&[], false), "https://r.example/"), "direct");
    }

    #[test]
    fn no_proxy_and_this_machine_are_exempt() {
        let list =
            "a.example, .b.example,*.c.example 10.0.0.0/8,192.0.2.1,d.example:5000,[2001:db8::1]:5000,2001:db8::2";
        let some = proxies(&[("ALL_PROXY", "http://p:1"), ("no_proxy", list)], false);
        for url in [
            "https://a.example/",
            "https://x.a.example:8443/",
            "https://b.example/",
            "https://x.c.example/",
            "http://10.1.2.3:5000/",
            "http://192.0.2.1/",
            "https://d.example:5000/",
            "https://x.d.example:5000/",
            "https://[2001:db8::1]:5000/",
            "https://[2001:db8::2]/",
            "http://localhost:5000/",
            "http://127.0.0.1:5000/",
            "http://[::1]:5000/",
        ] {
            assert_eq!(reached(&some, url), "direct", "{url}");
        }
        for url in [
            "https://nota.example/",
            "https://example/",
            "http://192.0.2.2/",
            "https://d.example/",
            "https://[2001:db8::1]/",
        ] {
            assert_ne!(reached(&some, url), "direct", "{url}");
        }
        let none = proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "*")], false);
        assert_eq!(reached(&none, "https://r.example/"), "direct");
    }

    #[test]
    fn a_tunnel_leads_to_a_port() {
        let target = |url: &str| with_port(&url.parse().unwrap()).authority().unwrap().to_string();
        assert_eq!(target("http://r.example/v2/"), "r.example:80");
        assert_eq!(target("https://[::1]/"), "[::1]:443");
        assert_eq!(target("https://r.example:5000/"), "r.example:5000");
    }
}
