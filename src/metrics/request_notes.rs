//! What is noted of a caller's request by the layers that work for it, for its line in the access log.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::SignedPull;

tokio::task_local! {
    static CURRENT: RequestNotes;
}

/// How what refshim remembers took part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// It gave the answer: the registry need not be asked.
    Fresh = 1,
    /// It gave an answer that is refreshed behind it.
    Refreshing,
    /// It gave the answer after the registry said that nothing has changed.
    Confirmed,
    /// It gave an old answer, because the registry fails.
    Stale,
    /// It was looked up in vain.
    Miss,
}

impl CacheUse {
    const ALL: [Self; 5] = [Self::Fresh, Self::Refreshing, Self::Confirmed, Self::Stale, Self::Miss];

    /// As the log has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Refreshing => "refreshing",
            Self::Confirmed => "confirmed",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// The notes on one request. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RequestNotes(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    upstream_requests: AtomicU32,
    upstream_microseconds: AtomicU64,
    /// A [`CacheUse`]; 0 for none.
    cache: AtomicU8,
    signed_pull: OnceLock<SignedPull>,
}

impl RequestNotes {
    /// Runs the work on the request, and what it calls.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Those of the request that this task works for.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Notes a request to the registry that was answered, or given up, after `time`.
    pub fn upstream_request(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.upstream_requests.fetch_add(1, Ordering::Relaxed);
        self.0.upstream_microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Requests to the registry that were made for this one.
    pub fn upstream_requests(&self) -> u32 {
        self.0.upstream_requests.load(Ordering::Relaxed)
    }

    /// The sum of the times until each of them was answered. Many run at the same time.
    pub fn upstream_time(&self) -> Duration {
        Duration::from_micros(self.0.upstream_microseconds.load(Ordering::Relaxed))
    }

    /// `None` where nothing was looked up.
    pub fn cache(&self) -> Option<CacheUse> {
        let noted = self.0.cache.load(Ordering::Relaxed);
        CacheUse::ALL.into_iter().find(|how| *how as u8 == noted)
    }

    /// `None` where no image was pulled, or that is not noted.
    pub fn signed_pull(&self) -> Option<SignedPull> {
        self.0.signed_pull.get().copied()
    }
}

/// Notes what the cache gave; the last word counts.
pub fn note_cache_use(how: CacheUse) {
    let _ = CURRENT.try_with(|RequestNotes(notes)| notes.cache.store(how as u8, Ordering::Relaxed));
}

/// Notes that an image is pulled.
pub fn note_signed_pull(signed: SignedPull) {
    // One request pulls one image.
    let _ = CURRENT.try_with(|RequestNotes(notes)| _ = notes.signed_pull.set(signed));
}

/// Work that becomes a task of its own, and still belongs to the request that begins it.
pub fn for_current_request<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    RequestNotes::current().unwrap_or_default().scope(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_for_a_request_is_noted_there_also_by_tasks_of_its_own() {
        let notes = RequestNotes::default();
        let asked = |milliseconds| {
            let current = RequestNotes::current().unwrap();
            current.upstream_request(Duration::from_millis(milliseconds));
        };
        notes
            .scope(async {
                asked(2);
                note_cache_use(CacheUse::Miss);
                let task = tokio::spawn(for_current_request(async move {
                    asked(3);
                    note_cache_use(CacheUse::Stale);
                }));
                task.await.unwrap();
                let other = tokio::spawn(async { RequestNotes::current().is_none() });
                assert!(other.await.unwrap());
            })
            .await;
        assert_eq!(notes.upstream_requests(), 2);
        assert_eq!(notes.upstream_time(), Duration::from_millis(5));
        assert_eq!(notes.cache(), Some(CacheUse::Stale));
    }
}
