//! Compares the entries of the tiers for one key.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::cached::Cached;
use super::counts::Tier;
use super::disk::DiskStore;
use super::entry_id::Kind;
use super::epoch::Validity;
use super::key::Key;
use super::shared::SharedStore;
use super::write::WriteId;

/// Largest difference between the clocks of replicas. Values that are further in the future are ignored.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// The entry in one tier.
pub(super) struct TierValue<T> {
    pub value: Arc<T>,
    /// Time since 1970 at which it was read from the registry.
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
    /// Age of a value in memory from which another process may have a newer one.
    pub second_look: Duration,
}

impl SharedTier {
    /// Whether no other process can have a better value.
    pub fn is_enough<T>(&self, key: &Key, own: &TierValue<T>, now: Duration) -> bool {
        match key.kind() {
            // Content by its digest never changes.
            Kind::Manifest | Kind::Blob | Kind::Synthesised => true,
            // Each process sees other manifests pass through.
            Kind::Observed | Kind::Written => false,
            _ => own.verified && now.saturating_sub(own.at) < self.second_look,
        }
    }

    /// What memory holds is `own`.
    pub async fn find<T: Cached>(&self, key: &Key, own: Option<&TierValue<T>>, now: Duration) -> Option<TierValue<T>> {
        let stored = self.store.get(key.id(), own.map(|own| own.at)).await?;
        let validity = validity(key, stored.epoch);
        if stored.at > now + CLOCK_SKEW || validity == Validity::Overwritten {
            return None;
        }
        let unverified_before = self.store.unverified_before();
        let unverified = !unverified_before.is_zero() && stored.at < unverified_before + CLOCK_SKEW;
        let at = stored.at.min(now);
        Some(TierValue {
            value: Arc::new(T::decode(&key.id().detail, stored.bytes)?),
            // The other process's clock may be ahead, so the time is limited to this one's.
            at: if unverified { at.saturating_sub(CLOCK_SKEW) } else { at },
            epoch: stored.epoch,
            verified: validity == Validity::Verified && !unverified,
        })
    }
}

/// The entry on disk. Nobody knows what was written since, so it is unverified if a write can change it.
pub(super) async fn find_on_disk<T: Cached>(disk: &DiskStore, key: &Key, now: Duration) -> Option<TierValue<T>> {
    let stored = disk.get(key.id()).await?;
    if stored.at > now + CLOCK_SKEW {
        return None;
    }
    Some(TierValue {
        value: Arc::new(T::decode(&key.id().detail, stored.bytes)?),
        at: stored.at.min(now),
        epoch: None,
        verified: !key.is_changed_by_writes(),
    })
}

pub(super) fn validity(key: &Key, learned_in: Option<WriteId>) -> Validity {
    match (key.asked_in(), learned_in) {
        (None, _) => Validity::Verified,
        // From the disk, at whatever time.
        (Some(epoch), None) if epoch.names(key.id()) => Validity::Overwritten,
        (Some(_), None) => Validity::Unknown,
        (Some(epoch), Some(learned_in)) => epoch.validity(key.id(), learned_in),
    }
}

/// The tags that were written since a listing was learned; none of anything else.
pub(super) fn tags_written_since(key: &Key, learned_in: Option<WriteId>) -> Vec<Arc<str>> {
    match (key.kind(), key.asked_in(), learned_in) {
        (Kind::TagList, Some(epoch), Some(learned_in)) => epoch.tags_since(learned_in),
        _ => Vec::new(),
    }
}
