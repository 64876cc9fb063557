//! Where an upstream's own referrers API was seen to answer, and where it was proven to be missing.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::expiring_map::ExpiringMap;
use crate::oci::{Digest, RepositoryName};
use crate::registry::caller::Caller;

/// A proven absence is believed for this long: registries are updated and reconfigured.
const MISSING_FOR: Duration = Duration::from_secs(10 * 60);
/// Repositories without the API after which one answer proves that another lacks it too.
const ENOUGH_REPOSITORIES: usize = 3;
/// Credentials to which the API is missing in a repository, after which one answer proves that it is missing to another too.
const ENOUGH_CREDENTIALS: usize = 3;
/// Subjects of which the API holds nothing, though the registry gave them, after which it is missing: an index may lag.
const ENOUGH_SUBJECTS: usize = 3;
/// Credentials of one repository to which it is remembered to be missing.
const CREDENTIALS: usize = 100;
/// Repositories of which something is remembered.
const REMEMBERED: u64 = 50_000;
/// Two repositories seldom share a lock, and sharing one only makes them wait.
const LOCKS: usize = 64;

/// What is known of the API in one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeSupport {
    /// It has answered here: an answer that looks like a missing route is a failure.
    Answers,
    /// It was proven to be missing here to this caller's credential. Others are perhaps answered.
    Missing,
    /// It was proven to be missing here to several other credentials, or in several repositories of an upstream that was never
    /// seen to have it: one question tells.
    MissingElsewhere,
    Unknown,
}

impl NativeSupport {
    /// Whether this caller need not ask.
    pub fn is_missing(self) -> bool {
        self == Self::Missing
    }
}

/// The answer of a registry without the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeAbsence<'a> {
    /// See [`crate::registry::Native::NoRoute`].
    NoRoute,
    /// See [`crate::registry::Native::Barred`]: says nothing of other credentials.
    Barred,
    /// It holds nothing about this subject, which the registry gave: proves something once it says so of several. Says nothing of
    /// other credentials.
    NothingOf(&'a Digest),
}

#[derive(Clone)]
enum Seen {
    Answering,
    MissingTo(Arc<[MissingTo]>),
}

/// The API was proven to be missing to one credential.
#[derive(Clone, Copy)]
struct MissingTo {
    credential: u64,
    until: Instant,
    /// Whether it says something of other credentials.
    counts: bool,
}

/// Subjects of which one credential was told that there is nothing, and until when that counts; at most [`ENOUGH_SUBJECTS`].
type SubjectsWithNothing = Arc<[(Digest, Instant)]>;

/// What was seen of one upstream's API.
pub struct NativeKnowledge {
    repositories: ExpiringMap<RepositoryName, Seen>,
    nothing: ExpiringMap<(RepositoryName, u64), SubjectsWithNothing>,
    /// Hosts such as Artifactory and Nexus have repositories of both kinds: what is missing in some says nothing of others.
    answers_somewhere: AtomicBool,
    /// Repositories in which it is missing, and until when that is believed; at most [`ENOUGH_REPOSITORIES`]. Held while
    /// anything is learned.
    missing_in: Lock<Vec<(RepositoryName, Instant)>>,
    proving: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for NativeKnowledge {
    fn default() -> Self {
        Self {
            repositories: ExpiringMap::new(REMEMBERED),
            nothing: ExpiringMap::new(REMEMBERED),
            answers_somewhere: AtomicBool::new(false),
            missing_in: Lock::default(),
            proving: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl NativeKnowledge {
    /// What is known of the API in `repository`, for `caller`.
    pub fn support(&self, repository: &RepositoryName, caller: &Caller) -> NativeSupport {
        self.of(repository, self.credential(caller))
    }

    /// The API was proven to be missing in `repository` to `caller`: two answers of registries that lack it, about a subject that
    /// the registry itself gave, and a listing that succeeded between them; or one such answer, where it is missing elsewhere.
    /// Remembered for ten minutes.
    pub fn missing(&self, repository: &RepositoryName, caller: &Caller, absence: NativeAbsence<'_>) {
        self.missed(repository, self.credential(caller), absence);
    }

    /// One proof for `repository` at a time: whoever waited finds what it brought in [`NativeKnowledge::support`].
    pub async fn proof(&self, repository: &RepositoryName) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(repository) % (LOCKS as u64);
        // Below LOCKS by the line above.
        self.proving[stripe as usize].lock().await
    }

    /// A hash that no other process can make.
    fn credential(&self, caller: &Caller) -> u64 {
        self.hasher
            .hash_one(caller.authorization().map(|value| value.as_bytes()))
    }

    fn of(&self, repository: &RepositoryName, credential: u64) -> NativeSupport {
        let proofs = match self.repositories.get(repository) {
            Some(Seen::Answering) => return NativeSupport::Answers,
            Some(Seen::MissingTo(proofs)) => proofs,
            None => Arc::default(),
        };
        let now = Instant::now();
        let current = || proofs.iter().filter(|proof| now < proof.until);
        if current().any(|proof| proof.credential == credential) {
            NativeSupport::Missing
        } else if current().filter(|proof| proof.counts).count() >= ENOUGH_CREDENTIALS || self.is_missing_elsewhere() {
            NativeSupport::MissingElsewhere
        } else {
            NativeSupport::Unknown
        }
    }

    fn is_missing_elsewhere(&self) -> bool {
        if self.answers_somewhere.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut missing = self.missing_in.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|(_, end)| now < *end);
        missing.len() >= ENOUGH_REPOSITORIES
    }

    /// The API answered in `repository`. Remembered until the process ends.
    pub fn answered(&self, repository: &RepositoryName) {
        let _learning = self.missing_in.lock().unwrap_or_else(PoisonError::into_inner);
        self.answers_somewhere.store(true, Ordering::Relaxed);
        self.repositories.insert(repository.clone(), Seen::Answering);
    }

    fn missed(&self, repository: &RepositoryName, credential: u64, absence: NativeAbsence<'_>) {
        let mut missing = self.missing_in.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match self.repositories.get(repository) {
            Some(Seen::Answering) => return,
            Some(Seen::MissingTo(proofs)) => proofs,
            None => Arc::default(),
        };
        if let NativeAbsence::NothingOf(subject) = absence
            && !self.says_nothing_of_several(repository, credential, subject)
        {
            return;
        }
        let now = Instant::now();
        let proof = MissingTo {
            credential,
            until: now + MISSING_FOR,
            counts: absence == NativeAbsence::NoRoute,
        };
        let others = known
            .iter()
            .filter(|known| known.credential != credential && now < known.until);
        let proofs = std::iter::once(&proof).chain(others).take(CREDENTIALS).copied();
        self.repositories
            .insert(repository.clone(), Seen::MissingTo(proofs.collect()));
        missing.retain(|(known, _)| known != repository);
        if proof.counts && missing.len() < ENOUGH_REPOSITORIES {
            missing.push((repository.clone(), proof.until));
        }
    }

    /// Counts `subject`, where the API was never seen to answer at all: where it was, this is how it answers.
    fn says_nothing_of_several(&self, repository: &RepositoryName, credential: u64, subject: &Digest) -> bool {
        if self.answers_somewhere.load(Ordering::Relaxed) {
            return false;
        }
        let (key, now) = ((repository.clone(), credential), Instant::now());
        let known = self.nothing.get(&key).unwrap_or_default();
        let others = known.iter().filter(|(known, until)| known != subject && now < *until);
        let newest = (subject.clone(), now + MISSING_FOR);
        let told = std::iter::once(&newest).chain(others).take(ENOUGH_SUBJECTS);
        let told: SubjectsWithNothing = told.cloned().collect();
        let is_enough = told.len() >= ENOUGH_SUBJECTS;
        self.nothing.insert(key, told);
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> RepositoryName {
        RepositoryName::parse(name).unwrap()
    }

    fn missed(known: &NativeKnowledge, repository: &str, credential: u64) {
        known.missed(&name(repository), credential, NativeAbsence::NoRoute);
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_believed_of_one_repository_and_expected_of_others_after_three() {
        let known = NativeKnowledge::default();
        for repository in ["a", "b", "b"] {
            missed(&known, repository, 1);
        }
        assert_eq!(known.of(&name("a"), 1), NativeSupport::Missing);
        assert_eq!(known.of(&name("other"), 1), NativeSupport::Unknown);
        missed(&known, "c", 1);
        assert_eq!(known.of(&name("other"), 1), NativeSupport::MissingElsewhere);
        missed(&known, "other", 1);
        assert_eq!(known.of(&name("other"), 1), NativeSupport::Missing);
        tokio::time::advance(MISSING_FOR).await;
        assert_eq!(known.of(&name("a"), 1), NativeSupport::Unknown);
        assert_eq!(known.of(&name("other"), 1), NativeSupport::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn where_it_answers_in_one_repository_it_is_missing_only_where_that_was_proven() {
        let known = NativeKnowledge::default();
        known.answered(&name("with"));
        missed(&known, "with", 1);
        for repository in ["a", "b", "c"] {
            missed(&known, repository, 1);
        }
        assert_eq!(known.of(&name("with"), 1), NativeSupport::Answers);
        assert_eq!(known.of(&name("a"), 1), NativeSupport::Missing);
        assert_eq!(known.of(&name("other"), 1), NativeSupport::Unknown);
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        assert_eq!(known.of(&name("with"), 1), NativeSupport::Answers);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_credential_lacks_others_are_asked_for_once_after_three_say_so() {
        let known = NativeKnowledge::default();
        for credential in [1, 1, 2] {
            missed(&known, "a", credential);
        }
        for credential in 3..10 {
            known.missed(&name("a"), credential, NativeAbsence::Barred);
        }
        assert_eq!(known.of(&name("a"), 2), NativeSupport::Missing);
        assert_eq!(known.of(&name("a"), 9), NativeSupport::Missing);
        assert_eq!(known.of(&name("a"), 10), NativeSupport::Unknown);
        missed(&known, "a", 10);
        assert_eq!(known.of(&name("a"), 11), NativeSupport::MissingElsewhere);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_about_a_subject_is_a_missing_route_only_after_three_subjects() {
        for answers_elsewhere in [false, true] {
            let known = NativeKnowledge::default();
            if answers_elsewhere {
                known.answered(&name("with"));
            }
            let told = |subject: &str| {
                let subject = Digest::sha256(subject.as_bytes());
                known.missed(&name("a"), 1, NativeAbsence::NothingOf(&subject));
                known.of(&name("a"), 1)
            };
            for subject in ["1", "2", "2", "1"] {
                assert_eq!(told(subject), NativeSupport::Unknown, "{subject}");
            }
            let expected = match answers_elsewhere {
                true => NativeSupport::Unknown,
                false => NativeSupport::Missing,
            };
            assert_eq!(told("3"), expected);
        }
    }
}
