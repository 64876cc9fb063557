//! Writes of which nobody knows whether they took effect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::entry_id::RepositoryKey;
use crate::expiring_map::ExpiringMap;

/// Number of repositories for which a possible write is remembered. If one is forgotten, old values are used until they are no longer fresh.
const REPOSITORIES: u64 = 10_000;
/// How long a possible write is remembered: values from before it are no longer fresh then anyway.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The time of the last possible write to each repository, since 1970.
pub(super) struct PossibleWrites {
    last: ExpiringMap<RepositoryKey, Duration>,
    /// Whether there was one at all: most processes never see one, and every lookup asks.
    any: AtomicBool,
}

impl Default for PossibleWrites {
    fn default() -> Self {
        Self {
            last: ExpiringMap::builder(REPOSITORIES).time_to_live(KEPT).build(),
            any: AtomicBool::new(false),
        }
    }
}

impl PossibleWrites {
    pub fn note(&self, repository_key: &RepositoryKey, at: Duration) {
        self.last.insert(repository_key.clone(), at);
        self.any.store(true, Ordering::SeqCst);
    }

    /// When the repository was perhaps written to last.
    pub fn last(&self, repository_key: &RepositoryKey) -> Option<Duration> {
        match self.any.load(Ordering::SeqCst) {
            true => self.last.get(repository_key),
            false => None,
        }
    }
}
