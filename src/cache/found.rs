//! What the tiers hold of one thing, and what that is worth.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::epoch::{Standing, WriteId};
use super::shared::SharedStore;
use super::{Cached, Key, Kind, Tier};

/// Clocks of replicas may differ by this much. What seems to come from further ahead is not believed.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// What one of the tiers holds.
pub(super) struct Found<T> {
    pub value: Arc<T>,
    /// Time since 1970 at which it was learned.
    pub at: Duration,
    pub epoch: Option<WriteId>,
    pub vouched: bool,
}

pub(super) fn in_memory<T>(own: Option<Found<T>>) -> (Option<Found<T>>, Tier) {
    let tier = if own.is_some() { Tier::Memory } else { Tier::Miss };
    (own, tier)
}

/// The second tier.
pub(super) struct Shared {
    pub store: Arc<dyn SharedStore>,
    pub puts: Arc<Semaphore>,
    /// When memory's own value is this old, another process may know better.
    pub second_look: Duration,
}

impl Shared {
    /// Whether another process cannot know better.
    pub fn is_enough<T>(&self, key: &Key, own: &Found<T>, now: Duration) -> bool {
        match key.kind() {
            // Content by its digest: there is no other.
            Kind::Manifest | Kind::Blob | Kind::Synthesised => true,
            // Every process learns something else.
            Kind::Learned | Kind::Written => false,
            _ => own.vouched && now.saturating_sub(own.at) < self.second_look,
        }
    }

    pub async fn find<T: Cached>(&self, key: &Key, now: Duration) -> Option<Found<T>> {
        let stored = self.store.get(key.id()).await?;
        let standing = standing(key, stored.epoch);
        if stored.at > now + CLOCK_SKEW || standing == Standing::Overwritten {
            return None;
        }
        let doubtful_before = self.store.doubtful_before();
        let doubtful = !doubtful_before.is_zero() && stored.at < doubtful_before + CLOCK_SKEW;
        let at = stored.at.min(now);
        Some(Found {
            value: Arc::new(T::decode(&key.id().detail, stored.bytes)?),
            // Another's clock may be ahead: what is doubtful must be so by this one.
            at: if doubtful { at.saturating_sub(CLOCK_SKEW) } else { at },
            epoch: stored.epoch,
            vouched: standing == Standing::Vouched && !doubtful,
        })
    }
}

pub(super) fn standing(key: &Key, learned_in: Option<WriteId>) -> Standing {
    match (key.asked_in(), learned_in) {
        (None, _) => Standing::Vouched,
        (Some(_), None) => Standing::Unknown,
        (Some(epoch), Some(learned_in)) => epoch.standing(key.id(), learned_in),
    }
}
