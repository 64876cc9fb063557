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
use super::exclusive_clients::ExclusiveClients;
use super::framing;
use super::idle_connections::POOL_IDLE;
use super::origin_client::{Negotiated, OriginClient};
use super::response_body::ResponseBody;
use super::sharing::Sharing;
use crate::config::NamedProxy;

/// HTTP/2 flow control: at most this many bytes of one body are buffered for a slow reader.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const PING_INTERVAL: Duration = Duration::from_secs(30);

type ClientResult = Result<Response<ResponseBody>, ClientError>;

/// Sends requests, on connections that it keeps.
#[derive(Clone)]
pub(crate) struct HttpClient {
    /// Asks any host.
    shared: Client<TimedConnector, Body>,
    /// Asks any host over HTTP/1.1, where that is spoken.
    unshared: Client<TimedConnector, Body>,
    /// Asks the host that the client is made for, unless that or a proxy is only to be asked as the others do.
    own: Option<Arc<OriginClient>>,
    /// Ask any host, over HTTP/2 if that is all it speaks.
    exclusive: ExclusiveClients,
    connector: TimedConnector,
    http2_only: bool,
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
        let of_exclusive = connector.clone();
        Self {
            shared: any_host(connector.clone(), http2_only),
            unshared: any_host(connector.preferring_http1(), false),
            own: own.map(Arc::new),
            exclusive: ExclusiveClients::new(move || any_host(of_exclusive.clone(), http2_only)),
            connector,
            http2_only,
            proxies,
        }
    }

    /// Boxed, because those who wait for it are moved while they are made, in many layers.
    pub(crate) fn request(
        &self,
        sharing: Sharing,
        request: Request<Body>,
    ) -> Pin<Box<impl Future<Output = ClientResult>>> {
        Box::pin(async move {
            let mut response = self.send(sharing, request).await?;
            framing::settle(response.status(), response.headers_mut())?;
            Ok(response)
        })
    }

    async fn send(&self, sharing: Sharing, mut request: Request<Body>) -> ClientResult {
        while let Some(own) = self.own.as_ref().filter(|own| own.serves(request.uri(), sharing)) {
            match own.connection(sharing).await.map_err(ClientError::Connect)? {
                Negotiated::Http1(connection) => match own.send(connection, request).await {
                    Ok(response) => return Ok(response),
                    Err(SendFailure::Failed(error)) => return Err(error),
                    Err(SendFailure::Unsent(unsent)) => request = *unsent,
                },
                Negotiated::Http2(stream) => {
                    let handed_over = Cell::new(Some(*stream));
                    let sent = async {
                        match sharing {
                            Sharing::Connection => self.send_by(&self.shared, request).await,
                            Sharing::Nothing => self.send_exclusively(request).await,
                        }
                    };
                    return Box::pin(HANDED_OVER.scope(handed_over, sent)).await;
                }
            }
        }
        match sharing {
            Sharing::Connection => self.send_by(&self.shared, request).await,
            Sharing::Nothing if self.http2_only || self.connector.refuses_http1() => {
                self.send_exclusively(request).await
            }
            Sharing::Nothing => self.send_by(&self.unshared, request).await,
        }
    }

    async fn send_exclusively(&self, request: Request<Body>) -> ClientResult {
        let borrowed = self.exclusive.borrow();
        let response = self.send_by(&borrowed.client, request).await?;
        Ok(response.map(|body| body.keeping(borrowed)))
    }

    /// Sends `request`, to a proxy that is to be asked for its URL with what that wants to be shown.
    async fn send_by(&self, client: &Client<TimedConnector, Body>, mut request: Request<Body>) -> ClientResult {
        if let Some((_, Some(authorization))) = self.proxies.forward_proxy_of(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        Ok(client.request(request).await?.map(ResponseBody::from))
    }

    /// The proxy that is asked for `uri` itself, and can answer in the stead of its host.
    pub(crate) fn forward_proxy_of(&self, uri: &Uri) -> Option<&NamedProxy> {
        self.proxies.forward_proxy_of(uri).map(|(proxy, _)| proxy)
    }
}

fn any_host(connector: TimedConnector, http2_only: bool) -> Client<TimedConnector, Body> {
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
