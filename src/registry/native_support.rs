//! Where an upstream's own referrers API was seen to answer, and where it was proven to be missing.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as Lock, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::Upstream;
use crate::oci::RepositoryName;

/// A proven absence is believed for this long: registries are updated and reconfigured.
const MISSING_FOR: Duration = Duration::from_secs(10 * 60);
/// Repositories without the API after which one answer proves that another lacks it too.
const ENOUGH_REPOSITORIES: usize = 3;
/// Repositories of which something is remembered.
const REMEMBERED: u64 = 50_000;
/// Two repositories seldom share a lock, and sharing one only makes them wait.
const LOCKS: usize = 64;

/// What is known of the API in one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeSupport {
    /// It has answered here: an answer that looks like a missing route is a failure.
    Answers,
    /// It was proven to be missing here.
    Missing,
    /// It was proven to be missing in several repositories of an upstream that was never seen to have it: one question tells.
    MissingElsewhere,
    Unknown,
}

#[derive(Clone, Copy)]
enum Seen {
    Answering,
    MissingUntil(Instant),
}

/// What was seen of one upstream's API.
pub(super) struct NativeKnowledge {
    repositories: Cache<RepositoryName, Seen>,
    /// Repositories in which it is barred to callers without credentials, and until when that is believed.
    barred: Cache<RepositoryName, Instant>,
    /// Hosts such as Artifactory and Nexus have repositories of both kinds: what is missing in some says nothing of others.
    answers_somewhere: AtomicBool,
    /// Repositories in which it is missing, and until when that is believed; at most [`ENOUGH_REPOSITORIES`].
    missing: Lock<Vec<(RepositoryName, Instant)>>,
    proving: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for NativeKnowledge {
    fn default() -> Self {
        Self {
            repositories: Cache::new(REMEMBERED),
            barred: Cache::new(REMEMBERED),
            answers_somewhere: AtomicBool::new(false),
            missing: Lock::default(),
            proving: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl NativeKnowledge {
    fn of(&self, repository: &RepositoryName) -> NativeSupport {
        match self.repositories.get(repository) {
            Some(Seen::Answering) => NativeSupport::Answers,
            Some(Seen::MissingUntil(end)) if Instant::now() < end => NativeSupport::Missing,
            _ if self.is_missing_elsewhere() => NativeSupport::MissingElsewhere,
            _ => NativeSupport::Unknown,
        }
    }

    fn is_missing_elsewhere(&self) -> bool {
        if self.answers_somewhere.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|(_, end)| now < *end);
        missing.len() >= ENOUGH_REPOSITORIES
    }

    fn answered(&self, repository: &RepositoryName) {
        self.answers_somewhere.store(true, Ordering::Relaxed);
        self.repositories.insert(repository.clone(), Seen::Answering);
    }

    fn missed(&self, repository: &RepositoryName) {
        if matches!(self.repositories.get(repository), Some(Seen::Answering)) {
            return;
        }
        let end = Instant::now() + MISSING_FOR;
        self.repositories.insert(repository.clone(), Seen::MissingUntil(end));
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|(known, _)| known != repository);
        if missing.len() < ENOUGH_REPOSITORIES {
            missing.push((repository.clone(), end));
        }
    }
}

impl Upstream {
    /// What is known of [`Upstream::native_referrers`] in `repository`.
    pub fn native_support(&self, repository: &RepositoryName) -> NativeSupport {
        self.native.of(repository)
    }

    /// The API answered in `repository`. Remembered until the process ends.
    pub fn native_answered(&self, repository: &RepositoryName) {
        self.native.answered(repository);
    }

    /// The API was proven to be missing in `repository`: two answers of registries that lack it, about a subject that the
    /// registry itself gave, and a listing that succeeded between them; or one such answer, where it is missing elsewhere.
    /// Remembered for ten minutes.
    pub fn native_missing(&self, repository: &RepositoryName) {
        self.native.missed(repository);
    }

    /// A page that forbids was all that the API was, to a caller without credentials, in a `repository` of which the registry
    /// gave it the subject. It says nothing to callers with credentials. Remembered for ten minutes.
    pub fn native_barred(&self, repository: &RepositoryName) {
        let end = Instant::now() + MISSING_FOR;
        self.native.barred.insert(repository.clone(), end);
    }

    /// Whether nothing else is known of the API in `repository` than that callers without credentials are kept out.
    pub fn is_native_barred(&self, repository: &RepositoryName) -> bool {
        let end = self.native.barred.get(repository);
        end.is_some_and(|end| Instant::now() < end) && self.native_support(repository) == NativeSupport::Unknown
    }

    /// One proof for `repository` at a time: whoever waited finds what it brought in [`Upstream::native_support`].
    pub async fn native_proof(&self, repository: &RepositoryName) -> MutexGuard<'_, ()> {
        let stripe = self.native.hasher.hash_one(repository) % (LOCKS as u64);
        // Below LOCKS by the line above.
        self.native.proving[stripe as usize].lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> RepositoryName {
        RepositoryName::parse(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_believed_of_one_repository_and_expected_of_others_after_three() {
        let known = NativeKnowledge::default();
        for repository in ["a", "b", "b"] {
            known.missed(&name(repository));
        }
        assert_eq!(known.of(&name("a")), NativeSupport::Missing);
        assert_eq!(known.of(&name("other")), NativeSupport::Unknown);
        known.missed(&name("c"));
        assert_eq!(known.of(&name("other")), NativeSupport::MissingElsewhere);
        known.missed(&name("other"));
        assert_eq!(known.of(&name("other")), NativeSupport::Missing);
        tokio::time::advance(MISSING_FOR).await;
        assert_eq!(known.of(&name("a")), NativeSupport::Unknown);
        assert_eq!(known.of(&name("other")), NativeSupport::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn where_it_answers_in_one_repository_it_is_missing_only_where_that_was_proven() {
        let known = NativeKnowledge::default();
        known.answered(&name("with"));
        known.missed(&name("with"));
        for repository in ["a", "b", "c"] {
            known.missed(&name(repository));
        }
        assert_eq!(known.of(&name("with")), NativeSupport::Answers);
        assert_eq!(known.of(&name("a")), NativeSupport::Missing);
        assert_eq!(known.of(&name("other")), NativeSupport::Unknown);
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        assert_eq!(known.of(&name("with")), NativeSupport::Answers);
    }
}
