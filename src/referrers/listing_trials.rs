//! Subjects whose computed tags were asked for although a listing lacks them, and found to be absent. That says something of the
//! subject alone: an unsigned image proves nothing of a signed one. A few of them are taken for the whole repository, because
//! asking for every subject would cost more than a listing, but never at a registry of which another listing lacked a tag.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::oci::SubjectKey;

/// How long a repository is taken to list only a part of its tags, and how often a whole one is tried again.
pub(super) const PARTIAL_FOR: Duration = Duration::from_secs(3600);
/// Different subjects by which a repository is tried within [`PARTIAL_FOR`].
const ENOUGH: usize = 3;
const SUBJECTS: u64 = 20_000;
const REPOSITORIES: u64 = 10_000;

/// Trials of one upstream.
pub(super) struct ListingTrials {
    subjects: ExpiringMap<(RepositoryKey, SubjectKey), Instant>,
    /// When the last subjects were tried, at most [`ENOUGH`] of them.
    repositories: ExpiringMap<RepositoryKey, Arc<Mutex<Vec<Instant>>>>,
    /// When a listing was last found to lack a tag.
    lacked: Mutex<Option<Instant>>,
}

impl Default for ListingTrials {
    fn default() -> Self {
        Self {
            subjects: ExpiringMap::new(SUBJECTS),
            repositories: ExpiringMap::new(REPOSITORIES),
            lacked: Mutex::default(),
        }
    }
}

impl ListingTrials {
    /// Whether the subject need not be tried: it was, or enough others were.
    pub fn suffice(&self, repository_key: &RepositoryKey, subject: &SubjectKey) -> bool {
        let key = (repository_key.clone(), subject.clone());
        if self.subjects.get(&key).is_some_and(is_recent) {
            return true;
        }
        let lacked = *self.lacked.lock().unwrap_or_else(PoisonError::into_inner);
        let others = self.repositories.get(repository_key);
        !lacked.is_some_and(is_recent) && others.is_some_and(|others| recent(&others) >= ENOUGH)
    }

    /// The registry stated of the subject's computed tags that they are absent.
    pub fn found_nothing(&self, repository_key: &RepositoryKey, subject: &SubjectKey) {
        let key = (repository_key.clone(), subject.clone());
        if self.subjects.get(&key).is_some_and(is_recent) {
            return;
        }
        self.subjects.insert(key, Instant::now());
        let tried = self.repositories.get_or_insert_with(repository_key, Arc::default);
        let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.len() >= ENOUGH {
            tried.remove(0);
        }
        tried.push(Instant::now());
    }

    /// A listing of this upstream lacks a tag that is there.
    pub fn found_unlisted(&self) {
        *self.lacked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn recent(tried: &Mutex<Vec<Instant>>) -> usize {
    let tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
    tried.iter().copied().filter(|&at| is_recent(at)).count()
}

fn is_recent(at: Instant) -> bool {
    at.elapsed() < PARTIAL_FOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn subject(name: &str) -> SubjectKey {
        SubjectKey::of(&Digest::sha256(name.as_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn three_subjects_stand_for_a_repository_for_an_hour() {
        let (trials, repository_key) = (ListingTrials::default(), RepositoryKey::new("u", "r"));
        for name in ["a", "b", "b", "b", "c"] {
            assert!(!trials.suffice(&repository_key, &subject("other")), "{name}");
            trials.found_nothing(&repository_key, &subject(name));
            assert!(trials.suffice(&repository_key, &subject(name)));
        }
        assert!(trials.suffice(&repository_key, &subject("other")));
        assert!(!trials.suffice(&RepositoryKey::new("u", "s"), &subject("a")));
        tokio::time::advance(PARTIAL_FOR).await;
        assert!(!trials.suffice(&repository_key, &subject("other")));
        assert!(!trials.suffice(&repository_key, &subject("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_listing_lacked_a_tag_each_subject_stands_for_itself() {
        let (trials, repository_key) = (ListingTrials::default(), RepositoryKey::new("u", "r"));
        for name in ["a", "b", "c"] {
            trials.found_nothing(&repository_key, &subject(name));
        }
        trials.found_unlisted();
        assert!(trials.suffice(&repository_key, &subject("a")));
        assert!(!trials.suffice(&repository_key, &subject("other")));
        tokio::time::advance(PARTIAL_FOR).await;
        for name in ["d", "e", "f"] {
            trials.found_nothing(&repository_key, &subject(name));
        }
        assert!(trials.suffice(&repository_key, &subject("other")));
    }
}
