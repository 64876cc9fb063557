//! What the tiers hold of one thing, and what that is worth.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::epoch::{Validity, WriteId};
use super::shared::SharedStore;
use super::{Cached, Key, Kind, Tier};

/// Clocks of replicas may differ by this much. What seems to come from further ahead is not believed.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// What one of the tiers holds.
pub(super) struct TierValue<T> {
    pub value: Arc<T>,
    /// Time since 1970 at which it was learned.
    pub at: Duration,
    pub epoch: Option<WriteId>,
    pub verified: bool,
}

pub(super) fn in_memory<T>(own: Option<TierValue<T>>) -> (Option<TierValue<T>>, Tier) {
    let tier = if own.is_some() { Tier::Memory } else { Tier::Miss };
    (own, tier)
}

/// The second tier.
pub(super) struct SharedTier {
    pub store: Arc<dyn SharedStore>,
    pub puts: Arc<Semaphore>,
    /// When memory's own value is this old, another process may know better.
    pub second_look: Duration,
}

impl SharedTier {
    /// Whether another process cannot know better.
    pub fn is_enough<T>(&self, key: &Key, own: &TierValue<T>, now: Duration) -> bool {
        match key.kind() {
            // Content by its digest: there is no other.
            Kind::Manifest | Kind::Blob | Kind::Synthesised => true,
            // Every process learns something else.
            Kind::Observed | Kind::Written => false,
            _ => own.verified && now.saturating_sub(own.at) < self.second_look,
        }
    }

    pub async fn find<T: Cached>(&self, key: &Key, now: Duration) -> Option<TierValue<T>> {
        let stored = self.store.get(key.id()).await?;
        let validity = validity(key, stored.epoch);
        if stored.at > now + CLOCK_SKEW || validity == Validity::Overwritten {
            return None;
        }
        let unverified_before = self.store.unverified_before();
        let unverified = !unverified_before.is_zero() && stored.at < unverified_before + CLOCK_SKEW;
        let at = stored.at.min(now);
        Some(TierValue {
            value: Arc::new(T::decode(&key.id().detail, stored.bytes)?),
            // Another's clock may be ahead: what is unverified must be so by this one.
            at: if unverified { at.saturating_sub(CLOCK_SKEW) } else { at },
            epoch: stored.epoch,
            verified: validity == Validity::Verified && !unverified,
        })
    }
}

pub(super) fn validity(key: &Key, learned_in: Option<WriteId>) -> Validity {
    match (key.asked_in(), learned_in) {
        (None, _) => Validity::Verified,
        (Some(_), None) => Validity::Unknown,
        (Some(epoch), Some(learned_in)) => epoch.validity(key.id(), learned_in),
    }
}
