//! How many requests a second go to the registry that nobody waits for, whichever repositories they are about: each takes its turn
//! in the order of their coming.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::registry::background_work::BackgroundWork;

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

    /// Waits for a turn, or until somebody waits for the work.
    pub(super) async fn turn(&self, work: &BackgroundWork) {
        let turn = async { sleep_until(self.take_turn(Instant::now())).await };
        tokio::select! {
            // A turn that is not needed is left to others.
            biased;
            () = work.hurried() => {}
            () = turn => {}
        }
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

    #[tokio::test(start_paused = true)]
    async fn what_somebody_waits_for_takes_no_turns() {
        let (rate, work, begun) = (BackgroundRate::new(1), BackgroundWork::default(), Instant::now());
        rate.turn(&work).await;
        let hurry = async {
            tokio::task::yield_now().await;
            work.hurry();
        };
        // The second turn would begin after a second, a third one after two.
        tokio::join!(rate.turn(&work), hurry);
        rate.turn(&work).await;
        assert_eq!(Instant::now(), begun);
        rate.turn(&BackgroundWork::default()).await;
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(2),
            "the turn that was not waited for is not given again"
        );
    }

    #[test]
    fn turns_are_given_one_after_the_other_and_not_saved_up() {
        let (rate, now) = (BackgroundRate::new(10), Instant::now());
        let turns = [0, 0, 0, 1000, 1000].map(|at| rate.take_turn(now + Duration::from_millis(at)) - now);
        assert_eq!(turns.map(|turn| turn.as_millis()), [0, 100, 200, 1000, 1100]);
    }
}
