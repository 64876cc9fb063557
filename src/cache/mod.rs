//! One facade over everything that is remembered: it knows keys, values and their age, not what they mean.
//!
//! A value carries the time at which it was learned; whether that is fresh enough is the reader's decision. All state of a
//! repository that a write can make wrong is keyed by that repository's *epoch*, a random number that every write replaces: a
//! scan that began before the write stores its result where nobody looks any more.

mod clock;
mod epoch;
mod flight;
mod key;
mod store;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub use clock::Clock;
pub use epoch::Epoch;
pub use flight::{Flights, Landed};
pub use key::{Key, Kind, Scope};

use epoch::Epochs;
use store::MemoryStore;

/// A value that can be remembered.
pub trait Cached: Send + Sync + 'static {
    /// Bytes that it holds, roughly.
    fn weight(&self) -> usize;
}

/// A remembered value and its age.
#[derive(Debug)]
pub struct Stamped<T> {
    pub value: Arc<T>,
    pub age: Duration,
}

/// Bounds of the memory tier, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub manifests: u64,
    pub lists: u64,
}

/// The cache of one process.
pub struct Cache {
    manifests: MemoryStore,
    lists: MemoryStore,
    epochs: Epochs,
    clock: Clock,
}

impl Cache {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            manifests: MemoryStore::new(bounds.manifests),
            lists: MemoryStore::new(bounds.lists),
            epochs: Epochs::default(),
            clock: Clock::default(),
        }
    }

    fn store(&self, kind: Kind) -> &MemoryStore {
        match kind {
            Kind::Manifest | Kind::Blob => &self.manifests,
            _ => &self.lists,
        }
    }

    /// What is remembered under `key`, however old.
    pub async fn get<T: Cached>(&self, key: &Key) -> Option<Stamped<T>> {
        let entry = self.store(key.kind()).get(key)?;
        let value = Arc::downcast::<T>(entry.value).ok()?;
        let age = self.clock.now().saturating_sub(entry.at);
        Some(Stamped { value, age })
    }

    /// Remembers `value`, learned just now.
    pub async fn put<T: Cached>(&self, key: Key, value: Arc<T>) {
        let weight = value.weight() + key.weight();
        let value: Arc<dyn Any + Send + Sync> = value;
        let at = self.clock.now();
        self.store(key.kind()).put(key, value, at, weight);
    }

    pub async fn remove(&self, key: &Key) {
        self.store(key.kind()).remove(key);
    }

    /// The number that keys what a write to this repository makes wrong.
    pub async fn epoch(&self, scope: &Scope) -> Epoch {
        self.epochs.current(scope)
    }

    /// Makes everything keyed by the current epoch unreachable.
    pub async fn new_epoch(&self, scope: &Scope) {
        self.epochs.replace(scope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cached for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn cache() -> Cache {
        Cache::new(Bounds {
            manifests: 1 << 20,
            lists: 1 << 20,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn age_follows_the_clock() {
        let cache = cache();
        let key = Key::manifest(&Scope::new("u", "r"), "sha256:x");
        cache.put(key.clone(), Arc::new("v".to_owned())).await;
        tokio::time::advance(Duration::from_secs(7)).await;
        let found = cache.get::<String>(&key).await.unwrap();
        assert_eq!((found.value.as_str(), found.age), ("v", Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn a_new_epoch_hides_what_the_old_one_held() {
        let cache = cache();
        let scope = Scope::new("u", "r");
        let old = Key::tag_list(&scope, cache.epoch(&scope).await);
        cache.put(old.clone(), Arc::new("v".to_owned())).await;
        cache.new_epoch(&scope).await;
        let new = Key::tag_list(&scope, cache.epoch(&scope).await);
        assert!(cache.get::<String>(&new).await.is_none());
        assert!(cache.get::<String>(&old).await.is_some());
    }
}
