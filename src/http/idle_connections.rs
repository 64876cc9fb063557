//! The idle HTTP/1.1 connections to one host, and who waits for one of them.
//!
//! hyper-util's `client::pool::cache` is close to it, but takes connections back in the middle of a response and keeps them for any time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::http1_connection::Http1Connection;

/// How long an idle connection is kept. Shorter than the idle timeout of common load balancers (60 s), so that they do not close it under a request.
pub(super) const POOL_IDLE: Duration = Duration::from_secs(50);
/// How often old ones are looked for.
const SWEEP: Duration = Duration::from_secs(10);

pub(super) struct IdleConnections {
    state: Mutex<PoolState>,
    sweeper: Arc<Sweeper>,
    /// `sweeper`'s.
    waker: Waker,
}

#[derive(Default)]
struct PoolState {
    /// The one that was used last is at the end.
    #[expect(
        clippy::vec_box,
        reason = "a connection is large, and goes in and out for each request"
    )]
    idle: Vec<Box<Http1Connection>>,
    /// Those who wait for a connection, or did before they got a new one or an error.
    waiting: VecDeque<oneshot::Sender<Box<Http1Connection>>>,
}

/// An idle connection, or the next that becomes idle.
pub(super) enum Checkout {
    Idle(Box<Http1Connection>),
    Waiting(oneshot::Receiver<Box<Http1Connection>>),
}

impl IdleConnections {
    pub(super) fn new() -> Self {
        let sweeper = Arc::new(Sweeper(Notify::new()));
        Self {
            state: Mutex::default(),
            waker: Waker::from(Arc::clone(&sweeper)),
            sweeper,
        }
    }

    pub(super) fn check_out(&self) -> Checkout {
        let mut state = self.state();
        if let Some(latest) = state
            .idle
            .iter()
            .rposition(|connection| connection.is_younger(POOL_IDLE))
        {
            return Checkout::Idle(state.idle.remove(latest));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Checkout::Waiting(receiver)
    }

    /// Takes an idle connection back, for whoever waits longest or for later.
    pub(super) fn put(&self, mut connection: Box<Http1Connection>) {
        connection.begin_idle(&self.waker);
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        // Not where the peer says that it keeps none: they would be many until they are swept.
        if connection.is_younger(POOL_IDLE) {
            state.idle.push(connection);
        } else {
            drop(state);
            connection.close();
        }
    }

    /// Closes those that have been idle since `since` or for longer. One that had been so since then, and was taken because it was used last,
    /// turned out to be dead: after a restart of the registry, or of something on the way, so are they.
    pub(super) fn close_older(&self, since: Instant) {
        let is_older = |connection: &mut Box<Http1Connection>| connection.idle_since() <= since;
        let older: Vec<_> = self.state().idle.extract_if(.., is_older).collect();
        for connection in older {
            connection.close();
        }
    }

    /// Closes idle connections that the peer closed, and those that were idle for [`POOL_IDLE`], and forgets who waits no longer.
    fn sweep(&self) {
        let is_over = |connection: &mut Box<Http1Connection>| {
            !connection.is_still_idle(&self.waker) || !connection.is_younger(POOL_IDLE)
        };
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.is_closed());
        let ended: Vec<_> = state.idle.extract_if(.., is_over).collect();
        drop(state);
        for connection in ended {
            connection.close();
        }
    }

    /// The lock is never held while something can panic.
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task that sweeps, which ends with the connections.
    pub(super) fn start_sweeper(self: &Arc<Self>) {
        tokio::spawn(sweep_regularly(Arc::downgrade(self), Arc::clone(&self.sweeper)));
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.sweeper.0.notify_one();
    }
}

async fn sweep_regularly(connections: Weak<IdleConnections>, sweeper: Arc<Sweeper>) {
    while let Some(connections) = connections.upgrade() {
        connections.sweep();
        drop(connections);
        let _ = tokio::time::timeout(SWEEP, sweeper.0.notified()).await;
    }
}

/// Woken when something happens on an idle connection.
struct Sweeper(Notify);

impl Wake for Sweeper {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
