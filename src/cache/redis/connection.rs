//! The connection that all requests share. It is either open or closed.
//!
//! The first failure closes it, and nobody waits for Redis until [`super::ConnectionTask`] has opened another one. Values from before such a
//! gap are unverified afterwards, because this process may have missed writes of other replicas.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};
use tokio::sync::Notify;

use crate::cache::clock::{Clock, millis};

/// How long refshim stores nothing after Redis refused to.
const FULL_FOR: Duration = Duration::from_secs(1);

pub(super) struct RedisConnection {
    live: RwLock<Option<LiveConnection>>,
    broken: Notify,
    clock: Clock,
    /// End of the last gap, in milliseconds since 1970; zero if there was none.
    unverified_before: AtomicU64,
    /// Milliseconds since 1970 up to which nothing is stored.
    full_until: AtomicU64,
    /// The last attempt to connect failed.
    down: AtomicBool,
    /// Connections that broke or could not be made.
    failures: AtomicU64,
}

/// One connection.
#[derive(Clone)]
pub(super) struct LiveConnection {
    connection: MultiplexedConnection,
    /// Longer, for commands that are worth waiting for.
    patience: Duration,
    /// The server's `run_id`.
    run: Arc<str>,
    /// Distinguishes it from earlier connections.
    number: u64,
    connection_state: Weak<RedisConnection>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The connection is closed.
    Gone,
    /// Redis refused the command.
    Refused(RedisError),
}

impl RedisConnection {
    pub fn new(clock: Clock) -> Self {
        Self {
            live: RwLock::default(),
            broken: Notify::new(),
            clock,
            unverified_before: AtomicU64::new(0),
            full_until: AtomicU64::new(0),
            down: AtomicBool::new(false),
            failures: AtomicU64::new(0),
        }
    }

    pub fn live(&self) -> Option<LiveConnection> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a new connection available. `after_gap` is false for the first one only.
    pub fn open(&self, live: LiveConnection, after_gap: bool) {
        if after_gap {
            self.mark_unverified();
        }
        self.down.store(false, Ordering::Relaxed);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    pub fn close(&self) {
        // The gap is recorded first, so that whoever sees the closed connection already treats older values as unverified.
        self.mark_unverified();
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes connection `number`, unless there is a newer one already.
    fn fail(&self, number: u64, error: &dyn Display) {
        self.mark_unverified();
        {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            if live.as_ref().is_none_or(|live| live.number != number) {
                return;
            }
            *live = None;
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "the shared cache failed; going on from memory");
        self.broken.notify_one();
    }

    /// Resolves when an open connection was closed.
    pub async fn broken(&self) {
        self.broken.notified().await;
    }

    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// An attempt to connect failed.
    pub fn mark_down(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.down.store(true, Ordering::Relaxed);
    }

    fn mark_unverified(&self) {
        self.unverified_before
            .fetch_max(millis(self.clock.now()), Ordering::SeqCst);
    }

    pub fn unverified_before(&self) -> Duration {
        Duration::from_millis(self.unverified_before.load(Ordering::SeqCst))
    }

    /// Redis refused to store a value.
    pub fn full(&self, error: &RedisError) {
        let until = millis(self.clock.now() + FULL_FOR);
        let before = self.full_until.swap(until, Ordering::Relaxed);
        if before + millis(FULL_FOR) < until {
            tracing::warn!(%error, "the shared cache stores nothing");
        }
    }

    pub fn is_full(&self) -> bool {
        millis(self.clock.now()) < self.full_until.load(Ordering::Relaxed)
    }
}

impl LiveConnection {
    pub fn new(
        connection: MultiplexedConnection,
        run: Arc<str>,
        patience: Duration,
        number: u64,
        connection_state: &Arc<RedisConnection>,
    ) -> Self {
        Self {
            connection,
            patience,
            run,
            number,
            connection_state: Arc::downgrade(connection_state),
        }
    }

    pub fn run(&self) -> &str {
        &self.run
    }

    /// Runs a command with the short timeout.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CommandError> {
        let mut connection = self.connection.clone();
        let answer = command.query_async(&mut connection).await;
        answer.map_err(|error| self.command_error(error))
    }

    /// Runs a command with the long timeout.
    pub async fn publish(&self, pipeline: &Pipeline) -> Result<(), CommandError> {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(self.patience);
        let answer = pipeline.query_async(&mut connection).await;
        answer.map_err(|error| self.command_error(error))
    }

    fn command_error(&self, error: RedisError) -> CommandError {
        if is_refusal(&error) {
            return CommandError::Refused(error);
        }
        self.abandon(&error);
        CommandError::Gone
    }

    /// Closes the connection for everybody.
    pub fn abandon(&self, error: &dyn Display) {
        if let Some(connection_state) = self.connection_state.upgrade() {
            connection_state.fail(self.number, error);
        }
    }
}

/// Whether Redis works and only this command was refused.
fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::BusyLoading | ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown
        ),
        // Redis cannot save its data and therefore refuses all writes, deletions included.
        ErrorKind::Extension => !matches!(error.code(), Some("MISCONF" | "NOAUTH")),
        ErrorKind::UnexpectedReturnType => true,
        _ => false,
    }
}
