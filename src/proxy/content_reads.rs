//! Content that many ask for at once before any of it is remembered: one of them reads it, the others wait for what memory has then.
//!
//! Only callers with the same credentials wait for each other: what the registry gives to one, or refuses, says nothing of others.

use std::time::Duration;

use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::timeout;

use super::keyed_locks::KeyedLocks;
use crate::oci::{Digest, RepositoryName};
use crate::registry::{Caller, CredentialHash};

/// How long a caller waits for the registry's answer to another's read: one that is slow to answer is not helped by more questions.
const UNTIL_ANSWERED: Duration = Duration::from_secs(10);
/// How long it then waits for the content, which has come when that other caller has taken it.
const UNTIL_TAKEN: Duration = Duration::from_secs(2);

type ReadKey = (RepositoryName, Digest, CredentialHash);

/// The reads that are under way.
#[derive(Default)]
pub(super) struct ContentReads {
    unanswered: KeyedLocks<ReadKey>,
    under_way: KeyedLocks<ReadKey>,
}

/// Has others wait, until it is dropped: when the content is remembered, or will not be.
pub(super) struct ContentRead {
    _unanswered: Option<OwnedRwLockWriteGuard<()>>,
    _under_way: OwnedRwLockWriteGuard<()>,
}

impl ContentRead {
    /// The registry has answered, and its content is on its way to a caller, who may be slow.
    pub fn answered(self) -> Self {
        Self {
            _unanswered: None,
            ..self
        }
    }
}

impl ContentReads {
    /// Begins to read; `None` where another with the same credentials was reading already, and has ended or takes long. Either way the
    /// content may be remembered by now. If it is not, all who waited ask for themselves, at once.
    pub async fn begin(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) -> Option<ContentRead> {
        let key = (repository.clone(), digest.clone(), caller.credential_hash());
        if let Some(under_way) = self.under_way.try_alone(key.clone()) {
            return Some(ContentRead {
                _unanswered: self.unanswered.try_alone(key),
                _under_way: under_way,
            });
        }
        // Whether it ended or takes long is the same to who waited.
        if timeout(UNTIL_ANSWERED, self.unanswered.shared(key.clone()))
            .await
            .is_ok()
        {
            let _ = timeout(UNTIL_TAKEN, self.under_way.shared(key)).await;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn content() -> (RepositoryName, Digest) {
        (RepositoryName::parse("app").unwrap(), Digest::sha256(b"x"))
    }

    #[tokio::test(start_paused = true)]
    async fn others_wait_until_the_read_ends_and_no_longer_than_they_have_patience() {
        let (reads, (repository, digest), caller) = (ContentReads::default(), content(), Caller::anonymous());
        let begin = || reads.begin(&repository, &digest, &caller);
        let read = begin().await.expect("nobody reads yet");
        let begun = Instant::now();
        assert!(begin().await.is_none());
        assert_eq!(begun.elapsed(), UNTIL_ANSWERED);
        let read = read.answered();
        let answered = Instant::now();
        assert!(begin().await.is_none());
        assert_eq!(answered.elapsed(), UNTIL_TAKEN);

        let (waited, ()) = tokio::join!(futures_util::future::join_all((0..50).map(|_| begin())), async {
            drop(read)
        });
        assert!(waited.iter().all(Option::is_none));
        assert_eq!(answered.elapsed(), UNTIL_TAKEN, "they wait no longer than it reads");
        assert!(begin().await.is_some());
    }
}
