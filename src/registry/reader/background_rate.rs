//! How many requests a second go to the registry that nobody waits for, whichever repositories they are about: each takes its turn
//! in the order of their coming.

use crate::registry::background_work::BackgroundWork;
use crate::registry::request_rate::RequestRate;

/// Turns of equal length.
pub(super) struct BackgroundRate(RequestRate);

impl BackgroundRate {
    pub(super) fn new(per_second: u32) -> Self {
        Self(RequestRate::new(per_second))
    }

    pub(super) fn per_second(&self) -> u32 {
        self.0.per_second()
    }

    /// Waits for a turn, or until somebody waits for the work.
    pub(super) async fn turn(&self, work: &BackgroundWork) {
        tokio::select! {
            // A turn that is not needed is left to others.
            biased;
            () = work.hurried() => {}
            () = self.0.wait() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

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
}
