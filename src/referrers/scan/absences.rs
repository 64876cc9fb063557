//! Digests of which the registry just said that it holds no such manifest: an index may name thousands of them, which are
//! not asked for again with every question.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::cache::{Epoch, RepositoryKey};
use crate::oci::Digest;

/// Bytes of memory, more or less.
const MOST: u64 = 16 << 20;
/// Bytes that one takes: a digest, the names of registry and repository, and the cache's books.
const WEIGHT: u32 = 320;
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Stated absences of one process, by repository. Every write to a repository ends them: it may have been what was absent.
#[derive(Clone)]
pub(in crate::referrers) struct Absences(Arc<Cache<(RepositoryKey, Epoch, Digest), Instant>>);

impl Default for Absences {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MOST).weigher(|_, _| WEIGHT);
        Self(Arc::new(cache.time_to_live(KEPT).build()))
    }
}

impl Absences {
    pub fn note(&self, repository_key: &RepositoryKey, epoch: &Epoch, digest: &Digest) {
        let key = (repository_key.clone(), epoch.clone(), digest.clone());
        self.0.insert(key, Instant::now());
    }

    /// How long ago it was absent, where that is at most `max_age` and nothing was written since.
    pub fn stated(
        &self,
        repository_key: &RepositoryKey,
        epoch: &Epoch,
        digest: &Digest,
        max_age: Duration,
    ) -> Option<Duration> {
        let key = (repository_key.clone(), epoch.clone(), digest.clone());
        let age = self.0.get(&key)?.elapsed();
        (age < max_age).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_believed_for_a_while_and_until_a_write() {
        let (absences, repository_key, digest) =
            (Absences::default(), RepositoryKey::new("u", "r"), Digest::sha256(b"x"));
        let (before, after) = (Epoch::unknown(), Epoch::unknown());
        let while_fresh = Duration::from_secs(30);
        absences.note(&repository_key, &before, &digest);
        tokio::time::advance(Duration::from_secs(29)).await;
        let age = absences.stated(&repository_key, &before, &digest, while_fresh);
        assert_eq!(age, Some(Duration::from_secs(29)));
        assert_eq!(
            absences.stated(&repository_key, &after, &digest, while_fresh),
            None,
            "after a write"
        );
        assert_eq!(
            absences.stated(&RepositoryKey::new("u", "s"), &before, &digest, while_fresh),
            None
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            absences.stated(&repository_key, &before, &digest, while_fresh),
            None,
            "later"
        );
    }
}
