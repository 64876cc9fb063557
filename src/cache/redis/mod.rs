//! Redis (or Valkey) as the second tier. `docs/redis.md` describes the stored data, and what happens when Redis fails.
//!
//! ```text
//! RedisStore ──► RedisConnection ◄── ConnectionTask: connects, publishes pending writes, reconnects
//!      └──────► Pending writes  ◄─────────┘
//! ```

mod connect;
mod connection;
mod connection_task;
mod layout;
mod locks;
mod pending;
mod pieces;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::entry_id::{EntryId, Kind, RepositoryKey};
use super::epochs::Epochs;
use super::shared::{LockAttempt, SharedEpoch, SharedStore, StoreFuture, StoredValue};
use super::stored_value;
use super::write::{Invalidation, WriteId};
use connect::RedisConnector;
use connection::{CommandError, RedisConnection};
use connection_task::ConnectionTask;
use layout::Layout;
use pending::Pending;

/// How many times longer than a read a new connection, or the publishing of a write, may take.
const PATIENCE: u32 = 20;

/// The settings. Not `Debug`, because the URL may contain a password.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), optionally with user, password and database number.
    pub url: String,
    /// Takes precedence over the password in the URL.
    pub password: Option<String>,
    /// File with the password, read for each new connection. Takes precedence over both.
    pub password_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Prefix of every key.
    pub prefix: String,
    /// Identifies everything besides the repository on which lists depend, such as the configuration. Only replicas with the same value share
    /// lists.
    pub view: String,
    /// Longest time for one read.
    pub timeout: Duration,
    /// How long values stay in Redis.
    pub ttl: Duration,
    /// How long lists stay in Redis.
    pub list_ttl: Duration,
    /// Larger values, in bytes, are cached in memory only, but for tag listings, which are stored in pieces.
    pub max_value_bytes: usize,
}

/// Why the settings cannot be used. That Redis cannot be reached is no such error.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("the URL of Redis cannot be used: {0}")]
    Url(String),
    #[error("the certificate authorities for Redis cannot be used: {0}")]
    Authorities(String),
}

/// See the module documentation.
pub(super) struct RedisStore {
    connection_state: Arc<RedisConnection>,
    pending: Arc<Pending>,
    layout: Arc<Layout>,
    patience: Duration,
    ttl: Duration,
    list_ttl: Duration,
    max_value_bytes: usize,
    connection_task: JoinHandle<()>,
}

impl RedisStore {
    /// Connects in the background.
    pub fn start(options: RedisOptions, epochs: Arc<Epochs>, clock: Clock) -> Result<Self, RedisError> {
        let layout = Arc::new(Layout::new(&options.prefix, &options.view));
        let (connection_state, pending) = (Arc::new(RedisConnection::new(clock)), Arc::new(Pending::default()));
        let patience = options.timeout * PATIENCE;
        let connection_task = ConnectionTask {
            connector: RedisConnector::new(&options, patience)?,
            connection_state: connection_state.clone(),
            pending: pending.clone(),
            layout: layout.clone(),
            epochs,
            ttl: options.ttl,
        };
        Ok(Self {
            connection_state,
            pending,
            layout,
            patience,
            ttl: options.ttl,
            list_ttl: options.list_ttl,
            max_value_bytes: options.max_value_bytes,
            connection_task: tokio::spawn(connection_task.run()),
        })
    }

    async fn read(&self, id: &EntryId, newer_than: Option<Duration>) -> Option<StoredValue> {
        let live = self.connection_state.live()?;
        let key = self.layout.value(id);
        let most = self.max_value_bytes + stored_value::OVERHEAD;
        let bytes = pieces::read(&live, &key, most, newer_than).await?;
        let fits = |stored: &StoredValue| stored.bytes.len() <= self.largest(id.kind);
        stored_value::unpack(&key, bytes).filter(fits)
    }

    async fn write(&self, id: &EntryId, stored: StoredValue) {
        let Some(live) = self
            .connection_state
            .live()
            .filter(|_| !self.connection_state.is_full())
        else {
            return;
        };
        if stored.bytes.len() > self.largest(id.kind) {
            return;
        }
        let ttl = match id.kind {
            Kind::Answer | Kind::TagList => self.list_ttl,
            Kind::OrdinaryTags if id.epoch.is_some() => self.list_ttl,
            _ => self.ttl,
        };
        let key = self.layout.value(id);
        let most = self.max_value_bytes + stored_value::OVERHEAD;
        let written = match id.kind {
            Kind::TagList => pieces::write(&live, &key, &stored, most, ttl).await,
            _ => pieces::set(&live, &key, &stored_value::pack(&key, &stored), ttl).await,
        };
        if let Err(CommandError::Refused(error)) = written {
            self.connection_state.full(&error);
        }
    }

    /// Bytes of the largest value of this kind.
    fn largest(&self, kind: Kind) -> usize {
        match kind {
            Kind::TagList => self.max_value_bytes.max(pieces::MOST),
            _ => self.max_value_bytes,
        }
    }

    async fn erase(&self, id: &EntryId) {
        if let Some(live) = self.connection_state.live() {
            // The connection records a failure; nothing else has to be done.
            let _ = live.ask::<()>(cmd("DEL").arg(self.layout.value(id))).await;
        }
    }

    async fn ask_epoch(&self, repository_key: &RepositoryKey, known: Option<WriteId>) -> SharedEpoch {
        // Redis does not know writes that are not published yet.
        if self.pending.holds(repository_key) {
            return SharedEpoch::Nothing;
        }
        let Some(live) = self.connection_state.live() else {
            return SharedEpoch::Nothing;
        };
        let key = self.layout.writes(repository_key, live.run());
        match writes::read(&live, &key, known).await {
            Ok(Some(published)) => published,
            Ok(None) if self.connection_state.is_full() => SharedEpoch::Nothing,
            Ok(None) => match writes::begin(&live, &key, self.ttl).await {
                Ok(published) => published,
                Err(CommandError::Refused(error)) => {
                    self.connection_state.full(&error);
                    SharedEpoch::Nothing
                }
                Err(CommandError::Gone) => SharedEpoch::Nothing,
            },
            Err(_) => SharedEpoch::Nothing,
        }
    }

    async fn take_lock(&self, repository_key: &RepositoryKey, name: &str, token: u64, ttl: Duration) -> LockAttempt {
        let live = self.connection_state.live();
        let Some(live) = live.filter(|_| !self.connection_state.is_full()) else {
            return LockAttempt::Unavailable;
        };
        let key = self.layout.lock(repository_key, name);
        match locks::try_lock(&live, &key, token, ttl).await {
            Ok(attempt) => attempt,
            Err(CommandError::Refused(error)) => {
                self.connection_state.full(&error);
                LockAttempt::Unavailable
            }
            Err(CommandError::Gone) => LockAttempt::Unavailable,
        }
    }

    async fn give_lock_back(&self, repository_key: &RepositoryKey, name: &str, token: u64) {
        if let Some(live) = self.connection_state.live() {
            // It expires all the same.
            let _ = locks::unlock(&live, &self.layout.lock(repository_key, name), token).await;
        }
    }

    async fn publish(&self, repository_key: &RepositoryKey, touched: &Arc<[Invalidation]>) {
        // From here on the write is not lost if this future is dropped.
        let ticket = self.pending.add(repository_key, touched);
        // In a long outage it is of no use to wait.
        let published = self
            .pending
            .published(repository_key, ticket, || self.connection_state.is_down());
        if tokio::time::timeout(self.patience, published).await.is_err() {
            tracing::warn!("the shared cache is slow: pushes may show in other replicas with a delay");
        }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.connection_task.abort();
        self.connection_state.close();
    }
}

impl SharedStore for RedisStore {
    fn is_open(&self) -> bool {
        self.connection_state.live().is_some()
    }

    fn failures(&self) -> u64 {
        self.connection_state.failures()
    }

    fn takes(&self, kind: Kind, weight: usize) -> bool {
        weight <= self.largest(kind) && self.is_open() && !self.connection_state.is_full()
    }

    fn get<'a>(&'a self, id: &'a EntryId, newer_than: Option<Duration>) -> StoreFuture<'a, Option<StoredValue>> {
        Box::pin(self.read(id, newer_than))
    }

    fn put<'a>(&'a self, id: &'a EntryId, value: StoredValue) -> StoreFuture<'a, ()> {
        Box::pin(self.write(id, value))
    }

    fn remove<'a>(&'a self, id: &'a EntryId) -> StoreFuture<'a, ()> {
        Box::pin(self.erase(id))
    }

    fn epoch<'a>(&'a self, repository_key: &'a RepositoryKey, known: Option<WriteId>) -> StoreFuture<'a, SharedEpoch> {
        Box::pin(self.ask_epoch(repository_key, known))
    }

    fn wrote<'a>(&'a self, repository_key: &'a RepositoryKey, touched: &'a Arc<[Invalidation]>) -> StoreFuture<'a, ()> {
        Box::pin(self.publish(repository_key, touched))
    }

    fn try_lock<'a>(
        &'a self,
        repository_key: &'a RepositoryKey,
        name: &'a str,
        token: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, LockAttempt> {
        Box::pin(self.take_lock(repository_key, name, token, ttl))
    }

    fn unlock<'a>(&'a self, repository_key: &'a RepositoryKey, name: &'a str, token: u64) -> StoreFuture<'a, ()> {
        Box::pin(self.give_lock_back(repository_key, name, token))
    }

    fn unverified_before(&self) -> Duration {
        self.connection_state.unverified_before()
    }
}
