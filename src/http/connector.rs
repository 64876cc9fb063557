//! Connections to upstreams: pool, TLS, HTTP/1.1 and HTTP/2, and name resolution under a redirect policy.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use super::connection_use::Recorded;
use super::redirect_policy::RedirectPolicy;
use crate::config::TlsVersion;
use crate::http::body::{Body, BoxError};
use crate::tls::{Identity, versions};

pub(crate) type HttpClient = Client<TimedConnector, Body>;

/// How long an idle connection is kept. Shorter than the idle timeout of common load balancers (60 s), so that they do not close it under a request.
const POOL_IDLE: Duration = Duration::from_secs(50);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// HTTP/2 flow control: at most this many bytes of one body are buffered for a slow caller.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The connection was not established within the connect timeout.
#[derive(Debug, thiserror::Error)]
#[error("the connection was not established within connect_timeout")]
pub(crate) struct ConnectTimedOut;

/// Settings for connections to one upstream.
pub(crate) struct ClientOptions {
    pub(crate) tls: ClientConfig,
    pub(crate) connect_timeout: Duration,
    /// Speak HTTP/2 on connections without TLS.
    pub(crate) http2_only: bool,
    /// If set, host names may only resolve to addresses that it permits.
    pub(crate) policy: Option<Arc<RedirectPolicy>>,
}

pub(crate) fn client(options: ClientOptions) -> HttpClient {
    let resolver = PolicyResolver {
        system: GaiResolver::new(),
        policy: options.policy,
    };
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(options.connect_timeout));
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(options.tls)
        .https_or_http();
    let connector = TimedConnector {
        inner: tls.enable_all_versions().wrap_connector(tcp),
        timeout: options.connect_timeout,
        http2_only: options.http2_only,
    };
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http2_only(options.http2_only)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .build(connector)
}

/// TLS settings that trust `roots` and present the client certificate `identity`.
pub(crate) fn tls(
    roots: RootCertStore,
    least: TlsVersion,
    identity: Option<Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions(least))?;
    let config = config.with_root_certificates(roots);
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key),
    }
}

/// Adds those of the system's certificate authorities that can be read.
pub(crate) fn add_system(roots: &mut RootCertStore) {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a certificate authority of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
}

/// Connects within a timeout that includes the TLS handshake.
#[derive(Clone)]
pub(crate) struct TimedConnector {
    inner: HttpsConnector<HttpConnector<PolicyResolver>>,
    timeout: Duration,
    http2_only: bool,
}

impl Service<Uri> for TimedConnector {
    type Response = TokioIo<Recorded<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout, http2_only) = (self.inner.call(uri), self.timeout, self.http2_only);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => Ok(TokioIo::new(Recorded::new(TokioIo::new(connected?), http2_only))),
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}

/// The system's resolver, with checks of the addresses: a public name may resolve to an internal one.
#[derive(Clone)]
pub(crate) struct PolicyResolver {
    system: GaiResolver,
    policy: Option<Arc<RedirectPolicy>>,
}

impl Service<Name> for PolicyResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.system.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let policy = self.policy.clone();
        let resolving = self.system.call(name.clone());
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            if let Some(policy) = policy {
                for address in &addresses {
                    policy.check_address(name.as_str(), address.ip())?;
                }
            }
            Ok(addresses.into_iter())
        })
    }
}
