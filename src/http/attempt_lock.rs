//! A lock that shares failures: callers queued behind a failed attempt get its error instead of retrying in turn.

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// When somebody last failed, and why.
type FailedAttempt<E> = Option<(Instant, E)>;

/// `E` says why there was nothing to be had.
pub(crate) struct AttemptLock<E>(Mutex<FailedAttempt<E>>);

/// Nobody else asks until it is dropped.
pub(crate) struct Attempt<'a, E>(MutexGuard<'a, FailedAttempt<E>>);

impl<E> Default for AttemptLock<E> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<E: Clone> AttemptLock<E> {
    /// Waits for a turn: then what was asked for may have been found by others. An error is that of somebody who failed while
    /// this waited; a queue in which each waits for a failure of its own could last for hours.
    pub(crate) async fn wait(&self) -> Result<Attempt<'_, E>, E> {
        let since = Instant::now();
        let failed = self.0.lock().await;
        match &*failed {
            Some((at, error)) if *at > since => Err(error.clone()),
            _ => Ok(Attempt(failed)),
        }
    }
}

impl<E> Attempt<'_, E> {
    /// Nothing was found, also for those who wait.
    pub(crate) fn failed(mut self, error: E) {
        *self.0 = Some((Instant::now(), error));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_that_of_all_who_waited_and_of_nobody_later() {
        let (attempt_lock, asked) = (AttemptLock::default(), AtomicUsize::new(0));
        let ask = async || {
            let attempt = attempt_lock.wait().await?;
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(30)).await;
            attempt.failed("late");
            Err::<(), _>("late")
        };
        let begun = Instant::now();
        let all = futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert!(all.iter().all(|answer| *answer == Err("late")));
        assert_eq!((asked.load(Ordering::Relaxed), begun.elapsed().as_secs()), (1, 30));
        ask().await.unwrap_err();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
