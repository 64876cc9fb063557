//! The cache: it knows keys, values and their age, but not what they mean.
//!
//! A value carries the time at which it was read from the registry; its reader decides whether that is fresh enough. Values that a write to
//! the repository can invalidate belong to the repository's [`Epoch`], which every write replaces: a scan that began before the write stores
//! its result under a key that nobody reads any more.
//!
//! A question reads the epoch once, when it arrives, and stores its results under that epoch. What content alone says (observed links, blobs,
//! the links behind a manifest) is true in every epoch and has none in its key. A manifest or a tag that was read in an earlier epoch is valid
//! unless a later write named it ([`Key::manifest`], [`Key::tag`]).
//!
//! The first tier is this process's memory. Replicas can share a second one (Redis), which also tells them of each other's writes: each
//! question begins by reading the epoch from there. While Redis is unreachable, this process works alone. The last tier is a directory on
//! disk, from which a process that was restarted reads what it would otherwise have to ask the registry for.

mod cached;
mod clock;
mod counts;
mod disk;
mod entry_id;
mod epoch;
mod epochs;
mod json;
mod key;
mod lookup;
mod memory;
mod possible_writes;
mod puts;
mod redis;
mod shared;
mod shared_lock;
mod single_flight;
mod stored_name;
mod stored_value;
mod tiers;
mod whole_value;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use cached::{CacheEntry, Cached};
pub use clock::Clock;
pub use counts::{LookupCounts, Tier};
pub use disk::{DiskError, DiskHealth, DiskOptions};
pub use entry_id::{Kind, RepositoryKey};
pub use epoch::Epoch;
pub use json::{from_json, to_json};
pub use key::Key;
pub use redis::{RedisError, RedisOptions};
pub use shared_lock::SharedLock;
pub use single_flight::{Ends, SingleFlight};
pub use write::Invalidation;

use disk::DiskStore;
use epochs::Epochs;
use memory::MemoryStore;
use possible_writes::PossibleWrites;
use shared::{SharedEpoch, SharedStore};
use tiers::SharedTier;

/// Number of values being sent to the second tier at a time; further ones are cached in memory only.
const PUTS: usize = 32;

/// Limits of the memory tier, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For manifests and small blobs.
    pub manifests: u64,
    /// For lists and everything else.
    pub lists: u64,
}

/// The cache of one process, with the tiers that it shares with others and finds again after a restart, if there are any.
pub struct Cache {
    manifests: MemoryStore,
    lists: MemoryStore,
    epochs: Arc<Epochs>,
    possible_writes: PossibleWrites,
    clock: Clock,
    shared: Option<SharedTier>,
    disk: Option<DiskStore>,
    lookups: LookupCounts,
}

/// The state of the second tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedHealth {
    /// Whether it is connected.
    pub open: bool,
    /// Number of connections that broke or could not be established.
    pub failures: u64,
}

impl Cache {
    /// A cache in this process's memory only.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            manifests: MemoryStore::new(bounds.manifests),
            lists: MemoryStore::new(bounds.lists),
            epochs: Arc::default(),
            possible_writes: PossibleWrites::default(),
            clock: Clock::default(),
            shared: None,
            disk: None,
            lookups: LookupCounts::default(),
        }
    }

    /// A cache shared with other processes through Redis. It connects in the background; call this inside the tokio runtime. From the age of
    /// `second_look` on, values in memory are looked up in Redis too.
    pub fn with_redis(self, options: RedisOptions, second_look: Duration) -> Result<Self, RedisError> {
        let store = redis::RedisStore::start(options, self.epochs.clone(), self.clock)?;
        Ok(self.with_shared(Arc::new(store), second_look))
    }

    fn with_shared(mut self, store: Arc<dyn SharedStore>, second_look: Duration) -> Self {
        self.shared = Some(SharedTier {
            store,
            puts: Arc::new(Semaphore::new(PUTS)),
            second_look,
        });
        self
    }

    /// A cache that outlives this process in a directory of its own.
    pub fn with_disk(self, options: &DiskOptions) -> Result<Self, DiskError> {
        let disk = Some(DiskStore::start(options)?);
        Ok(Self { disk, ..self })
    }

    /// Counts of lookups since start-up.
    pub fn lookups(&self) -> &LookupCounts {
        &self.lookups
    }

    /// `None` without a second tier.
    pub fn shared_health(&self) -> Option<SharedHealth> {
        let store = &self.shared.as_ref()?.store;
        Some(SharedHealth {
            open: store.is_open(),
            failures: store.failures(),
        })
    }

    /// `None` without a tier on disk.
    pub fn disk_health(&self) -> Option<DiskHealth> {
        self.disk.as_ref().map(DiskStore::health)
    }

    /// Whether what is cached may be read by another process, or by this one after a restart.
    pub fn outlives_process(&self) -> bool {
        self.shared.is_some() || self.disk.is_some()
    }

    /// Waits until what was cached would be found after a restart, but no longer than 2 seconds. To be called at the end of the process.
    pub async fn finish(&self) {
        if let Some(disk) = &self.disk {
            disk.finish().await;
        }
    }

    fn memory(&self, kind: Kind) -> &MemoryStore {
        match kind {
            Kind::Manifest | Kind::Blob => &self.manifests,
            _ => &self.lists,
        }
    }

    /// Time since 1970, by the clock with which values are dated.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The epoch of this repository: the writes by this process and others.
    pub async fn epoch(&self, repository_key: &RepositoryKey) -> Epoch {
        let Some(shared) = &self.shared else {
            return self.epochs.current(repository_key);
        };
        let known = self.epochs.known(repository_key);
        match shared.store.epoch(repository_key, known.as_ref().map(Epoch::id)).await {
            SharedEpoch::Same => known.unwrap_or_else(|| self.epochs.current(repository_key)),
            SharedEpoch::Epoch(epoch) => self.epochs.adopt(repository_key, known.as_ref(), epoch),
            SharedEpoch::Nothing => self.epochs.current(repository_key),
        }
    }

    /// Records a write in every process: values of the current epoch become unreachable, and manifests and tags that the write names
    /// invalid.
    pub async fn wrote(&self, repository_key: &RepositoryKey, touched: impl Into<Arc<[Invalidation]>>) {
        let touched = touched.into();
        self.epochs.wrote(repository_key, &touched);
        self.remove_from_disk(repository_key, &touched);
        if let Some(shared) = &self.shared {
            shared.store.wrote(repository_key, &touched).await;
        }
    }

    /// The disk outlives what is remembered of writes.
    fn remove_from_disk(&self, repository_key: &RepositoryKey, touched: &[Invalidation]) {
        let Some(disk) = &self.disk else { return };
        let epoch = self.epochs.current(repository_key);
        for touch in touched {
            if let Invalidation::Manifest(digest) = touch {
                disk.remove(Key::manifest(repository_key, &epoch, digest.clone()).id());
            }
        }
    }

    /// Records a write of which nobody knows whether it took effect: values from before it are no longer fresh, but can still be served while
    /// the registry fails. It concerns this process only.
    pub fn mark_unverified(&self, repository_key: &RepositoryKey) {
        self.possible_writes.note(repository_key, self.clock.now());
    }
}

#[cfg(test)]
mod tests;
