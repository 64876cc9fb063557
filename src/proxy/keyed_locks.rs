//! Locks by key, each there for as long as somebody holds it or waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// With fewer keys, those that nobody holds are left.
const FEW: usize = 64;

/// Locks by key. Keys that nobody holds or waits for are forgotten when there are twice as many keys as were held before.
pub(super) struct KeyedLocks<K> {
    locks: Mutex<Locks<K>>,
}

struct Locks<K> {
    by_key: HashMap<K, Weak<RwLock<()>>>,
    /// How many keys there may be before those that nobody holds are looked for: to do so each time would take long with many.
    room: usize,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self {
            locks: Mutex::new(Locks {
                by_key: HashMap::new(),
                room: FEW,
            }),
        }
    }
}

impl<K: Eq + Hash> KeyedLocks<K> {
    /// Waits until nobody holds `key` alone.
    pub async fn shared(&self, key: K) -> OwnedRwLockReadGuard<()> {
        self.lock(key).read_owned().await
    }

    /// Waits until nobody else holds `key`.
    pub async fn alone(&self, key: K) -> OwnedRwLockWriteGuard<()> {
        self.lock(key).write_owned().await
    }

    /// `key` alone, unless somebody else holds it.
    pub fn try_alone(&self, key: K) -> Option<OwnedRwLockWriteGuard<()>> {
        self.lock(key).try_write_owned().ok()
    }

    fn lock(&self, key: K) -> Arc<RwLock<()>> {
        // A panic elsewhere leaves the map whole: every change to it is a single call.
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.by_key.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.by_key.len() >= locks.room {
            locks.by_key.retain(|_, lock| lock.strong_count() > 0);
            locks.room = FEW.max(2 * locks.by_key.len());
        }
        let lock = Arc::new(RwLock::new(()));
        locks.by_key.insert(key, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_alone_or_shared() {
        let locks = KeyedLocks::default();
        let (one, two) = (locks.shared("a").await, locks.shared("a").await);
        assert!(locks.try_alone("a").is_none());
        assert!(locks.try_alone("b").is_some());
        drop((one, two));
        let alone = locks.alone("a").await;
        assert!(locks.try_alone("a").is_none());
        drop(alone);
        assert!(locks.try_alone("a").is_some());
    }

    #[tokio::test]
    async fn keys_that_nobody_holds_are_forgotten() {
        let locks = KeyedLocks::default();
        let held = locks.try_alone(0);
        for key in 1..100 * FEW {
            drop(locks.try_alone(key));
        }
        assert!(locks.locks.lock().unwrap().by_key.len() <= FEW);
        assert!(locks.try_alone(0).is_none());
        drop(held);
    }
}
