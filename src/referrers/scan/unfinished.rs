//! Searches that made all the requests that one may make, and go on with the next question.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::{Epoch, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::oci::Digest;
use crate::registry::Caller;

/// Requests for manifests and blobs of one search. At 100 ms each and 16 at once they take 12 s.
pub(in crate::referrers) const REQUESTS: usize = 2000;
/// A search that got no further for so long begins anew: what it read first may have changed.
const KEPT: Duration = Duration::from_secs(60);
/// A question that made so many requests got further, also where it was given up: what failed to come is asked for again by
/// the next, and no more than a few such are under way at once.
const FURTHER: usize = 100;
const MOST: u64 = 10_000;

type SearchKey = (RepositoryKey, Epoch, Digest);

#[derive(Clone, Copy)]
struct Begun {
    at: Instant,
    /// When it last got further.
    advanced: Instant,
}

/// When each unfinished search began, by repository and subject. What the registry said since then counts as said in this
/// search, however many questions it takes: otherwise the first answers would be asked for again before the last are known.
#[derive(Clone)]
pub(in crate::referrers) struct UnfinishedSearches(ExpiringMap<SearchKey, Begun>);

impl Default for UnfinishedSearches {
    fn default() -> Self {
        Self(ExpiringMap::builder(MOST).time_to_live(KEPT).build())
    }
}

impl UnfinishedSearches {
    /// Goes on with the search for what refers to `subject`, or begins it. Its requests are made in the name of `asker`.
    pub fn go_on(&self, repository_key: &RepositoryKey, epoch: &Epoch, subject: &Digest, asker: &Caller) -> Search {
        let key = (repository_key.clone(), epoch.clone(), subject.clone());
        // Whoever gives up and asks again, over and over, must not keep it from ever beginning anew.
        let begun = self.0.remove(&key).filter(|begun| begun.advanced.elapsed() < KEPT);
        let now = Instant::now();
        Search {
            goes_on: begun.is_some(),
            begun: begun.unwrap_or(Begun { at: now, advanced: now }),
            asker: asker.clone(),
            left: Some((self.clone(), key)),
        }
    }
}

/// A search that is under way. Unless it is finished, the next question goes on with it, also where this one is dropped: it
/// ran out of time, or nobody waited any more.
pub(in crate::referrers) struct Search {
    begun: Begun,
    /// Whether an earlier question began it.
    goes_on: bool,
    asker: Caller,
    left: Option<(UnfinishedSearches, SearchKey)>,
}

impl Search {
    /// How long before this question it began.
    pub fn since(&self) -> Duration {
        match self.goes_on {
            true => self.begun.at.elapsed(),
            false => Duration::ZERO,
        }
    }

    /// There is nothing to go on with.
    pub fn finish(mut self) {
        self.left = None;
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some((searches, key)) = self.left.take() {
            let advanced = match self.asker.spent() >= FURTHER {
                true => Instant::now(),
                false => self.begun.advanced,
            };
            searches.0.insert(key, Begun { advanced, ..self.begun });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_search_that_is_dropped_is_gone_on_with() {
        let (searches, repository_key, epoch) = (
            UnfinishedSearches::default(),
            RepositoryKey::new("u", "r"),
            Epoch::unknown(),
        );
        let asker = Caller::anonymous();
        let go_on = || searches.go_on(&repository_key, &epoch, &Digest::sha256(b"s"), &asker);
        let first = go_on();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(
            searches
                .go_on(&repository_key, &epoch, &Digest::sha256(b"t"), &asker)
                .since(),
            Duration::ZERO
        );
        drop(first);
        let second = go_on();
        assert_eq!(second.since(), Duration::from_secs(5));
        second.finish();
        assert_eq!(go_on().since(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_that_gets_no_further_begins_anew_after_a_minute() {
        let (searches, repository_key, epoch) = (
            UnfinishedSearches::default(),
            RepositoryKey::new("u", "r"),
            Epoch::unknown(),
        );
        let asker = Caller::anonymous();
        for seconds in [0, 25, 50, 0, 25] {
            let search = searches.go_on(&repository_key, &epoch, &Digest::sha256(b"s"), &asker);
            assert_eq!(search.since(), Duration::from_secs(seconds));
            drop(search);
            tokio::time::advance(Duration::from_secs(25)).await;
        }
    }
}
