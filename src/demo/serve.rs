//! A small HTTP/1.1 and h2c server on a loopback listener.

use std::future::Future;
use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::http::body::{Body, BoxError};

/// A running server. Dropping it closes the listener and every connection.
pub struct Serving {
    address: SocketAddr,
    /// Ends its tasks when it is dropped.
    _tasks: JoinSet<()>,
}

impl Serving {
    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers every request on `listener` with `handler`, whose error closes the connection without an answer.
pub fn serve<H, F>(listener: TcpListener, handler: H) -> std::io::Result<Serving>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Connections end with the set, which ends with this task.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, handler.clone()));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(Serving { address, _tasks: tasks })
}

async fn connection<H, F>(stream: TcpStream, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let service = service_fn(handler);
    // A broken connection is not reported to anybody.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
