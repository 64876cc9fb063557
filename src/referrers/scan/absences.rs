//! Digests of which the registry just said to a credential that it holds no such manifest: an index may name thousands of them,
//! which are not asked for again with every question. Registries hide manifests so: what one credential is told says nothing to another.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Scan;
use crate::cache::{Epoch, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::oci::Digest;
use crate::referrers::context::RepositoryContext;
use crate::registry::CredentialHash;

/// Bytes of memory, more or less.
const MOST: u64 = 16 << 20;
/// Bytes that one takes: a digest, a credential's hash, the names of registry and repository, and the cache's books.
const WEIGHT: u32 = 430;
const KEPT: Duration = Duration::from_secs(60 * 60);

type AbsenceKey = (RepositoryKey, CredentialHash, Epoch, Digest);

/// Stated absences of one process, by repository and credential. Every write to a repository ends them: it may have been what was absent.
#[derive(Clone)]
pub(in crate::referrers) struct Absences(ExpiringMap<AbsenceKey, Instant>);

impl Default for Absences {
    fn default() -> Self {
        let cache = ExpiringMap::builder(MOST).weigher(|_, _| WEIGHT);
        Self(cache.time_to_live(KEPT).build())
    }
}

impl Absences {
    pub fn note(&self, (context, credential): (&RepositoryContext, CredentialHash), digest: &Digest) {
        self.0.insert(key(context, credential, digest), Instant::now());
    }

    /// How long ago it was absent, where that is at most `max_age` and nothing was written since.
    pub fn stated(
        &self,
        (context, credential): (&RepositoryContext, CredentialHash),
        digest: &Digest,
        max_age: Duration,
    ) -> Option<Duration> {
        let age = self.0.get(&key(context, credential, digest))?.elapsed();
        (age < max_age).then_some(age)
    }
}

fn key(context: &RepositoryContext, credential: CredentialHash, digest: &Digest) -> AbsenceKey {
    (
        context.repository_key.clone(),
        credential,
        context.epoch.clone(),
        digest.clone(),
    )
}

impl Scan {
    /// The registry just said to this caller that it has no such manifest. To one who may not read, it says so of all.
    pub fn note_absence(&self, digest: &Digest) {
        if self.may_read() {
            self.stores.absences.note(self.asker(), digest);
        }
    }

    /// How long ago the registry said so to this caller, where that is at most `max_age` and nothing was written since.
    pub fn stated_absence(&self, digest: &Digest, max_age: Duration) -> Option<Duration> {
        self.stores.absences.stated(self.asker(), digest, max_age)
    }

    fn asker(&self) -> (&RepositoryContext, CredentialHash) {
        (&self.context, self.context.caller.credential_hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RepositoryName;
    use crate::registry::Caller;

    fn context(repository: &str, epoch: &Epoch) -> RepositoryContext {
        RepositoryContext {
            repository: RepositoryName::parse(repository).unwrap(),
            repository_key: RepositoryKey::new("u", repository),
            epoch: epoch.clone(),
            base: None,
            caller: Caller::anonymous(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_believed_for_a_while_and_until_a_write_by_whoever_was_told() {
        let (absences, digest, told, other) = (Absences::default(), Digest::sha256(b"x"), [1; 16], [2; 16]);
        let (before, after) = (Epoch::unknown(), Epoch::unknown());
        let context_before = context("r", &before);
        let stated = |context: &RepositoryContext, credential| {
            absences.stated((context, credential), &digest, Duration::from_secs(30))
        };
        absences.note((&context_before, told), &digest);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(stated(&context_before, told), Some(Duration::from_secs(29)));
        assert_eq!(stated(&context_before, other), None, "another credential");
        assert_eq!(stated(&context("r", &after), told), None, "after a write");
        assert_eq!(stated(&context("s", &before), told), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(stated(&context_before, told), None, "later");
    }
}
