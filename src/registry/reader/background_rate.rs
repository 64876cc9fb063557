//! How many requests a second go to the registry that nobody waits for, whichever repositories they are about: each takes its turn
//! in the order of their coming.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Turns of equal length.
pub(super) struct BackgroundRate {
    per_second: u32,
    /// When the next turn begins.
    next: Mutex<Option<Instant>>,
}

impl BackgroundRate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            next: Mutex::new(None),
        }
    }

    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        sleep_until(self.take_turn(Instant::now())).await;
    }

    fn take_turn(&self, now: Instant) -> Instant {
        let length = Duration::from_secs(1) / self.per_second.max(1);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + length);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_given_one_after_the_other_and_not_saved_up() {
        let (rate, now) = (BackgroundRate::new(10), Instant::now());
        let turns = [0, 0, 0, 1000, 1000].map(|at| rate.take_turn(now + Duration::from_millis(at)) - now);
        assert_eq!(turns.map(|turn| turn.as_millis()), [0, 100, 200, 1000, 1100]);
    }
}
