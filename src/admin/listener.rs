//! Connections to the admin listener: few, short, HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::Admin;
use crate::http::body::Body;
use crate::tls::Acceptor;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed `accept`, such as for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is dropped; its connections end with it.
pub async fn run(listener: TcpListener, tls: Option<Arc<Acceptor>>, admin: Arc<Admin>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, admin) = (tls.clone(), admin.clone());
                connections.spawn(async move {
                    secured(stream, tls, admin).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin listener could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn secured(stream: TcpStream, tls: Option<Arc<Acceptor>>, admin: Arc<Admin>) {
    let Some(tls) = tls else {
        return connection(Either::Left(stream), admin).await;
    };
    match tls.accept(stream).await {
        Ok(secured) => connection(Either::Right(secured.stream), admin).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake on the admin listener failed"),
    }
}

async fn connection(stream: Either<TcpStream, TlsStream<TcpStream>>, admin: Arc<Admin>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(request.map(Body::from)).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin listener broke");
    }
}
