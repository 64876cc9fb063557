//! A clock that follows tokio's, so that tests which pause tokio's clock control freshness too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Time since 1970, read once and then advanced with tokio's clock: comparable between processes, and steady within one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_unix: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        let started_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix,
        }
    }
}

impl Clock {
    /// Time since 1970.
    pub fn now(&self) -> Duration {
        self.started_unix + self.started.elapsed()
    }
}

/// Whole milliseconds, at least one: Redis rejects zero as a time to live.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
