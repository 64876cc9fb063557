//! The listener of the registry API: connections in, requests to the [`Gateway`], and an orderly end.

mod connection;
mod connection_limits;
mod idle_deadline;
mod linger;
pub mod open_files;
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

/// Pause after the system could not give a connection (no file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub callers: LimitsConfig,
    /// How long nothing may move on a connection on which nothing new is asked.
    pub stillness: Duration,
    /// How long in-flight requests may go on once the server shuts down.
    pub grace: Duration,
}

impl Limits {
    /// Whatever may be waited for elsewhere may be waited for here.
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

/// Where callers come in.
pub struct Listener {
    pub tcp: TcpListener,
    /// Without, TLS is not spoken.
    pub tls: Option<Arc<Acceptor>>,
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// Serves until `shutdown` is ready; then takes no more connections, lets requests in flight finish within the grace
/// period, and ends what is left.
pub async fn run(
    listener: impl Into<Listener>,
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let Listener { tcp, tls } = listener.into();
    let room = Arc::new(Semaphore::new(limits.callers.connections.min(Semaphore::MAX_PERMITS)));
    let addresses = ConnectionLimits::new(limits.callers.connections_per_address);
    let stop = CancellationToken::new();
    let listener = Arc::new(ListenerContext::new(gateway, tls, limits, stop.clone()));
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
                let Some(address_permit) = addresses.admit(address.ip()) else {
                    tracing::debug!(%address, "too many connections of this address");
                    continue;
                };
                let connection = Connection::new(listener.clone(), address);
                connections.spawn(async move {
                    connection.serve(stream).await;
                    drop((permit, address_permit));
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
    stop.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, ended).await.is_err() {
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
