//! The memory tier: bounded by bytes, values of any type.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::epoch::WriteId;
use super::key::EntryId;

#[derive(Clone)]
pub(super) struct MemoryEntry {
    pub value: Arc<dyn Any + Send + Sync>,
    /// Time since 1970 at which it was learned.
    pub at: Duration,
    /// The epoch that it was learned in, for what a write can overwrite.
    pub epoch: Option<WriteId>,
    /// Bytes that it holds, its key's not counted.
    pub weight: usize,
}

/// Bytes that the books of the store take for each entry, the entry itself included: measured (`tests/weights.rs`).
const BOOKS: usize = 330;
/// What shares a value counts its holders.
const COUNTERS: usize = 24;

pub(super) struct MemoryStore {
    entries: Cache<EntryId, MemoryEntry>,
}

impl MemoryStore {
    pub fn new(bytes: u64) -> Self {
        let weigher = |id: &EntryId, entry: &MemoryEntry| {
            u32::try_from(entry.weight + COUNTERS + id.weight() + BOOKS).unwrap_or(u32::MAX)
        };
        Self {
            entries: Cache::builder().max_capacity(bytes).weigher(weigher).build(),
        }
    }

    pub fn get(&self, id: &EntryId) -> Option<MemoryEntry> {
        self.entries.get(id)
    }

    pub fn put(&self, id: EntryId, entry: MemoryEntry) {
        self.entries.insert(id, entry);
    }

    pub fn remove(&self, id: &EntryId) {
        self.entries.invalidate(id);
    }
}
