//! One asks while the others wait. Whoever waited need not ask again: neither for what was found meanwhile nor for why it was not.

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// When somebody last failed, and why.
type Failed<E> = Option<(Instant, E)>;

/// `E` says why there was nothing to be had.
pub(super) struct Turns<E>(Mutex<Failed<E>>);

/// Nobody else asks until it is dropped.
pub(super) struct Turn<'a, E>(MutexGuard<'a, Failed<E>>);

impl<E> Default for Turns<E> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<E: Clone> Turns<E> {
    /// Waits for a turn: then what was asked for may have been found by others. An error is that of somebody who failed while
    /// this waited; a queue in which each waits for a failure of its own could last for hours.
    pub(super) async fn wait(&self) -> Result<Turn<'_, E>, E> {
        let since = Instant::now();
        let failed = self.0.lock().await;
        match &*failed {
            Some((at, error)) if *at > since => Err(error.clone()),
            _ => Ok(Turn(failed)),
        }
    }
}

impl<E> Turn<'_, E> {
    /// Nothing was found, also for those who wait.
    pub(super) fn failed(mut self, error: E) {
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
        let (turns, asked) = (Turns::default(), AtomicUsize::new(0));
        let ask = async || {
            let turn = turns.wait().await?;
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(30)).await;
            turn.failed("late");
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
