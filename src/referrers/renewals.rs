//! Listings of large repositories that are asked about again and again: each is asked for anew before it is no longer fresh, so that
//! no question waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::{RepositoryKey, SingleFlight};
use crate::expiring_map::ExpiringMap;

/// Two questions within this time are a reason to expect a third one.
const ASKED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// So long after the last question nothing is renewed any more, unless a listing takes very long.
const WANTED_FOR: Duration = Duration::from_secs(2 * 60);
/// By how many times what a listing takes.
const WANTED_FOR_LISTINGS: u32 = 10;
/// The next question after that begins anew, with credentials of its own.
const RENEWED_FOR: Duration = Duration::from_secs(10 * 60);
/// What has just come to nothing is not begun again with every question.
const BEGUN_AGAIN_AFTER: Duration = Duration::from_secs(5);
const REMEMBERED: u64 = 10_000;

#[derive(Clone, Copy)]
struct Questions {
    last: Instant,
    again: bool,
}

/// Which repositories are asked about, and whose listings are being renewed.
pub(super) struct Renewals {
    questions: ExpiringMap<RepositoryKey, Questions>,
    /// Repositories whose listings have many pages.
    large: ExpiringMap<RepositoryKey, ()>,
    /// Whether there ever was one: where there is none, a question costs nothing here.
    has_large: AtomicBool,
    begun: ExpiringMap<RepositoryKey, ()>,
    /// Requests that the renewals under way make, each within the time that a listing is fresh.
    requests: AtomicUsize,
    tasks: SingleFlight<RepositoryKey, ()>,
}

impl Default for Renewals {
    fn default() -> Self {
        Self {
            questions: remembered_for(ASKED_WITHIN),
            large: remembered_for(ASKED_WITHIN),
            has_large: AtomicBool::new(false),
            begun: remembered_for(BEGUN_AGAIN_AFTER),
            requests: AtomicUsize::new(0),
            tasks: SingleFlight::new(RENEWED_FOR),
        }
    }
}

fn remembered_for<V: Clone + Send + Sync + 'static>(time: Duration) -> ExpiringMap<RepositoryKey, V> {
    ExpiringMap::builder(REMEMBERED).time_to_live(time).build()
}

impl Renewals {
    /// The repository's listing, which somebody asked for, has many pages.
    pub fn note_large(&self, repository_key: &RepositoryKey) {
        self.large.insert(repository_key.clone(), ());
        self.has_large.store(true, Ordering::Relaxed);
        let last = Instant::now();
        let first = || Questions { last, again: false };
        self.questions.get_or_insert_with(repository_key, first);
    }

    /// Notes a question about a repository whose listing has many pages; whether there was another one a while ago.
    pub fn asked(&self, repository_key: &RepositoryKey) -> bool {
        if !self.has_large.load(Ordering::Relaxed) || !self.large.contains_key(repository_key) {
            return false;
        }
        let again = self.questions.get(repository_key).is_some();
        let last = Instant::now();
        self.questions.insert(repository_key.clone(), Questions { last, again });
        again
    }

    /// Whether questions are to be expected, where a listing takes so long.
    pub fn is_wanted(&self, repository_key: &RepositoryKey, took: Duration) -> bool {
        let wanted_for = WANTED_FOR.max(took * WANTED_FOR_LISTINGS);
        let asked = self.questions.get(repository_key);
        asked.is_some_and(|asked| asked.again && asked.last.elapsed() < wanted_for)
    }

    /// Room for a renewal of so many requests, of `most` that all may make. `None`: others have taken it, and where all renewed, none
    /// would be done in time.
    pub fn reserve(self: &Arc<Self>, requests: usize, most: usize) -> Option<RenewalShare> {
        let more = |taken: usize| taken.checked_add(requests).filter(|all| *all <= most);
        self.requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(RenewalShare {
            renewals: self.clone(),
            requests,
        })
    }

    /// Requests for which room is taken.
    pub fn reserved(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Starts `renewing` behind whoever asks, unless that goes on already.
    pub fn start(&self, repository_key: &RepositoryKey, renewing: impl Future<Output = ()> + Send + 'static) {
        if self.begun.contains_key(repository_key) || self.tasks.is_under_way(repository_key) {
            return;
        }
        self.begun.insert(repository_key.clone(), ());
        let begin = || Ok::<_, std::convert::Infallible>(renewing);
        match self.tasks.try_start(repository_key.clone(), begin) {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }
}

/// The room of one renewal, given back when dropped.
pub(super) struct RenewalShare {
    renewals: Arc<Renewals>,
    requests: usize,
}

impl Drop for RenewalShare {
    fn drop(&mut self) {
        self.renewals.requests.fetch_sub(self.requests, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_renewed_than_is_done_in_time() {
        let renewals = Arc::new(Renewals::default());
        assert!(renewals.reserve(1210, 300).is_none());
        let first = renewals.reserve(110, 300);
        let second = renewals.reserve(190, 300);
        assert!(first.is_some() && second.is_some() && renewals.reserve(1, 300).is_none());
        drop(first);
        assert_eq!(renewals.reserved(), 190);
        assert!(renewals.reserve(110, 300).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_twice_is_expected_again_for_a_while() {
        let (renewals, key) = (Renewals::default(), RepositoryKey::new("u", "r"));
        let took = Duration::from_secs(1);
        assert!(
            !renewals.asked(&key) && !renewals.asked(&key),
            "its listing has one page"
        );
        renewals.note_large(&key);
        assert!(!renewals.is_wanted(&key, took));
        assert!(renewals.asked(&key) && renewals.is_wanted(&key, took));
        tokio::time::advance(WANTED_FOR).await;
        assert!(!renewals.is_wanted(&key, took));
        assert!(
            renewals.is_wanted(&key, WANTED_FOR),
            "ten times as long as a listing takes"
        );
    }
}
