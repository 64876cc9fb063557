//! A lock that the processes which share the second tier hold one after the other.
//!
//! It saves work and proves nothing: it expires, it is lost with the second tier, and a process without one goes on. Whoever writes under it
//! checks afterwards what it wrote.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Cache;
use super::entry_id::RepositoryKey;
use super::shared::{LockAttempt, SharedStore};

/// When a lock expires whose holder has ended without giving it back.
const EXPIRES_AFTER: Duration = Duration::from_secs(10);
/// How long a process waits for others: as long as the lock of one that has ended stays.
const PATIENCE: Duration = EXPIRES_AFTER;
/// Milliseconds between two attempts, at random, so that processes do not ask in step.
const PAUSE: std::ops::Range<u64> = 10..40;

/// Held until it is dropped, or expires.
pub struct SharedLock {
    store: Arc<dyn SharedStore>,
    repository_key: RepositoryKey,
    name: String,
    token: u64,
}

impl Cache {
    /// The lock `name` of this repository. `None` without a second tier, where that fails, and where others have held the lock for too long: go on
    /// without.
    pub async fn lock(&self, repository_key: &RepositoryKey, name: &str) -> Option<SharedLock> {
        let store = &self.shared.as_ref()?.store;
        let (token, given_up) = (rand::random(), Instant::now() + PATIENCE);
        while Instant::now() < given_up {
            match store.try_lock(repository_key, name, token, EXPIRES_AFTER).await {
                LockAttempt::Held => {
                    return Some(SharedLock {
                        store: store.clone(),
                        repository_key: repository_key.clone(),
                        name: name.to_owned(),
                        token,
                    });
                }
                LockAttempt::Taken => tokio::time::sleep(Duration::from_millis(rand::random_range(PAUSE))).await,
                LockAttempt::Unavailable => return None,
            }
        }
        None
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, repository_key) = (self.store.clone(), self.repository_key.clone());
        let (name, token) = (std::mem::take(&mut self.name), self.token);
        runtime.spawn(async move { store.unlock(&repository_key, &name, token).await });
    }
}
