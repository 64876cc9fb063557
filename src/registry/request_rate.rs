//! Requests one after the other, so many a second, in the order of their coming.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Begins requests at equal distances. Time in which nobody asked is not saved up.
#[derive(Debug)]
pub(super) struct RequestRate {
    per_second: u32,
    /// When the next request may begin.
    next: Mutex<Option<Instant>>,
}

impl RequestRate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            next: Mutex::new(None),
        }
    }

    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Waits until the next request may begin.
    pub(super) async fn wait(&self) {
        sleep_until(self.next_start(Instant::now())).await;
    }

    fn next_start(&self, now: Instant) -> Instant {
        let distance = Duration::from_secs(1) / self.per_second.max(1);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = next.map_or(now, |next| next.max(now));
        *next = Some(start + distance);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_begin_one_after_the_other_and_idle_time_is_not_saved_up() {
        let (rate, now) = (RequestRate::new(10), Instant::now());
        let starts = [0, 0, 0, 1000, 1000].map(|at| rate.next_start(now + Duration::from_millis(at)) - now);
        assert_eq!(starts.map(|start| start.as_millis()), [0, 100, 200, 1000, 1100]);
    }
}
