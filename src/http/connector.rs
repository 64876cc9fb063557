//! New connections to upstreams: egress proxies, TLS, and name resolution under a redirect policy.

use std::cell::Cell;
use std::error::Error;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tower_service::Service;

use super::connection_use::Recorded;
use super::egress_proxy::{EgressConnector, EgressProxies};
use super::error_chain::find;
use super::policy_resolver::{Connecting, PolicyResolver};
use super::redirect_policy::RedirectPolicy;
use crate::config::TlsVersion;
use crate::http::body::BoxError;
use crate::tls::{Identity, ServerTrust, versions};

const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection to one upstream.
pub(super) type Stream = TokioIo<Recorded<TokioIo<MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>>>>;

tokio::task_local! {
    /// A connection for the request that is made in this scope, so that it is not connected once more.
    pub(super) static HANDED_OVER: Cell<Option<Stream>>;
}

/// The connection was not established within the connect timeout.
#[derive(Debug, thiserror::Error)]
#[error("the connection was not established within connect_timeout")]
pub(crate) struct ConnectTimedOut;

/// Settings for connections to one upstream.
pub(crate) struct ClientOptions {
    pub(crate) tls: ClientConfig,
    /// Which proxies to go through, and the TLS settings for those that speak it.
    pub(crate) proxies: Arc<EgressProxies>,
    pub(crate) proxy_tls: ClientConfig,
    pub(crate) connect_timeout: Duration,
    /// Speak HTTP/2 on connections without TLS.
    pub(crate) http2_only: bool,
    /// If set, host names may only resolve to addresses that it permits.
    pub(crate) policy: Option<Arc<RedirectPolicy>>,
}

/// TLS settings that believe the servers that `trust` says and present the client certificate `identity`.
pub(crate) fn tls(
    trust: ServerTrust,
    least: TlsVersion,
    identity: Option<Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = trust.into_verifier(&provider);
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions(least))?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key),
    }
}

fn tcp<R>(resolver: R, connect_timeout: Duration) -> HttpConnector<R> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp
}

/// Connects within a timeout that includes the TLS handshake.
#[derive(Clone)]
pub(crate) struct TimedConnector {
    any_version: HttpsConnector<EgressConnector>,
    /// Offers HTTP/1.1 alone.
    http1: HttpsConnector<EgressConnector>,
    /// Whether `http1` connects, and `any_version` only to servers that do not speak that.
    prefers_http1: bool,
    proxies: Arc<EgressProxies>,
    timeout: Duration,
    http2_only: bool,
    /// Whether the latest connection speaks HTTP/2.
    negotiated_http2: Arc<AtomicBool>,
    /// Whether a server refused to speak HTTP/1.1.
    refuses_http1: Arc<AtomicBool>,
}

impl TimedConnector {
    pub(super) fn new(options: ClientOptions) -> Self {
        let resolver = PolicyResolver {
            system: GaiResolver::new(),
            policy: options.policy,
        };
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(options.proxy_tls)
            .https_or_http();
        let egress = EgressConnector {
            proxies: Arc::clone(&options.proxies),
            direct: tcp(resolver, options.connect_timeout),
            to_proxy: to_proxy
                .enable_http1()
                .wrap_connector(tcp(GaiResolver::new(), options.connect_timeout)),
        };
        let mut http1_tls = options.tls.clone();
        http1_tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(options.tls)
            .https_or_http();
        Self {
            http1: HttpsConnector::from((egress.clone(), http1_tls)),
            any_version: tls.enable_all_versions().wrap_connector(egress),
            prefers_http1: false,
            proxies: options.proxies,
            timeout: options.connect_timeout,
            http2_only: options.http2_only,
            negotiated_http2: Arc::default(),
            refuses_http1: Arc::default(),
        }
    }

    /// The same, for HTTP/1.1 wherever the server speaks it. Its connections count for nothing in `negotiated_http2`.
    pub(super) fn preferring_http1(&self) -> Self {
        Self {
            prefers_http1: true,
            ..self.clone()
        }
    }

    /// Whether TLS agreed on HTTP/2 for the latest connection.
    pub(super) fn negotiated_http2(&self) -> bool {
        self.negotiated_http2.load(Ordering::Relaxed)
    }

    /// Whether a server that [`preferring_http1`](Self::preferring_http1) connected to speaks HTTP/2 alone.
    pub(super) fn refuses_http1(&self) -> bool {
        self.refuses_http1.load(Ordering::Relaxed)
    }
}

impl Service<Uri> for TimedConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.http1.poll_ready(cx))?;
        self.any_version.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Ok(Some(stream)) = HANDED_OVER.try_with(Cell::take) {
            return Box::pin(ready(Ok(stream)));
        }
        let asks_proxy = self.proxies.forward_proxy_of(&uri).is_some();
        let (timeout, http2_only, prefers_http1) = (self.timeout, self.http2_only, self.prefers_http1);
        let mut any_version = self.any_version.clone();
        let connecting = match prefers_http1 {
            true => self.http1.call(uri.clone()),
            false => self.any_version.call(uri.clone()),
        };
        let (negotiated_http2, refuses_http1) = (Arc::clone(&self.negotiated_http2), Arc::clone(&self.refuses_http1));
        Box::pin(async move {
            let connected = tokio::time::timeout(timeout, async {
                match connecting.await {
                    Err(error) if prefers_http1 && is_version_refused(&*error) => {
                        refuses_http1.store(true, Ordering::Relaxed);
                        poll_fn(|cx| any_version.poll_ready(cx)).await?;
                        any_version.call(uri).await
                    }
                    connected => connected,
                }
            });
            let Ok(connected) = connected.await else {
                return Err(ConnectTimedOut.into());
            };
            let stream = TokioIo::new(connected?);
            let is_negotiated = stream.connected().is_negotiated_h2();
            if !prefers_http1 {
                negotiated_http2.store(is_negotiated, Ordering::Relaxed);
            }
            let recorded = Recorded::new(stream, http2_only || is_negotiated).asking_proxy(asks_proxy);
            Ok(TokioIo::new(recorded))
        })
    }
}

/// Whether the server speaks none of the versions of HTTP that it was offered.
fn is_version_refused(error: &(dyn Error + 'static)) -> bool {
    let refusal = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    find::<rustls::Error>(error).is_some_and(|error| *error == refusal)
}
