//! Content that many ask for at once before any of it is remembered: one of them reads it, the others wait for what memory has then.
//!
//! Only callers with the same credentials wait for each other: what the registry gives to one, or refuses, says nothing of others.

use std::time::Duration;

use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::timeout;

use super::keyed_locks::KeyedLocks;
use crate::oci::{Digest, RepositoryName};
use crate::registry::{Caller, CredentialHash};

/// How long a caller waits for another's read, which ends when that caller has taken the content.
const PATIENCE: Duration = Duration::from_secs(2);

/// The reads that are under way.
#[derive(Default)]
pub(super) struct ContentReads(KeyedLocks<(RepositoryName, Digest, CredentialHash)>);

/// Has others wait, until it is dropped: when the content is remembered, or will not be.
pub(super) struct ContentRead {
    _alone: OwnedRwLockWriteGuard<()>,
}

impl ContentReads {
    /// Begins to read; `None` where another with the same credentials was reading already, and has ended or takes long. Either way the
    /// content may be remembered by now. If it is not, all who waited ask for themselves, at once.
    pub async fn begin(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) -> Option<ContentRead> {
        let key = (repository.clone(), digest.clone(), caller.credential_hash());
        if let Some(alone) = self.0.try_alone(key.clone()) {
            return Some(ContentRead { _alone: alone });
        }
        // Whether it ended or takes long is the same to who waited.
        let _ = timeout(PATIENCE, self.0.shared(key)).await;
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
        assert_eq!(begun.elapsed(), PATIENCE);

        let (waited, ()) = tokio::join!(futures_util::future::join_all((0..50).map(|_| begin())), async {
            drop(read)
        });
        assert!(waited.iter().all(Option::is_none));
        assert_eq!(begun.elapsed(), PATIENCE, "they wait no longer than it reads");
        assert!(begin().await.is_some());
    }
}
