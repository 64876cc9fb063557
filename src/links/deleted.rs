//! What was just deleted: an answer that is still on its way to a caller must not bring it back into the cache.

use std::time::Duration;

use moka::sync::Cache;

use crate::cache::Scope;
use crate::oci::Digest;

/// Longer than an answer takes from its last byte to the cache.
const KEPT: Duration = Duration::from_secs(60);
const MOST: u64 = 100_000;

/// Digests that were deleted a moment ago, by repository.
pub(super) struct Deleted(Cache<(Scope, Digest), ()>);

impl Default for Deleted {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(KEPT).build())
    }
}

impl Deleted {
    pub fn note(&self, scope: Scope, digest: &Digest) {
        self.0.insert((scope, digest.clone()), ());
    }

    /// Whether the digest may not be remembered yet. One that is pushed again meanwhile costs a request, nothing else.
    pub fn is_noted(&self, scope: Scope, digest: &Digest) -> bool {
        self.0.contains_key(&(scope, digest.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_the_repositorys_own() {
        let (deleted, digest) = (Deleted::default(), Digest::sha256(b"x"));
        deleted.note(Scope::new("u", "a"), &digest);
        assert!(deleted.is_noted(Scope::new("u", "a"), &digest));
        assert!(!deleted.is_noted(Scope::new("u", "b"), &digest));
        assert!(!deleted.is_noted(Scope::new("u", "a"), &Digest::sha256(b"y")));
    }
}
