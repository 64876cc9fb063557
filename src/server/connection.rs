//! One connection from a caller: HTTP/1.1 or HTTP/2 (without TLS by prior knowledge).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::idle_deadline::IdleDeadline;
use super::linger::Lingering;
use super::reset_on_cut::ResetOnCut;
use super::write_timeout::WriteTimeout;
use crate::config::LimitsConfig;
use crate::proxy::{Gateway, Peer};
use crate::tls::{Acceptor, TlsConnection};

/// How long a caller may leave a response unread.
const PATIENCE: Duration = Duration::from_secs(120);
/// Interval of the HTTP/2 pings that check whether a silent caller is still connected.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2 flow control: at most this many bytes of one upload are held until the registry takes them, and this many of all on a connection.
/// Gateways send their callers' uploads on one, and a few that the registry does not take must not hold up the rest.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Number of header lines that hyper parses without allocating memory.
const HYPERS_HEADERS: usize = 100;
/// Smallest buffer for bytes that were read but not yet parsed, or not yet written.
const LEAST_BUFFER: usize = 128 << 10;

/// The settings that all connections of a listener share.
pub(super) struct ListenerContext {
    gateway: Arc<Gateway>,
    tls: Option<Arc<Acceptor>>,
    limits: Limits,
    protocols: auto::Builder<TokioExecutor>,
    /// Resolves at shutdown: running requests may finish then, but new ones must not begin.
    stop: CancellationToken,
    /// Resolves when those that are still running are cut.
    cut: CancellationToken,
}

impl ListenerContext {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        tls: Option<Arc<Acceptor>>,
        limits: Limits,
        stop: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            tls,
            limits,
            protocols: protocols(&limits.callers),
            stop,
            cut,
        }
    }
}

pub(super) struct Connection {
    listener: Arc<ListenerContext>,
    peer: Peer,
}

impl Connection {
    pub(super) fn new(listener: Arc<ListenerContext>, address: SocketAddr) -> Self {
        let peer = Peer::new(address);
        Self { listener, peer }
    }

    /// Serves requests until either side closes the connection.
    pub(super) async fn serve(mut self, stream: TcpStream) {
        let listener = self.listener.clone();
        let _counted = listener.gateway.metrics().connection();
        // Sends heads and small bodies without delay.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let stream = ResetOnCut::new(stream, listener.cut.clone());
        let Some(tls) = &listener.tls else {
            return self.speak(Either::Left(stream)).await;
        };
        match tls.accept(stream).await {
            Ok(TlsConnection { stream, certified }) => {
                self.peer.tls = true;
                self.peer.certified = certified;
                self.speak(Either::Right(stream)).await;
            }
            Err(error) => tracing::debug!(peer = %self.peer.address, %error, "the TLS handshake failed"),
        }
    }

    /// Of one type with and without TLS: hyper's server is much code for each.
    async fn speak(self, stream: Either<ResetOnCut, TlsStream<ResetOnCut>>) {
        let Self { listener, peer } = self;
        let begun = Arc::new(AtomicUsize::new(0));
        let (gateway, begins, caller) = (listener.gateway.clone(), begun.clone(), peer.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            begins.fetch_add(1, Ordering::Relaxed);
            let (gateway, peer) = (gateway.clone(), caller.clone());
            async move { Ok::<_, Infallible>(gateway.handle(request, peer).await) }
        });
        let stream = WriteTimeout::new(stream, PATIENCE);
        let mut idle_deadline = IdleDeadline::new(listener.limits, begun, stream.traffic());
        let stream = Lingering::new(stream, listener.stop.clone());
        let mut connection = std::pin::pin!(listener.protocols.serve_connection(TokioIo::new(stream), service));
        // hyper's own timeout starts only when it knows the protocol, so not for a silent caller, and does not exist for HTTP/2.
        let mut clock = std::pin::pin!(sleep(listener.limits.callers.header_timeout));
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(peer = %peer.address, %error, "the connection ended with an error");
                    }
                    return;
                }
                () = listener.stop.cancelled(), if !idle_deadline.is_leaving() => idle_deadline.leave(),
                () = clock.as_mut() => if let Err(reason) = idle_deadline.tick() {
                    tracing::debug!(peer = %peer.address, reason, "closing the connection");
                    return;
                },
            }
            if idle_deadline.is_leaving() {
                connection.as_mut().graceful_shutdown();
            }
            clock.as_mut().reset(Instant::now() + idle_deadline.lasts());
        }
    }
}

/// The limits at which hyper gives up. [`Gateway`] checks smaller ones, and names the limit in its error body.
fn protocols(limits: &LimitsConfig) -> auto::Builder<TokioExecutor> {
    let head = limits.target_bytes.saturating_add(limits.header_bytes);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(head.saturating_mul(2).max(LEAST_BUFFER));
    if limits.header_count >= HYPERS_HEADERS {
        http1.max_headers(limits.header_count.saturating_mul(2));
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(head.saturating_mul(2)).unwrap_or(u32::MAX));
    builder
}
