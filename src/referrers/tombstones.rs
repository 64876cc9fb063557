//! What was just deleted: an answer that is still on its way to a caller must not bring it back into the cache.

use std::time::Duration;

use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::oci::Digest;

/// Longer than an answer takes from its last byte to the cache.
const KEPT: Duration = Duration::from_secs(60);
const MOST: u64 = 100_000;

/// Digests that were deleted a moment ago, by repository.
pub(super) struct Tombstones(ExpiringMap<(RepositoryKey, Digest), ()>);

impl Default for Tombstones {
    fn default() -> Self {
        Self(ExpiringMap::builder(MOST).time_to_live(KEPT).build())
    }
}

impl Tombstones {
    pub fn note(&self, repository_key: RepositoryKey, digest: &Digest) {
        self.0.insert((repository_key, digest.clone()), ());
    }

    /// Whether the digest may not be remembered yet. One that is pushed again meanwhile costs a request, nothing else.
    pub fn is_noted(&self, repository_key: RepositoryKey, digest: &Digest) -> bool {
        self.0.contains_key(&(repository_key, digest.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_the_repositorys_own() {
        let (deleted, digest) = (Tombstones::default(), Digest::sha256(b"x"));
        deleted.note(RepositoryKey::new("u", "a"), &digest);
        assert!(deleted.is_noted(RepositoryKey::new("u", "a"), &digest));
        assert!(!deleted.is_noted(RepositoryKey::new("u", "b"), &digest));
        assert!(!deleted.is_noted(RepositoryKey::new("u", "a"), &Digest::sha256(b"y")));
    }
}
