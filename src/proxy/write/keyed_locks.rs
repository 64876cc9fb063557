//! Locks by key, each there for as long as somebody holds it or waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Locks by key. A key that nobody holds or waits for takes no memory after the next call.
pub(super) struct KeyedLocks<K> {
    locks: Mutex<HashMap<K, Weak<RwLock<()>>>>,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self {
            locks: Mutex::default(),
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
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(RwLock::new(()));
        locks.insert(key, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_alone_or_shared_and_forgotten_afterwards() {
        let locks = KeyedLocks::default();
        let (one, two) = (locks.shared("a").await, locks.shared("a").await);
        assert!(locks.try_alone("a").is_none());
        assert!(locks.try_alone("b").is_some());
        drop((one, two));
        let alone = locks.alone("a").await;
        assert!(locks.try_alone("a").is_none());
        drop(alone);
        drop(locks.try_alone("c"));
        assert_eq!(locks.locks.lock().unwrap().len(), 1);
    }
}
