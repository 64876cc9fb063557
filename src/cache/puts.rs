//! Caching values: in memory at once, in the other tiers as they take them.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Cache;
use super::cached::Cached;
use super::disk::DiskStore;
use super::epoch::Epoch;
use super::key::Key;
use super::memory::MemoryEntry;
use super::shared::{SharedStore, StoredValue};
use super::tiers::{SharedTier, TierValue};
use super::write::WriteId;

/// A larger value, in bytes, takes so long to encode that other work would wait.
const LARGE: usize = 256 << 10;

impl Cache {
    /// Caches `value`, which was read just now.
    pub async fn put<T: Cached>(&self, key: Key, value: Arc<T>) {
        self.put_aged(key, value, Duration::ZERO).await;
    }

    /// Caches `value`, which describes the state of `age` ago, because it was made from cached values.
    pub async fn put_aged<T: Cached>(&self, key: Key, value: Arc<T>, age: Duration) {
        let stamped = self.put_here(&key, &value, age);
        if let Some(disk) = self.disk_for(&key) {
            disk.put(key.id(), &value, stamped.0);
        }
        let takes = |shared: &&SharedTier| shared.store.takes(key.kind(), value.weight());
        let Some(shared) = self.shared.as_ref().filter(takes) else {
            return;
        };
        let Ok(turn) = shared.puts.clone().try_acquire_owned() else {
            return;
        };
        // Nobody waits for it.
        send_alone(shared.store.clone(), key, Encoding::of(value, stamped), turn);
    }

    /// Caches `value`, which was read just now. Returns when other processes can find it, and this one after a restart, or when it is clear that
    /// they cannot.
    pub async fn put_through<T: Cached>(&self, key: Key, value: Arc<T>) {
        let stamped = self.put_here(&key, &value, Duration::ZERO);
        if let Some(shared) = self
            .shared
            .as_ref()
            .filter(|shared| shared.store.takes(key.kind(), value.weight()))
        {
            send(&*shared.store, &key, Encoding::of(value.clone(), stamped)).await;
        }
        if let Some(disk) = self.disk_for(&key) {
            disk.put_through(key.id(), &value, stamped.0).await;
        }
    }

    pub(super) fn disk_for(&self, key: &Key) -> Option<&DiskStore> {
        self.disk.as_ref().filter(|_| DiskStore::keeps(key.kind()))
    }

    fn put_here<T: Cached>(&self, key: &Key, value: &Arc<T>, age: Duration) -> (Duration, Option<WriteId>) {
        let at = self.clock.now().saturating_sub(age);
        let epoch = key.asked_in().map(Epoch::id);
        let found = TierValue {
            value: value.clone(),
            at,
            epoch,
            verified: true,
        };
        self.keep(key, &found);
        (at, epoch)
    }

    pub(super) fn keep<T: Cached>(&self, key: &Key, found: &TierValue<T>) {
        self.memory(key.kind()).put(key.id().clone(), entry(found));
    }

    /// Removes what is cached under `key`, in every tier.
    pub async fn remove(&self, key: &Key) {
        self.memory(key.kind()).remove(key.id());
        if let Some(shared) = &self.shared {
            shared.store.remove(key.id()).await;
        }
        if let Some(disk) = self.disk_for(key) {
            disk.remove(key.id());
        }
    }
}

/// A value as memory holds it.
pub(super) fn entry<T: Cached>(found: &TierValue<T>) -> MemoryEntry {
    MemoryEntry {
        weight: found.value.weight(),
        value: found.value.clone() as Arc<dyn Any + Send + Sync>,
        at: found.at,
        epoch: found.epoch,
    }
}

/// What is to be written into the second tier. Values of all types share the code that writes them: a task of its own for each type is
/// much of it.
struct Encoding {
    encode: Box<dyn FnOnce() -> Option<Vec<u8>> + Send>,
    /// Whether that takes long.
    is_large: bool,
    at: Duration,
    epoch: Option<WriteId>,
}

impl Encoding {
    fn of<T: Cached>(value: Arc<T>, (at, epoch): (Duration, Option<WriteId>)) -> Self {
        Self {
            is_large: value.weight() > LARGE,
            encode: Box::new(move || value.encode()),
            at,
            epoch,
        }
    }
}

fn send_alone(store: Arc<dyn SharedStore>, key: Key, encoding: Encoding, turn: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        send(&*store, &key, encoding).await;
        drop(turn);
    });
}

/// Writes a value into the second tier, with its time and epoch.
async fn send(store: &dyn SharedStore, key: &Key, encoding: Encoding) {
    let Encoding {
        encode,
        is_large,
        at,
        epoch,
    } = encoding;
    let encoded = match is_large {
        true => tokio::task::spawn_blocking(encode).await.ok().flatten(),
        false => encode(),
    };
    if let Some(bytes) = encoded {
        let bytes = bytes.into();
        store.put(key.id(), StoredValue { at, epoch, bytes }).await;
    }
}
