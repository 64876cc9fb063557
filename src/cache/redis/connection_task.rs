//! The task that opens the connection, publishes this process's writes on it, and opens another one when it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSubStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connect::{ConnectError, OpenConnections, RedisConnector};
use super::connection::{CommandError, LiveConnection, RedisConnection};
use super::layout::Layout;
use super::pending::{Pending, Publication};
use super::writes::{self, WriteEvent};
use crate::cache::entry_id::RepositoryKey;
use crate::cache::epochs::Epochs;

/// Pauses between attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Number of repositories whose writes are published in one transaction.
const TOLD_AT_ONCE: usize = 256;

pub(super) struct ConnectionTask {
    pub connector: RedisConnector,
    pub connection_state: Arc<RedisConnection>,
    pub pending: Arc<Pending>,
    pub layout: Arc<Layout>,
    pub epochs: Arc<Epochs>,
    pub ttl: Duration,
}

impl ConnectionTask {
    /// Never ends.
    pub async fn run(self) {
        let mut pause = SHORTEST_PAUSE;
        let mut after_gap = false;
        for number in 0.. {
            match self.open(number).await {
                Ok((live, events)) => {
                    self.connection_state.open(live.clone(), after_gap);
                    let opened = Instant::now();
                    tracing::info!("connected to the shared cache");
                    let mut listener = JoinSet::new();
                    listener.spawn(listen(events, self.epochs.clone(), live.clone()));
                    self.keep(&live).await;
                    if opened.elapsed() > LONGEST_PAUSE {
                        pause = SHORTEST_PAUSE;
                    }
                }
                Err(error) => {
                    if !self.connection_state.is_down() {
                        tracing::warn!(%error, "the shared cache cannot be used; going on from memory");
                    }
                    self.connection_state.mark_down();
                    self.pending.wake();
                }
            }
            after_gap = true;
            self.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a connection and publishes all pending writes on it before others use it, so that nobody reads an old epoch.
    async fn open(&self, number: u64) -> Result<(LiveConnection, PubSubStream), ConnectError> {
        let OpenConnections {
            connection,
            run,
            events,
        } = self.connector.connect(&self.layout).await?;
        let live = LiveConnection::new(connection, run, self.connector.patience, number, &self.connection_state);
        self.publish_all(&live).await?;
        Ok((live, events))
    }

    /// Publishes writes until the connection breaks.
    async fn keep(&self, live: &LiveConnection) {
        let mut retry = SHORTEST_PAUSE;
        let mut refused = self.pending.is_any();
        loop {
            tokio::select! {
                () = self.connection_state.broken() => return,
                () = self.pending.added() => {}
                () = tokio::time::sleep(retry), if refused => retry = (retry * 2).min(LONGEST_PAUSE),
            }
            match self.publish_all(live).await {
                Ok(all) => refused = !all,
                Err(_) => {
                    self.connection_state.broken().await;
                    return;
                }
            }
            if !refused {
                retry = SHORTEST_PAUSE;
            }
        }
    }

    /// Publishes all pending writes. Returns false if Redis refused some.
    async fn publish_all(&self, live: &LiveConnection) -> Result<bool, ConnectionLost> {
        let mut all = true;
        for published in self.pending.all().chunks(TOLD_AT_ONCE) {
            all &= self.publish(live, published).await?;
        }
        Ok(all)
    }

    async fn publish(&self, live: &LiveConnection, published: &[Publication]) -> Result<bool, ConnectionLost> {
        let events: Vec<WriteEvent<'_>> = published
            .iter()
            .map(|published| WriteEvent {
                key: self.layout.writes(&published.repository_key, live.run()),
                repository_key: published.repository_key.to_string(),
                touched: &published.touched,
            })
            .collect();
        let channel = self.layout.channel();
        match writes::announce(live, &channel, &events, self.ttl).await {
            Ok(()) => {
                self.pending.settle(published);
                Ok(true)
            }
            Err(CommandError::Gone) => Err(ConnectionLost),
            Err(CommandError::Refused(error)) => {
                self.connection_state.full(&error);
                match writes::withdraw(live, &channel, &events).await {
                    Ok(()) => {}
                    Err(CommandError::Gone) => return Err(ConnectionLost),
                    Err(CommandError::Refused(error)) => {
                        live.abandon(&error);
                        return Err(ConnectionLost);
                    }
                }
                self.pending.withdraw(published);
                Ok(false)
            }
        }
    }

    /// Waits before the next attempt. A write ends the first pause of an outage early, so that it may still be published before it is
    /// acknowledged.
    async fn pause(&self, pause: Duration) {
        let pause = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
        if self.connection_state.is_down() {
            return pause.await;
        }
        tokio::select! {
            () = pause => {}
            () = self.pending.added() => {}
        }
    }
}

/// Drops the epochs of repositories to which other replicas wrote.
async fn listen(mut events: PubSubStream, epochs: Arc<Epochs>, live: LiveConnection) {
    while let Some(written) = events.next().await {
        if let Ok(repository_key) = std::str::from_utf8(written.get_payload_bytes()) {
            epochs.forget(&RepositoryKey::from_text(repository_key));
        }
    }
    live.abandon(&"its connection was closed");
}

/// The connection broke while writes were published.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke while writes were published to other replicas")]
pub(super) struct ConnectionLost;
