//! Tags that were seen to resolve. A listing that began later and lacks one is not the whole truth: proxy caches list only what
//! they hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::{Clock, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::oci::{Digest, Tag, tag_scheme};
use crate::registry::TagNames;

/// Repositories of which something is remembered.
const REPOSITORIES: u64 = 10_000;
/// Tags of one repository, the first that were seen since a listing had them all.
const TAGS: usize = 16;

struct SeenTag {
    tag: Tag,
    /// Time since 1970.
    at: Duration,
}

pub(super) struct SeenTags {
    seen: ExpiringMap<RepositoryKey, Arc<Mutex<Vec<SeenTag>>>>,
    clock: Clock,
}

impl Default for SeenTags {
    fn default() -> Self {
        Self {
            seen: ExpiringMap::new(REPOSITORIES),
            clock: Clock::default(),
        }
    }
}

impl SeenTags {
    /// The registry just gave a manifest by this tag, where it says so with this digest.
    pub fn note(&self, repository_key: &RepositoryKey, tag: &Tag, digest: Option<&Digest>) {
        if digest.is_some_and(|digest| names_itself(tag, digest)) {
            return;
        }
        let seen = self.seen.get_or_insert_with(repository_key, Arc::default);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < TAGS && seen.iter().all(|known| known.tag != *tag) {
            let (tag, at) = (tag.clone(), self.clock.now());
            seen.push(SeenTag { tag, at });
        }
    }

    /// The tags that a listing which began at `began` should have and lacks. What it has is forgotten.
    pub fn lacking(&self, repository_key: &RepositoryKey, listed: &TagNames, began: Duration) -> Vec<Tag> {
        let Some(seen) = self.seen.get(repository_key) else {
            return Vec::new();
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|seen| seen.at >= began || !listed.contains(seen.tag.as_str()));
        let lacking = seen.iter().filter(|seen| seen.at < began);
        lacking.map(|seen| seen.tag.clone()).collect()
    }

    /// The registry gives nothing by this tag any more.
    pub fn gone(&self, repository_key: &RepositoryKey, tag: &Tag) {
        if let Some(seen) = self.seen.get(repository_key) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.retain(|seen| seen.tag != *tag);
        }
    }
}

/// Whether a tag that is named after a subject resolves to the subject itself, as GitLab's do without being there.
pub(super) fn names_itself(tag: &Tag, digest: &Digest) -> bool {
    tag_scheme::parse(tag.as_str()).is_some_and(|link| link.subject.digest().as_ref() == Some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_began_later_should_have_what_was_seen() {
        let (seen, repository_key) = (SeenTags::default(), RepositoryKey::new("u", "r"));
        let tag = |name: &str| Tag::parse(name).unwrap();
        let subject = Digest::sha256(b"subject");
        let itself = tag(&subject.to_string().replace(':', "-"));
        seen.note(&repository_key, &itself, Some(&subject));
        for name in ["listed", "hidden"] {
            seen.note(&repository_key, &tag(name), Some(&subject));
        }
        let listed = TagNames::from_iter(["listed"]);
        let began = seen.clock.now();
        assert!(seen.lacking(&repository_key, &listed, began).is_empty());
        let later = began + Duration::from_secs(1);
        assert_eq!(seen.lacking(&repository_key, &listed, later), [tag("hidden")]);
        // Until the registry was asked for it.
        assert_eq!(seen.lacking(&repository_key, &listed, later), [tag("hidden")]);
        seen.gone(&repository_key, &tag("hidden"));
        assert!(seen.lacking(&repository_key, &listed, later).is_empty());
    }
}
