//! Single flight: callers who ask the same question at the same time share one piece of work.
//!
//! The work is a task of its own with a deadline, so a caller who hangs up does not affect others who wait for the same answer. When the last
//! of them has gone, the work ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

/// The result of a question.
#[derive(Clone, Debug)]
pub struct Outcome<V> {
    /// `None` if the work missed its deadline or panicked.
    pub value: Option<V>,
    /// Whether the value is the result of this caller's own work, not of another's that it joined.
    pub leader: bool,
}

/// When work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// When nobody waits for it any more.
    WithLastWaiter,
    /// When it is done, even if nobody waits for it.
    ByItself,
}

/// `Some` once the work has ended, with its value if it has one.
type FlightResult<V> = Option<Option<V>>;

struct Flight<V> {
    /// Distinguishes it from a later one with the same key.
    number: u64,
    outcome: watch::Receiver<FlightResult<V>>,
    /// Who waits for it; whoever starts it in the background waits to the end.
    waiters: usize,
    task: AbortHandle,
}

struct Running<K, V> {
    flights: HashMap<K, Flight<V>>,
    started: u64,
}

type Shared<K, V> = Arc<Mutex<Running<K, V>>>;

/// The running work, by key.
pub struct SingleFlight<K, V> {
    running: Shared<K, V>,
    deadline: Duration,
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new(deadline: Duration) -> Self {
        let running = Running {
            flights: HashMap::new(),
            started: 0,
        };
        Self {
            running: Arc::new(Mutex::new(running)),
            deadline,
        }
    }

    /// Joins the running work for `key`, or starts `work`.
    pub async fn run<F>(&self, key: K, work: F) -> Outcome<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (waiter, leader) = self.join_or_start(key, work);
        waiter.landed(leader).await
    }

    /// As [`SingleFlight::run`], but calls `begin`, which may refuse to start work, if there is nothing to join.
    pub async fn try_run<F, E>(&self, key: K, ends: Ends, begin: impl FnOnce() -> Result<F, E>) -> Result<Outcome<V>, E>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut waiter, leader) = self.try_join_or_start(key, begin)?;
        waiter.stays = ends == Ends::ByItself;
        Ok(waiter.landed(leader).await)
    }

    /// Joins or starts work that continues to its end. Does not wait for it.
    pub fn try_start<F, E>(&self, key: K, begin: impl FnOnce() -> Result<F, E>) -> Result<(), E>
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.try_join_or_start(key, begin)?.0.stays = true;
        Ok(())
    }

    /// Whether work for `key` is running.
    pub fn is_under_way(&self, key: &K) -> bool {
        lock(&self.running).flights.contains_key(key)
    }

    fn join_or_start<F>(&self, key: K, work: F) -> (Waiter<K, V>, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let begun = self.try_join_or_start(key, || Ok::<_, std::convert::Infallible>(work));
        match begun {
            Ok(begun) => begun,
            Err(never) => match never {},
        }
    }

    fn try_join_or_start<F, E>(&self, key: K, begin: impl FnOnce() -> Result<F, E>) -> Result<(Waiter<K, V>, bool), E>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = lock(&self.running);
        if let Some(flight) = running.flights.get_mut(&key) {
            flight.waiters += 1;
            let waiter = self.waiter(key, flight.number, flight.outcome.clone());
            return Ok((waiter, false));
        }
        let work = begin()?;
        running.started += 1;
        let number = running.started;
        let (ended, outcome) = watch::channel(None);
        let flight = Flight {
            number,
            outcome: outcome.clone(),
            waiters: 1,
            task: self.spawn(key.clone(), number, work, ended),
        };
        running.flights.insert(key.clone(), flight);
        Ok((self.waiter(key, number, outcome), true))
    }

    /// Must be called with the map locked, so that the task cannot end before it is in the map.
    fn spawn<F>(&self, key: K, number: u64, work: F, ended: watch::Sender<FlightResult<V>>) -> AbortHandle
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (running, deadline) = (self.running.clone(), self.deadline);
        let done = FlightGuard { running, key, number };
        // Its log lines belong to the question that started it.
        let work = work.in_current_span().boxed();
        let task = async move {
            let value = tokio::time::timeout(deadline, work).await.ok();
            // Removed from the map before the result is published: a caller who asks after that starts new work.
            drop(done);
            ended.send_replace(Some(value));
        };
        // Boxed, as the work is: a task of its own type for each question is much code.
        tokio::spawn(task.boxed()).abort_handle()
    }

    fn waiter(&self, key: K, number: u64, outcome: watch::Receiver<FlightResult<V>>) -> Waiter<K, V> {
        Waiter {
            running: self.running.clone(),
            key,
            number,
            outcome,
            stays: false,
        }
    }
}

fn lock<K, V>(running: &Shared<K, V>) -> MutexGuard<'_, Running<K, V>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A caller who waits for running work. When the last one is dropped, the work ends.
struct Waiter<K: Eq + Hash, V> {
    running: Shared<K, V>,
    key: K,
    number: u64,
    outcome: watch::Receiver<FlightResult<V>>,
    /// Lets this waiter count until the work ends, even after it is dropped.
    stays: bool,
}

impl<K: Eq + Hash, V: Clone> Waiter<K, V> {
    async fn landed(mut self, leader: bool) -> Outcome<V> {
        let value = match self.outcome.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().flatten(),
            // The task panicked; its sender is gone.
            Err(_) => None,
        };
        Outcome { value, leader }
    }
}

impl<K: Eq + Hash, V> Drop for Waiter<K, V> {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let mut running = lock(&self.running);
        let Some(flight) = running.flights.get_mut(&self.key) else {
            return;
        };
        if flight.number != self.number {
            return;
        }
        flight.waiters -= 1;
        if flight.waiters > 0 {
            return;
        }
        let ended = running.flights.remove(&self.key);
        drop(running);
        if let Some(flight) = ended {
            flight.task.abort();
        }
    }
}

/// Removes finished work from the map, also if it panicked.
struct FlightGuard<K: Eq + Hash, V> {
    running: Shared<K, V>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V> Drop for FlightGuard<K, V> {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        let flight = running.flights.get(&self.key);
        if flight.is_some_and(|flight| flight.number == self.number) {
            running.flights.remove(&self.key);
        }
        // Frees the memory of a large table after a peak.
        if running.flights.is_empty() {
            running.flights.shrink_to_fit();
        }
    }
}

#[cfg(test)]
#[path = "single_flight_tests.rs"]
mod tests;
