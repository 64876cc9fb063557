//! The memory tier: bounded by bytes, values of any type.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::key::Key;

#[derive(Clone)]
pub(super) struct Entry {
    pub value: Arc<dyn Any + Send + Sync>,
    /// Time since 1970 at which it was learned.
    pub at: Duration,
    weight: u32,
}

pub(super) struct MemoryStore {
    entries: Cache<Key, Entry>,
}

impl MemoryStore {
    pub fn new(bytes: u64) -> Self {
        let weigher = |_: &Key, entry: &Entry| entry.weight;
        Self {
            entries: Cache::builder().max_capacity(bytes).weigher(weigher).build(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key)
    }

    pub fn put(&self, key: Key, value: Arc<dyn Any + Send + Sync>, at: Duration, weight: usize) {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        self.entries.insert(key, Entry { value, at, weight });
    }

    pub fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }
}
