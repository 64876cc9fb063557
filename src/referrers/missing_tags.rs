//! Tags that should be there and are not. Registries lag, so one that is missing is asked for again; one that has long dangled
//! is not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::oci::{SubjectKey, Tag, tag_scheme};

/// Subjects of which something is remembered.
const SUBJECTS: u64 = 10_000;
/// Tags of one subject; beyond, each is as if it were missing for the first time.
const TAGS: usize = 100;
/// After this long a tag counts as missing for the first time again: it may have been written anew meanwhile.
pub(super) const MISSING_FOR: Duration = Duration::from_secs(10 * 60);
/// Or where nobody found it missing for this long, or for twice as long as answers are fresh.
const UNASKED_FOR: Duration = Duration::from_secs(10);

struct MissingTag {
    first: Instant,
    last: Instant,
}

/// The tags of one subject.
type OfSubject = Arc<Mutex<HashMap<Tag, MissingTag>>>;

pub(super) struct MissingTags {
    missing: ExpiringMap<(RepositoryKey, SubjectKey), OfSubject>,
    unasked_for: Duration,
}

impl MissingTags {
    pub fn new(fresh_for: Duration) -> Self {
        let missing = ExpiringMap::builder(SUBJECTS).time_to_idle(MISSING_FOR);
        Self {
            missing: missing.build(),
            unasked_for: UNASKED_FOR.max(fresh_for.saturating_mul(2)),
        }
    }

    /// A link tag that should be there is missing: for how long that has been so.
    pub fn is_missing(&self, repository_key: &RepositoryKey, subject: &SubjectKey, tag: &Tag) -> Duration {
        let key = (repository_key.clone(), subject.clone());
        let missing = self.missing.get_or_insert_with(&key, Arc::default);
        let mut missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|_, tag| tag.last.elapsed() < self.unasked_for && tag.first.elapsed() < MISSING_FOR);
        let now = Instant::now();
        if !missing.contains_key(tag) && missing.len() >= TAGS {
            return Duration::ZERO;
        }
        let known = missing
            .entry(tag.clone())
            .or_insert(MissingTag { first: now, last: now });
        known.last = now;
        known.first.elapsed()
    }

    /// The tag is there, or was just written.
    pub fn is_there(&self, repository_key: &RepositoryKey, tag: &Tag) {
        if let Some(link) = tag_scheme::parse(tag.as_str()) {
            self.keep(repository_key, &link.subject, |missing| missing != tag);
        }
    }

    /// Of the subject's tags only those need be remembered that `is_expected` to be there.
    pub fn keep(&self, repository_key: &RepositoryKey, subject: &SubjectKey, is_expected: impl Fn(&Tag) -> bool) {
        let key = (repository_key.clone(), subject.clone());
        if let Some(missing) = self.missing.get(&key) {
            let mut missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.retain(|tag, _| is_expected(tag));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[tokio::test(start_paused = true)]
    async fn a_tag_is_missing_until_it_is_there_or_not_expected_or_for_ten_minutes() {
        let (missing, repository_key) = (MissingTags::new(Duration::from_secs(30)), RepositoryKey::new("u", "r"));
        let subject = SubjectKey::of(&Digest::sha256(b"subject"));
        let tag = Tag::parse(&format!("{subject}.sig")).unwrap();
        let is_missing = || missing.is_missing(&repository_key, &subject, &tag).as_secs();
        let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        assert_eq!(is_missing(), 0);
        advance(40).await;
        assert_eq!(is_missing(), 40);
        missing.keep(&repository_key, &subject, |_| true);
        assert_eq!(is_missing(), 40);
        missing.keep(&repository_key, &subject, |_| false);
        assert_eq!(is_missing(), 0);
        advance(40).await;
        missing.is_there(&repository_key, &tag);
        assert_eq!(is_missing(), 0);
        advance(70).await;
        assert_eq!(is_missing(), 0, "nobody asked meanwhile");
        for round in 1..15 {
            advance(40).await;
            assert_eq!(is_missing(), round * 40);
        }
        advance(40).await;
        assert_eq!(is_missing(), 0, "ten minutes");
    }
}
