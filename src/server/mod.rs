//! The listener of the registry API: connections in, requests to the [`Gateway`], and an orderly end.

mod connection;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::proxy::Gateway;
use crate::tls::Acceptor;
use connection::Connection;

/// Pause after the system could not give a connection (no file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long in-flight requests may go on once the server shuts down.
    pub grace: Duration,
}

/// Where callers come in.
pub struct Entrance {
    pub tcp: TcpListener,
    /// Without, TLS is not spoken.
    pub tls: Option<Arc<Acceptor>>,
}

impl From<TcpListener> for Entrance {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// Serves until `shutdown` is ready; then takes no more connections, lets requests in flight finish within the grace
/// period, and ends what is left.
pub async fn run(
    entrance: impl Into<Entrance>,
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let Entrance { tcp, tls } = entrance.into();
    let room = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&tcp, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let connection = Connection::new(gateway.clone(), address, tls.clone());
                let watcher = graceful.watcher();
                connections.spawn(async move {
                    connection.serve(stream, watcher).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(tcp);
    tracing::info!(connections = connections.len(), "shutting down");
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the grace period is over: transfers are cut"
        );
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}
