//! The tier in this process's memory: values of any type, up to a number of bytes.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::entry_id::EntryId;
use super::write::WriteId;
use crate::expiring_map::{EntryChange, ExpiringMap};

#[derive(Clone)]
pub(super) struct MemoryEntry {
    pub value: Arc<dyn Any + Send + Sync>,
    /// Time since 1970 at which it was read from the registry.
    pub at: Duration,
    /// The epoch in which it was read, for values that a write can invalidate.
    pub epoch: Option<WriteId>,
    /// Bytes of memory that the value uses, without its key.
    pub weight: usize,
}

/// Bytes of overhead of the store for each entry, including the entry itself, as measured (`tests/weights.rs`).
const BOOKS: usize = 460;
/// Bytes of the two reference counts of an `Arc`.
const COUNTERS: usize = 24;

pub(super) struct MemoryStore {
    entries: ExpiringMap<EntryId, MemoryEntry>,
}

impl MemoryStore {
    pub fn new(bytes: u64) -> Self {
        let weigher = |id: &EntryId, entry: &MemoryEntry| {
            u32::try_from(entry.weight + COUNTERS + id.weight() + BOOKS).unwrap_or(u32::MAX)
        };
        Self {
            entries: ExpiringMap::builder(bytes).weigher(weigher).build(),
        }
    }

    pub fn get(&self, id: &EntryId) -> Option<MemoryEntry> {
        self.entries.get(id)
    }

    pub fn put(&self, id: EntryId, entry: MemoryEntry) {
        self.entries.insert(id, entry);
    }

    pub fn put_if_missing(&self, id: EntryId, entry: impl FnOnce() -> MemoryEntry) {
        self.entries.change(&id, |known| match known {
            Some(_) => EntryChange::Keep,
            None => EntryChange::Put(entry()),
        });
    }

    pub fn remove(&self, id: &EntryId) {
        self.entries.remove(id);
    }
}
