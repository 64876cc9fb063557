//! What was learned from a moment ago: the same image is often pulled by many at once, and says nothing new every time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::{Epoch, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::oci::Digest;
use crate::registry::RawManifest;

/// After so long a manifest is read again: what was learned of it may have been pushed out of the cache.
const KEPT: Duration = Duration::from_secs(10);
/// Bytes of manifests, which the cache usually holds anyway.
const MOST: u64 = 4 << 20;
/// Bytes that an entry takes beside its manifest, more or less: the names of registry and repository, keys, and the cache's books.
const BESIDE: usize = 512;

struct ParsedManifest {
    raw: RawManifest,
    /// A write since then may have made the cache forget it.
    epoch: Epoch,
    at: Instant,
}

pub(super) struct RecentlyParsed(ExpiringMap<(RepositoryKey, Digest), Arc<ParsedManifest>>);

impl Default for RecentlyParsed {
    fn default() -> Self {
        let weigher = |(_, digest): &(RepositoryKey, Digest), lesson: &Arc<ParsedManifest>| {
            let raw = &lesson.raw;
            let bytes = raw.bytes.len() + raw.media_type.len() + digest.as_str().len() + BESIDE;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = ExpiringMap::builder(MOST).weigher(weigher);
        Self(cache.time_to_live(KEPT).build())
    }
}

impl RecentlyParsed {
    pub fn note(&self, repository_key: &RepositoryKey, epoch: &Epoch, raw: &RawManifest) {
        let lesson = ParsedManifest {
            raw: raw.clone(),
            epoch: epoch.clone(),
            at: Instant::now(),
        };
        self.0
            .insert((repository_key.clone(), raw.digest.clone()), Arc::new(lesson));
    }

    /// What was learned of it is known no longer.
    pub fn forget(&self, repository_key: &RepositoryKey, digest: &Digest) {
        self.0.remove(&(repository_key.clone(), digest.clone()));
    }

    /// Whether exactly this was learned from, and nothing was written to the repository since.
    pub fn knows(&self, repository_key: &RepositoryKey, epoch: &Epoch, raw: &RawManifest) -> bool {
        let lesson = self.0.get(&(repository_key.clone(), raw.digest.clone()));
        lesson.is_some_and(|lesson| lesson.raw == *raw && lesson.epoch == *epoch && lesson.at.elapsed() < KEPT)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn many_small_ones_are_not_kept_without_bound() {
        let recently_parsed = RecentlyParsed::default();
        for number in 0..20_000_u32 {
            let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
            let raw = RawManifest {
                digest: Digest::sha256(&bytes),
                media_type: String::new(),
                bytes,
            };
            recently_parsed.note(&RepositoryKey::new("u", "r"), &Epoch::unknown(), &raw);
        }
        let remembered = recently_parsed.0.settled_len();
        assert!(remembered <= MOST / BESIDE as u64, "{remembered}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_is_known_and_not_for_long() {
        let (recently_parsed, repository_key, epoch) = (
            RecentlyParsed::default(),
            RepositoryKey::new("u", "r"),
            Epoch::unknown(),
        );
        let raw = |media_type: &str, bytes: &'static [u8]| RawManifest {
            digest: Digest::sha256(b"{}"),
            media_type: media_type.to_owned(),
            bytes: Bytes::from_static(bytes),
        };
        recently_parsed.note(&repository_key, &epoch, &raw("a/b", b"{}"));
        assert!(recently_parsed.knows(&repository_key, &epoch, &raw("a/b", b"{}")));
        assert!(
            !recently_parsed.knows(&repository_key, &epoch, &raw("a/b", b"[]")),
            "other bytes"
        );
        assert!(
            !recently_parsed.knows(&repository_key, &epoch, &raw("a/c", b"{}")),
            "another type"
        );
        assert!(
            !recently_parsed.knows(&repository_key, &Epoch::unknown(), &raw("a/b", b"{}")),
            "after a write"
        );
        assert!(
            !recently_parsed.knows(&RepositoryKey::new("u", "s"), &epoch, &raw("a/b", b"{}")),
            "elsewhere"
        );
        tokio::time::advance(KEPT).await;
        assert!(
            !recently_parsed.knows(&repository_key, &epoch, &raw("a/b", b"{}")),
            "later"
        );
    }
}
