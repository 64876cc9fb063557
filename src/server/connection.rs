//! One connection of a caller, HTTP/1.1 or HTTP/2 (by prior knowledge where there is no TLS).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::stall::Stalling;
use crate::proxy::{Gateway, Peer};
use crate::tls::{Acceptor, Secured};

/// From the connection, or the answer before, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a caller may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between HTTP/2 pings that find out whether a silent caller is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Connection {
    gateway: Arc<Gateway>,
    peer: Peer,
    tls: Option<Arc<Acceptor>>,
}

impl Connection {
    pub(super) fn new(gateway: Arc<Gateway>, address: SocketAddr, tls: Option<Arc<Acceptor>>) -> Self {
        let peer = Peer {
            address,
            tls: false,
            certified: false,
        };
        Self { gateway, peer, tls }
    }

    /// Answers requests until either side has had enough.
    pub(super) async fn serve(mut self, stream: TcpStream, watcher: Watcher) {
        let _counted = self.gateway.metrics().connection();
        // Heads and small bodies go out at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let Some(tls) = self.tls.take() else {
            return self.speak(stream, watcher).await;
        };
        match tls.accept(stream).await {
            Ok(Secured { stream, certified }) => {
                self.peer.tls = true;
                self.peer.certified = certified;
                self.speak(stream, watcher).await;
            }
            Err(error) => tracing::debug!(peer = %self.peer.address, %error, "no TLS with this caller"),
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
        let Self { gateway, peer, .. } = self;
        let began = Arc::new(Notify::new());
        let begins = began.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            begins.notify_one();
            request.extensions_mut().insert(peer);
            let gateway = gateway.clone();
            async move { Ok::<_, Infallible>(gateway.handle(request).await) }
        });
        let builder = builder();
        let connection =
            watcher.watch(builder.serve_connection(TokioIo::new(Stalling::new(stream, PATIENCE)), service));
        tokio::select! {
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(peer = %peer.address, %error, "the connection ended badly");
                }
            }
            () = silence(&began) => tracing::debug!(peer = %peer.address, "the connection said nothing"),
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Ready when no request began in time. hyper's own timeout starts once it knows which protocol is spoken, which a silent
/// caller never tells.
async fn silence(began: &Notify) {
    if tokio::time::timeout(HEAD_TIMEOUT, began.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}
