//! The HTTP client: HTTP/1.1 to the host that it is made for goes through [`OriginClient`], anything else through hyper-util's client.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::Body;
use super::client_error::{ClientError, SendFailure};
use super::connector::{ClientOptions, HANDED_OVER, TimedConnector};
use super::egress_proxy::EgressProxies;
use super::framing;
use super::idle_connections::POOL_IDLE;
use super::origin_client::{Negotiated, OriginClient};
use super::response_body::ResponseBody;
use crate::config::NamedProxy;

/// HTTP/2 flow control: at most this many bytes of one body are buffered for a slow caller.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const PING_INTERVAL: Duration = Duration::from_secs(30);

type ClientResult = Result<Response<ResponseBody>, ClientError>;

/// Sends requests, on connections that it keeps.
#[derive(Clone)]
pub(crate) struct HttpClient {
    /// Asks any host.
    shared: Client<TimedConnector, Body>,
    /// Asks the host that the client is made for, unless that or a proxy is only to be asked as `shared` does.
    own: Option<Arc<OriginClient>>,
    proxies: Arc<EgressProxies>,
}

impl HttpClient {
    /// A client that mostly asks `origin`, if there is one such.
    pub(crate) fn new(options: ClientOptions, origin: Option<&Uri>) -> Self {
        let (proxies, http2_only) = (Arc::clone(&options.proxies), options.http2_only);
        let connector = TimedConnector::new(options);
        let is_own = |origin: &&Uri| !http2_only && proxies.forward_proxy_of(origin).is_none();
        let own = origin
            .filter(is_own)
            .and_then(|origin| OriginClient::new(origin, connector.clone()));
        Self {
            shared: shared(connector, http2_only),
            own: own.map(Arc::new),
            proxies,
        }
    }

    /// Boxed, because those who wait for it are moved while they are made, in many layers.
    pub(crate) fn request(&self, request: Request<Body>) -> Pin<Box<impl Future<Output = ClientResult>>> {
        Box::pin(async {
            let mut response = self.send(request).await?;
            framing::settle(response.status(), response.headers_mut())?;
            Ok(response)
        })
    }

    async fn send(&self, mut request: Request<Body>) -> ClientResult {
        while let Some(own) = self.own.as_ref().filter(|own| own.serves(request.uri())) {
            match own.connection().await.map_err(ClientError::Connect)? {
                Negotiated::Http1(connection) => match own.send(connection, request).await {
                    Ok(response) => return Ok(response),
                    Err(SendFailure::Failed(error)) => return Err(error),
                    Err(SendFailure::Unsent(unsent)) => request = *unsent,
                },
                Negotiated::Http2(stream) => {
                    let handed_over = HANDED_OVER.scope(Cell::new(Some(*stream)), self.send_shared(request));
                    return Box::pin(handed_over).await;
                }
            }
        }
        self.send_shared(request).await
    }

    /// Sends `request`, to a proxy that is to be asked for its URL with what that wants to be shown.
    async fn send_shared(&self, mut request: Request<Body>) -> ClientResult {
        if let Some((_, Some(authorization))) = self.proxies.forward_proxy_of(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        Ok(self.shared.request(request).await?.map(ResponseBody::from))
    }

    /// The proxy that is asked for `uri` itself, and can answer in the stead of its host.
    pub(crate) fn forward_proxy_of(&self, uri: &Uri) -> Option<&NamedProxy> {
        self.proxies.forward_proxy_of(uri).map(|(proxy, _)| proxy)
    }
}

fn shared(connector: TimedConnector, http2_only: bool) -> Client<TimedConnector, Body> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http2_only(http2_only)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .build(connector)
}

#[cfg(test)]
#[path = "client_tests/mod.rs"]
mod tests;
