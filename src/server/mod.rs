//! The listener for callers: accepts connections, passes their requests to the [`Gateway`], and shuts down gracefully.

mod connection;
mod connection_limits;
mod idle_deadline;
mod linger;
pub mod open_files;
mod reset_on_cut;
mod write_timeout;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LimitsConfig};
use crate::proxy::Gateway;
use crate::tls::Acceptor;
use connection::{Connection, ListenerContext};
use connection_limits::ConnectionLimits;

/// Pause after a failed accept (no free file descriptor), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The limits on what callers may use.
    pub callers: LimitsConfig,
    /// How long a connection without new requests may transfer next to nothing.
    pub stillness: Duration,
    /// How long running requests may take after the shutdown began.
    pub grace: Duration,
}

impl Limits {
    /// The limits from the configuration. A connection may be quiet for as long as its request may wait elsewhere.
    pub fn of(config: &Config) -> Self {
        let upstreams = config.upstreams.iter();
        let waits = upstreams.flat_map(|upstream| [upstream.first_byte_timeout, upstream.idle_timeout]);
        let longest = waits.max().unwrap_or_default().max(config.limits.answer_timeout);
        Self {
            callers: config.limits,
            stillness: longest.saturating_add(config.limits.idle_timeout),
            grace: config.server.shutdown_grace,
        }
    }
}

/// A listening socket with its TLS settings.
pub struct Listener {
    /// The socket.
    pub tcp: TcpListener,
    /// `None` without TLS.
    pub tls: Option<Arc<Acceptor>>,
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// Serves until `shutdown` is ready. Then it accepts no more connections, waits for running requests at most for the grace period, and resets
/// the connections that are left, as it does with all of them when it is dropped.
pub async fn run(
    listener: impl Into<Listener>,
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let Listener { tcp, tls } = listener.into();
    let room = Arc::new(Semaphore::new(limits.callers.connections.min(Semaphore::MAX_PERMITS)));
    let addresses = ConnectionLimits::new(limits.callers.connections_per_address);
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let listener = Arc::new(ListenerContext::new(gateway, tls, limits, stop.clone(), cut.clone()));
    let mut connections = JoinSet::new();
    // Goes before the connections.
    let cut = cut.drop_guard();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&tcp, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let Some(address_permit) = addresses.admit(address.ip()) else {
                    tracing::debug!(%address, "closing a connection: its address has reached connections_per_address");
                    continue;
                };
                let connection = Connection::new(listener.clone(), address);
                connections.spawn(async move {
                    connection.serve(stream).await;
                    drop((permit, address_permit));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(tcp);
    tracing::info!(connections = connections.len(), "shutting down");
    stop.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the grace period is over: resetting connections with running transfers"
        );
    }
    drop(cut);
    connections.shutdown().await;
}

/// Waits until the limit allows another connection, and accepts it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}
