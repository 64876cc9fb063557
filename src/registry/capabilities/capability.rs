//! One fact that was learned about an upstream, believed for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A fact that is believed until it expires.
#[derive(Debug)]
pub(super) struct Capability {
    /// How long `true` is believed.
    yes_for: Duration,
    /// How long `false` is believed.
    no_for: Duration,
    fact: Mutex<Option<(bool, Instant)>>,
}

impl Capability {
    pub(super) fn new(yes_for: Duration, no_for: Duration) -> Self {
        Self {
            yes_for,
            no_for,
            fact: Mutex::new(None),
        }
    }

    /// `None` when nothing was learned within the time for which it holds.
    pub(super) fn get(&self) -> Option<bool> {
        let (fact, until) = self.held()?;
        (Instant::now() < until).then_some(fact)
    }

    pub(super) fn learn(&self, fact: bool) {
        let until = Instant::now() + if fact { self.yes_for } else { self.no_for };
        *self.fact.lock().unwrap_or_else(PoisonError::into_inner) = Some((fact, until));
    }

    fn held(&self) -> Option<(bool, Instant)> {
        *self.fact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn facts_expire() {
        let learned = Capability::new(Duration::from_secs(100), Duration::from_secs(10));
        assert_eq!(learned.get(), None);
        learned.learn(true);
        tokio::time::advance(Duration::from_secs(99)).await;
        assert_eq!(learned.get(), Some(true));
        learned.learn(false);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(learned.get(), None);
    }
}
