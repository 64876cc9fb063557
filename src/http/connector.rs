//! Connections to upstreams: pool, egress proxies, TLS, HTTP/1.1 and HTTP/2, and name resolution under a redirect policy.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connection_use::Recorded;
use super::egress_proxy::{EgressConnector, EgressProxies};
use super::policy_resolver::{Connecting, PolicyResolver};
use super::redirect_policy::RedirectPolicy;
use crate::config::{NamedProxy, TlsVersion};
use crate::http::body::{Body, BoxError};
use crate::tls::{Identity, ServerTrust, versions};

/// How long an idle connection is kept. Shorter than the idle timeout of common load balancers (60 s), so that they do not close it under a request.
const POOL_IDLE: Duration = Duration::from_secs(50);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// HTTP/2 flow control: at most this many bytes of one body are buffered for a slow caller.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

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

/// Sends requests, on connections that it keeps.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<TimedConnector, Body>,
    proxies: Arc<EgressProxies>,
}

impl HttpClient {
    pub(crate) fn new(options: ClientOptions) -> Self {
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
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(options.tls)
            .https_or_http();
        let connector = TimedConnector {
            inner: tls.enable_all_versions().wrap_connector(egress),
            proxies: Arc::clone(&options.proxies),
            timeout: options.connect_timeout,
            http2_only: options.http2_only,
        };
        Self {
            client: pooled(connector, options.http2_only),
            proxies: options.proxies,
        }
    }

    /// Sends `request`, to a proxy that is to be asked for its URL with what that wants to be shown.
    pub(crate) fn request(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, legacy::Error>> + use<> {
        if let Some((_, Some(authorization))) = self.proxies.forward_proxy_of(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        self.client.request(request)
    }

    /// The proxy that is asked for `uri` itself, and can answer in the stead of its host.
    pub(crate) fn forward_proxy_of(&self, uri: &Uri) -> Option<&NamedProxy> {
        self.proxies.forward_proxy_of(uri).map(|(proxy, _)| proxy)
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

fn pooled(connector: TimedConnector, http2_only: bool) -> Client<TimedConnector, Body> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http2_only(http2_only)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .build(connector)
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

/// Connects within a timeout that includes the TLS handshake.
#[derive(Clone)]
pub(crate) struct TimedConnector {
    inner: HttpsConnector<EgressConnector>,
    proxies: Arc<EgressProxies>,
    timeout: Duration,
    http2_only: bool,
}

impl Service<Uri> for TimedConnector {
    type Response = TokioIo<Recorded<TokioIo<MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>>>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let asks_proxy = self.proxies.forward_proxy_of(&uri).is_some();
        let (connecting, timeout, http2_only) = (self.inner.call(uri), self.timeout, self.http2_only);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => {
                    let recorded = Recorded::new(TokioIo::new(connected?), http2_only);
                    Ok(TokioIo::new(recorded.asking_proxy(asks_proxy)))
                }
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}
