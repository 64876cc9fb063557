//! Single flight: concurrent identical questions become one piece of work.
//!
//! The work is a task of its own with a deadline, so a caller who hangs up harms nobody who waits for the same.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument as _;

/// How a question was answered.
#[derive(Clone, Debug)]
pub struct Landed<V> {
    /// `None` when the work missed its deadline or died.
    pub value: Option<V>,
    /// Whether this caller's own work brought the value, rather than somebody else's.
    pub led: bool,
}

type Running<K, V> = Mutex<HashMap<K, watch::Receiver<Option<Option<V>>>>>;

/// Work that is under way, by key.
pub struct Flights<K, V> {
    running: Arc<Running<K, V>>,
    deadline: Duration,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new(deadline: Duration) -> Self {
        Self {
            running: Arc::default(),
            deadline,
        }
    }

    /// Joins the work that is under way for `key`, or starts `work`.
    pub async fn run<F>(&self, key: K, work: F) -> Landed<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut landing, led) = self.join_or_start(key, work);
        let value = match landing.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().flatten(),
            // The task panicked; its sender is gone.
            Err(_) => None,
        };
        Landed { value, led }
    }

    /// Starts `work` unless work for `key` is under way; does not wait.
    pub fn start<F>(&self, key: K, work: F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.join_or_start(key, work);
    }

    fn join_or_start<F>(&self, key: K, work: F) -> (watch::Receiver<Option<Option<V>>>, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = running.get(&key) {
            return (landing.clone(), false);
        }
        let (landed, landing) = watch::channel(None);
        running.insert(key.clone(), landing.clone());
        let done = Done {
            running: self.running.clone(),
            key,
        };
        let deadline = self.deadline;
        // What it logs belongs to the question that began it.
        let work = work.in_current_span();
        tokio::spawn(async move {
            let value = tokio::time::timeout(deadline, work).await.ok();
            // First off the map, then told: whoever asks after the answer starts anew.
            drop(done);
            landed.send_replace(Some(value));
        });
        (landing, true)
    }
}

/// Takes finished work off the map, also when it panics.
struct Done<K: Eq + Hash, V> {
    running: Arc<Running<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Done<K, V> {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_questions_are_one_piece_of_work() {
        let flights = Flights::new(Duration::from_secs(9));
        let runs = Arc::new(AtomicUsize::new(0));
        let work = || {
            let runs = runs.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                runs.fetch_add(1, Ordering::Relaxed)
            }
        };
        let (a, b) = tokio::join!(flights.run("k", work()), flights.run("k", work()));
        assert_eq!((a.value, b.value, a.led, b.led), (Some(0), Some(0), true, false));
        assert_eq!(flights.run("k", work()).await.value, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_who_hangs_up_harms_no_follower() {
        let flights = Arc::new(Flights::new(Duration::from_secs(9)));
        let slow = |n: u8| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            n
        };
        let leader = tokio::spawn({
            let flights = flights.clone();
            async move { flights.run("k", slow(1)).await }
        });
        tokio::task::yield_now().await;
        let follower = flights.run("k", slow(2));
        leader.abort();
        assert_eq!(follower.await.value, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn work_past_its_deadline_or_that_panics_is_no_value() {
        let flights: Flights<&str, u8> = Flights::new(Duration::from_secs(1));
        assert_eq!(flights.run("late", std::future::pending()).await.value, None);
        assert_eq!(
            flights.run("bad", async { panic!("expected by the test") }).await.value,
            None
        );
        assert_eq!(flights.run("late", async { 3 }).await.value, Some(3));
    }
}
