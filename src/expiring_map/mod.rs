//! What a process remembers for a while: a bounded map that many threads share, whose entries expire.
//!
//! It is a `moka` cache behind types. That cache is some 120 KiB of machine code for each pair of key and value types that it
//! is made for, and this crate has more than thirty of them: by themselves they were a third of what the compiler had to
//! translate. Here it is made for one pair, keys and values of any type, so all maps share its code. A look-up costs a call
//! through a table for hashing and one for each comparison.

#![expect(clippy::disallowed_types, reason = "the one place that makes one")]

mod key;

use std::any::Any;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::{Cache, CacheBuilder};

use key::{AnyKey, ErasedKey};

type AnyValue = Arc<dyn Any + Send + Sync>;
type AnyMap = Cache<AnyKey, AnyValue>;

/// What becomes of an entry that was looked at.
pub enum EntryChange<V> {
    /// Nothing.
    Keep,
    /// It gets this value, whether there was one or not.
    Put(V),
    /// It is no longer there.
    Remove,
}

/// A map with a bound. Clones share their entries.
#[derive(Clone)]
pub struct ExpiringMap<K, V> {
    entries: AnyMap,
    types: PhantomData<fn(&K) -> V>,
}

impl<K, V> fmt::Debug for ExpiringMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiringMap").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> ExpiringMap<K, V> {
    /// A map of at most `capacity` entries, which do not expire otherwise.
    pub fn new(capacity: u64) -> Self {
        Self::builder(capacity).build()
    }

    /// A map of at most `capacity` entries, or of this weight where the entries are [weighed](Builder::weigher).
    pub fn builder(capacity: u64) -> Builder<K, V> {
        Builder {
            entries: Cache::builder().max_capacity(capacity),
            types: PhantomData,
        }
    }

    /// The value, which counts as use.
    pub fn get(&self, key: &K) -> Option<V> {
        self.entries.get::<dyn ErasedKey>(key).as_ref().and_then(typed)
    }

    /// Whether there is a value, which does not count as use.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key::<dyn ErasedKey>(key)
    }

    /// The value, or the one that `init` makes for everybody who asks meanwhile.
    pub fn get_or_insert_with(&self, key: &K, init: impl Fn() -> V) -> V {
        let known = get_or_insert_with(&self.entries, key, &mut || Arc::new(init()));
        typed(&known.0).unwrap_or_else(init)
    }

    /// Whether there was no entry, so that this one is there now.
    pub fn insert_new(&self, key: &K, value: V) -> bool {
        get_or_insert_with(&self.entries, key, &mut || Arc::new(value.clone())).1
    }

    /// Puts an entry in the place of the one that was there.
    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(AnyKey::new(key), Arc::new(value));
    }

    /// Looks at an entry and changes it, while nobody else does.
    pub fn change(&self, key: &K, change: impl FnOnce(Option<V>) -> EntryChange<V>) {
        let mut change = Some(change);
        compute(&self.entries, key, &mut |known| match change.take() {
            Some(change) => match change(known.as_ref().and_then(typed)) {
                EntryChange::Keep => Op::Nop,
                EntryChange::Put(value) => Op::Put(Arc::new(value)),
                EntryChange::Remove => Op::Remove,
            },
            None => Op::Nop,
        });
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &K) -> Option<V> {
        self.entries.remove::<dyn ErasedKey>(key).as_ref().and_then(typed)
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// The number of entries, once what is too much has been let go of.
    #[cfg(test)]
    pub fn settled_len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }
}

/// The bounds of a map: see [`ExpiringMap::builder`].
pub struct Builder<K, V> {
    entries: CacheBuilder<AnyKey, AnyValue, AnyMap>,
    types: PhantomData<fn(&K) -> V>,
}

impl<K: 'static, V: 'static> Builder<K, V> {
    /// Entries are let go of so long after they were put.
    #[must_use]
    pub fn time_to_live(self, time: Duration) -> Self {
        self.with(|entries| entries.time_to_live(time))
    }

    /// Entries are let go of so long after they were put or last got.
    #[must_use]
    pub fn time_to_idle(self, time: Duration) -> Self {
        self.with(|entries| entries.time_to_idle(time))
    }

    /// What counts is the weight of all entries, not their number.
    #[must_use]
    pub fn weigher(self, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.with(|entries| {
            entries.weigher(move |key, value| match (key.downcast(), value.downcast_ref()) {
                (Some(key), Some(value)) => weigh(key, value),
                _ => u32::MAX,
            })
        })
    }

    /// Where there is too much, what was used longest ago goes first. Without this, what is used least often does, and a new entry
    /// may be that.
    #[must_use]
    pub fn least_recently_used_first(self) -> Self {
        self.with(|entries| entries.eviction_policy(EvictionPolicy::lru()))
    }

    /// Called for each entry that was let go of by itself: for want of room, or because its time was over.
    #[must_use]
    pub fn on_eviction(self, evicted: impl Fn() + Send + Sync + 'static) -> Self {
        self.with(|entries| {
            entries.eviction_listener(move |_, _, cause: RemovalCause| {
                if cause.was_evicted() {
                    evicted();
                }
            })
        })
    }

    /// An empty map.
    pub fn build(self) -> ExpiringMap<K, V> {
        ExpiringMap {
            entries: self.entries.build(),
            types: PhantomData,
        }
    }

    fn with(
        self,
        bound: impl FnOnce(CacheBuilder<AnyKey, AnyValue, AnyMap>) -> CacheBuilder<AnyKey, AnyValue, AnyMap>,
    ) -> Self {
        Self {
            entries: bound(self.entries),
            types: PhantomData,
        }
    }
}

/// A map's values are all of its own type.
fn typed<V: Clone + 'static>(value: &AnyValue) -> Option<V> {
    value.downcast_ref().cloned()
}

// Not generic, so that they are compiled once.

/// The value, and whether it is new.
fn get_or_insert_with(entries: &AnyMap, key: &dyn ErasedKey, init: &mut dyn FnMut() -> AnyValue) -> (AnyValue, bool) {
    let entry = entries.entry_by_ref(key).or_insert_with(init);
    let is_new = entry.is_fresh();
    (entry.into_value(), is_new)
}

fn compute(entries: &AnyMap, key: &dyn ErasedKey, change: &mut dyn FnMut(Option<AnyValue>) -> Op<AnyValue>) {
    entries
        .entry_by_ref(key)
        .and_compute_with(|known| change(known.map(moka::Entry::into_value)));
}

#[cfg(test)]
mod tests;
