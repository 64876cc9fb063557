//! Redis (or Valkey) as the second tier. `docs/redis.md` describes what is stored and what happens when it fails.
//!
//! ```text
//! RedisStore ──► Link ──► connection        Keeper: connects, tells of pending writes, reconnects
//!      └──► Pending writes ◄─────────────────┘
//! ```

mod connect;
mod keeper;
mod layout;
mod link;
mod pending;
mod value;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::cmd;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::epoch::{Epochs, Touch, WriteId};
use super::key::{Identity, Kind, Scope};
use super::shared::{Later, SharedStore, Stored, Told};
use connect::Connector;
use keeper::Keeper;
use layout::Layout;
use link::{Link, Trouble};
use pending::Pending;

/// How much longer than a read a connection or the news of a write may take: these are worth waiting for.
const PATIENCE: u32 = 20;

/// Where Redis is and how it is used. Not printable: the URL may hold a password.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), perhaps with user, password and database number.
    pub url: String,
    /// Beats the URL's.
    pub password: Option<String>,
    /// Holds the password; read at every connection. Beats both.
    pub password_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// In front of every key.
    pub prefix: String,
    /// What finished lists depend on besides the repository, such as the configuration: only replicas that agree share them.
    pub view: String,
    /// Of one read.
    pub timeout: Duration,
    /// How long anything is kept.
    pub ttl: Duration,
    /// How long lists are kept.
    pub list_ttl: Duration,
    /// Larger values stay in memory alone.
    pub max_value_bytes: usize,
}

/// Why Redis cannot be used at all. Being out of reach is none.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("the URL of Redis cannot be used: {0}")]
    Url(String),
    #[error("the certificate authorities for Redis cannot be used: {0}")]
    Authorities(String),
}

/// See the module documentation.
pub(super) struct RedisStore {
    link: Arc<Link>,
    pending: Arc<Pending>,
    layout: Arc<Layout>,
    patience: Duration,
    ttl: Duration,
    list_ttl: Duration,
    max_value_bytes: usize,
    keeper: JoinHandle<()>,
}

impl RedisStore {
    /// Connects in the background.
    pub fn start(options: RedisOptions, epochs: Arc<Epochs>, clock: Clock) -> Result<Self, RedisError> {
        let layout = Arc::new(Layout::new(&options.prefix, &options.view));
        let (link, pending) = (Arc::new(Link::new(clock)), Arc::new(Pending::default()));
        let patience = options.timeout * PATIENCE;
        let keeper = Keeper {
            connector: Connector::new(&options, patience)?,
            link: link.clone(),
            pending: pending.clone(),
            layout: layout.clone(),
            epochs,
            ttl: options.ttl,
        };
        Ok(Self {
            link,
            pending,
            layout,
            patience,
            ttl: options.ttl,
            list_ttl: options.list_ttl,
            max_value_bytes: options.max_value_bytes,
            keeper: tokio::spawn(keeper.run()),
        })
    }

    async fn read(&self, id: &Identity) -> Option<Stored> {
        let live = self.link.live()?;
        // Not GET: whatever lies there, no more of it than could be ours is read.
        let most = self.max_value_bytes + value::OVERHEAD;
        let key = self.layout.value(id);
        let bytes: Bytes = live.ask(cmd("GETRANGE").arg(&key).arg(0).arg(most)).await.ok()?;
        value::unpack(&key, bytes).filter(|stored| stored.bytes.len() <= self.max_value_bytes)
    }

    async fn write(&self, id: &Identity, stored: Stored) {
        let Some(live) = self.link.live().filter(|_| !self.link.is_full()) else {
            return;
        };
        if stored.bytes.len() > self.max_value_bytes {
            return;
        }
        let ttl = match id.kind {
            Kind::Answer | Kind::TagList => self.list_ttl,
            Kind::Deep if id.epoch.is_some() => self.list_ttl,
            _ => self.ttl,
        };
        let key = self.layout.value(id);
        let mut write = cmd("SET");
        write.arg(&key).arg(value::pack(&key, &stored));
        write.arg("PX").arg(millis(ttl));
        if let Err(Trouble::Refused(error)) = live.ask::<()>(&write).await {
            self.link.full(&error);
        }
    }

    async fn erase(&self, id: &Identity) {
        if let Some(live) = self.link.live() {
            // A failure is noted by the link; there is nothing else to do about it.
            let _ = live.ask::<()>(cmd("DEL").arg(self.layout.value(id))).await;
        }
    }

    async fn ask_epoch(&self, scope: &Scope, known: Option<WriteId>) -> Told {
        // What others have not been told yet, Redis does not know either.
        if self.pending.holds(scope) {
            return Told::Nothing;
        }
        let Some(live) = self.link.live() else {
            return Told::Nothing;
        };
        let key = self.layout.writes(scope, live.run());
        match writes::read(&live, &key, known).await {
            Ok(Some(told)) => told,
            Ok(None) if self.link.is_full() => Told::Nothing,
            Ok(None) => match writes::begin(&live, &key, self.ttl).await {
                Ok(told) => told,
                Err(Trouble::Refused(error)) => {
                    self.link.full(&error);
                    Told::Nothing
                }
                Err(Trouble::Gone) => Told::Nothing,
            },
            Err(_) => Told::Nothing,
        }
    }

    async fn tell(&self, scope: &Scope, touched: &Arc<[Touch]>) {
        // From here on the write is not lost, whatever becomes of this future.
        let ticket = self.pending.add(scope, touched);
        // In an outage that lasts there is nothing to wait for.
        let told = self.pending.told(scope, ticket, || self.link.is_hopeless());
        if tokio::time::timeout(self.patience, told).await.is_err() {
            tracing::warn!("the shared cache takes long: other replicas may show what was pushed a little later");
        }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.keeper.abort();
        self.link.close();
    }
}

impl SharedStore for RedisStore {
    fn is_open(&self) -> bool {
        self.link.live().is_some()
    }

    fn failures(&self) -> u64 {
        self.link.failures()
    }

    fn takes(&self, weight: usize) -> bool {
        weight <= self.max_value_bytes && self.is_open() && !self.link.is_full()
    }

    fn get<'a>(&'a self, id: &'a Identity) -> Later<'a, Option<Stored>> {
        Box::pin(self.read(id))
    }

    fn put<'a>(&'a self, id: &'a Identity, value: Stored) -> Later<'a, ()> {
        Box::pin(self.write(id, value))
    }

    fn remove<'a>(&'a self, id: &'a Identity) -> Later<'a, ()> {
        Box::pin(self.erase(id))
    }

    fn epoch<'a>(&'a self, scope: &'a Scope, known: Option<WriteId>) -> Later<'a, Told> {
        Box::pin(self.ask_epoch(scope, known))
    }

    fn wrote<'a>(&'a self, scope: &'a Scope, touched: &'a Arc<[Touch]>) -> Later<'a, ()> {
        Box::pin(self.tell(scope, touched))
    }

    fn doubtful_before(&self) -> Duration {
        self.link.doubtful_before()
    }
}

/// At least one: Redis knows no zero here.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
