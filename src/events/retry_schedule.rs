//! When a receiver that failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// Pauses double up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The failures of one receiver in a row, whichever events they were about.
#[derive(Debug)]
pub(super) struct RetrySchedule {
    first_pause: Duration,
    /// A wait that a receiver asks for is cut to this.
    longest_wait: Duration,
    failures: u32,
    /// When the receiver may be tried again.
    due: Option<RetryTime>,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryTime {
    pub at: Instant,
    /// The receiver asked for it, by `Retry-After`.
    pub is_asked_for: bool,
}

impl RetrySchedule {
    pub fn new(first_pause: Duration, longest_wait: Duration) -> Self {
        Self {
            first_pause,
            longest_wait,
            failures: 0,
            due: None,
        }
    }

    /// When to try again; `None` for at once.
    pub fn due(&self) -> Option<RetryTime> {
        self.due
    }

    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.due = None;
    }

    /// `asked` is how long the receiver wants to be left alone.
    pub fn failed(&mut self, asked: Option<Duration>) {
        let doubled = self.first_pause.saturating_mul(1 << self.failures.min(20));
        let mean = doubled.min(LONGEST_PAUSE.max(self.first_pause));
        // Jitter: what failed together does not come back together.
        let pause = mean.mul_f64(rand::random_range(0.5..1.5));
        let asked = asked
            .map(|asked| asked.min(self.longest_wait))
            .filter(|asked| *asked >= pause);
        self.failures = self.failures.saturating_add(1);
        self.due = Some(RetryTime {
            at: Instant::now() + asked.unwrap_or(pause),
            is_asked_for: asked.is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(schedule: &RetrySchedule) -> f64 {
        (schedule.due().unwrap().at - Instant::now()).as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_with_jitter_until_the_receiver_answers() {
        let mut schedule = RetrySchedule::new(Duration::from_secs(1), Duration::from_secs(3600));
        assert_eq!(schedule.due(), None);
        for mean in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0] {
            schedule.failed(None);
            let pause = pause(&schedule);
            assert!((mean * 0.5..mean * 1.5).contains(&pause), "{pause} {mean}");
        }
        schedule.succeeded();
        assert_eq!((schedule.due(), schedule.is_failing()), (None, false));
        schedule.failed(None);
        assert!(pause(&schedule) < 1.5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_is_left_alone_as_long_as_it_asks_within_reason() {
        let mut schedule = RetrySchedule::new(Duration::from_secs(1), Duration::from_secs(3600));
        for (asked, waited) in [(60, 60.0), (u64::MAX, 3600.0)] {
            schedule.failed(Some(Duration::from_secs(asked)));
            assert_eq!(pause(&schedule), waited);
            assert!(schedule.due().unwrap().is_asked_for);
        }
        schedule.succeeded();
        schedule.failed(Some(Duration::ZERO));
        assert!(!schedule.due().unwrap().is_asked_for && pause(&schedule) >= 0.5);
    }
}
