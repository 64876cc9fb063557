//! Requests to one host over HTTP/1.1, on connections that those who ask drive themselves.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body as _;
use hyper_util::client::legacy::connect::Connection as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::body::{Body, BoxError};
use super::client_error::{ClientError, SendFailure};
use super::connector::{Stream, TimedConnector};
use super::http1_connection::Http1Connection;
use super::idle_connections::{Checkout, IdleConnections};
use super::policy_resolver::Connecting;
use super::response_body::ResponseBody;
use super::sharing::Sharing;
use super::transfer_progress::{ProgressBody, TransferProgress};

/// How long the rest of a body may stand still that was answered already. The time-outs of a request end with its answer.
const STANDSTILL: Duration = Duration::from_secs(30);

pub(super) struct OriginClient {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    connector: TimedConnector,
    connections: Arc<IdleConnections>,
    /// Whether a task sweeps `connections`.
    are_swept: AtomicBool,
}

/// A connection, by the protocol that TLS agreed on.
pub(super) enum Negotiated {
    Http1(Box<Http1Connection>),
    Http2(Box<Stream>),
}

impl OriginClient {
    /// `None` unless `origin` has a scheme and a host.
    pub(super) fn new(origin: &Uri, connector: TimedConnector) -> Option<Self> {
        let (scheme, authority) = (origin.scheme()?, origin.authority()?);
        let host = match (authority.port_u16(), scheme == &Scheme::HTTPS) {
            (None | Some(443), true) | (None | Some(80), false) => authority.host(),
            _ => authority.as_str(),
        };
        Some(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            host: HeaderValue::from_str(host).ok()?,
            connector,
            connections: Arc::new(IdleConnections::new()),
            are_swept: AtomicBool::new(false),
        })
    }

    /// Whether `uri` is on the host, and HTTP/1.1 to be spoken there as far as is known.
    pub(super) fn serves(&self, uri: &Uri, sharing: Sharing) -> bool {
        uri.authority() == Some(&self.authority)
            && uri.scheme() == Some(&self.scheme)
            && match sharing {
                Sharing::Connection => !self.connector.negotiated_http2(),
                Sharing::Nothing => !self.connector.refuses_http1(),
            }
    }

    /// An idle connection, or else the first of the next idle one and a new one.
    pub(super) async fn connection(&self, sharing: Sharing) -> Result<Negotiated, BoxError> {
        let next_idle = match self.connections.check_out() {
            Checkout::Idle(connection) => return Ok(Negotiated::Http1(connection)),
            Checkout::Waiting(next_idle) => next_idle,
        };
        match select(next_idle, self.connect(sharing)).await {
            Either::Right((connected, _)) => connected,
            Either::Left((Err(_), connecting)) => connecting.await,
            Either::Left((Ok(connection), connecting)) => {
                let pool = Arc::clone(&self.connections);
                tokio::spawn(async move {
                    if let Ok(Negotiated::Http1(mut connection)) = connecting.await {
                        // It counts as idle, and notices that the server closes it, from then on.
                        connection.drive_once();
                        pool.put(connection);
                    }
                });
                Ok(Negotiated::Http1(connection))
            }
        }
    }

    fn connect(&self, sharing: Sharing) -> Connecting<Negotiated> {
        if !self.are_swept.swap(true, Ordering::Relaxed) {
            self.connections.start_sweeper();
        }
        let mut connector = match sharing {
            Sharing::Connection => self.connector.clone(),
            Sharing::Nothing => self.connector.preferring_http1(),
        };
        let uri = self.at(PathAndQuery::from_static("/"));
        Box::pin(async move {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            let stream = connector.call(uri).await?;
            match stream.inner().connected().is_negotiated_h2() {
                true => Ok(Negotiated::Http2(Box::new(stream))),
                false => Ok(Negotiated::Http1(Box::new(Http1Connection::new(stream).await?))),
            }
        })
    }

    /// Sends `request` on `connection` and waits for the head of the response.
    pub(super) async fn send(
        &self,
        mut connection: Box<Http1Connection>,
        mut request: Request<Body>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        let idle_since = connection.idle_since();
        let sent = if request.body().is_end_stream() {
            let sent = connection.send(request).await;
            sent.map(|response| response.map(|body| ResponseBody::new(body, connection, &self.connections)))
        } else {
            Box::pin(self.upload(connection, request)).await
        };
        sent.map_err(|error| match error {
            SendFailure::Unsent(mut request) => {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = self.at(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
                SendFailure::Unsent(request)
            }
            SendFailure::Failed(failure) => {
                if failure.is_stale() {
                    self.connections.close_older(idle_since);
                }
                SendFailure::Failed(failure)
            }
        })
    }

    /// Sends a request with a body. A task of its own drives the connection: a caller may read the response only after it sent all of
    /// the body, or send the rest of the body only after it read a part of the response.
    async fn upload(
        &self,
        mut connection: Box<Http1Connection>,
        request: Request<Body>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let (mut caller, answer) = oneshot::channel();
        let pool = Arc::clone(&self.connections);
        let progress = TransferProgress::new(false);
        let request = request.map(|body| Body::stream(ProgressBody::new(body, Arc::clone(&progress))));
        let wanted = CancellationToken::new();
        let response_read = wanted.clone();
        tokio::spawn(async move {
            let response = tokio::select! {
                biased;
                () = caller.closed() => return,
                response = connection.send(request) => response,
            };
            // Who answers before the end of a request may take the rest of it for another one.
            let is_early = !progress.is_sent();
            if connection.is_idle() && !is_early {
                // First, so that the caller's next request finds it.
                pool.put(connection);
                let _ = caller.send(response);
                return;
            }
            let _ = caller.send(response);
            tokio::select! {
                () = connection.until_idle() => {}
                () = standstill(&progress, &response_read) => {}
            }
            if connection.is_idle() && !is_early {
                pool.put(connection);
            }
        });
        let response = answer.await.map_err(|_| SendFailure::Failed(ClientError::Ended))?;
        Ok(response?.map(|body| ResponseBody::driven(body, wanted.drop_guard())))
    }

    /// As if `connections` were swept.
    #[cfg(test)]
    pub(super) fn stop_sweeping(&self) {
        self.are_swept.store(true, Ordering::Relaxed);
    }

    /// The whole URL of `path`.
    fn at(&self, path: PathAndQuery) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // All three parts are there, which is all that `from_parts` checks.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// Ends when nobody wants more of the response, and for [`STANDSTILL`] no more of the request has been taken.
async fn standstill(progress: &TransferProgress, response_read: &CancellationToken) {
    response_read.cancelled().await;
    let read = Instant::now();
    loop {
        let end = progress.moved().max(read) + STANDSTILL;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}
