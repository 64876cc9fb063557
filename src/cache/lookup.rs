//! Lookups in memory, in the second tier and on disk, and which of the values is taken.

use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::cached::{CacheEntry, Cached};
use super::counts::Tier;
use super::entry_id::Kind;
use super::epoch::{Epoch, Validity};
use super::key::Key;
use super::memory::MemoryEntry;
use super::puts::entry;
use super::tiers::{SharedTier, TierValue, find_on_disk, in_memory, tags_written_since, validity};

impl Cache {
    /// The value under `key`, however old.
    pub async fn get<T: Cached>(&self, key: &Key) -> Option<CacheEntry<T>> {
        let now = self.clock.now();
        let own = self.find_own::<T>(key);
        let (found, tier) = match self.shared.as_ref().filter(|shared| shared.store.is_open()) {
            Some(shared) if !own.as_ref().is_some_and(|own| shared.is_enough(key, own, now)) => {
                let theirs = shared
                    .find::<T>(key, own.as_ref(), now)
                    .await
                    .map(|theirs| self.mark_if_unverified(key, theirs));
                self.choose(key, own, theirs)
            }
            _ => in_memory(own),
        };
        let (found, tier) = match found {
            Some(found) => (Some(found), tier),
            None => self.find_kept(key, now).await,
        };
        self.lookups.get((key.kind(), tier)).inc();
        let found = found?;
        Some(CacheEntry {
            written_since: tags_written_since(key, found.epoch),
            value: found.value,
            age: now.saturating_sub(found.at),
            verified: found.verified,
        })
    }

    /// What is on disk is no better than what memory and Redis hold: it is looked up where they hold nothing. Nor does it say in which epoch it
    /// was read, so it is not taken where a write is known that named it.
    async fn find_kept<T: Cached>(&self, key: &Key, now: Duration) -> (Option<TierValue<T>>, Tier) {
        let is_named = key.asked_in().is_some_and(|epoch| epoch.names(key.id()));
        let Some(disk) = self.disk_for(key).filter(|_| !is_named) else {
            return (None, Tier::Miss);
        };
        match find_on_disk(disk, key, now).await {
            Some(kept) => {
                let kept = self.mark_if_unverified(key, kept);
                // Unless something newer has come meanwhile.
                self.memory(key.kind())
                    .put_if_missing(key.id().clone(), || entry(&kept));
                (Some(kept), Tier::Disk)
            }
            None => (None, Tier::Miss),
        }
    }

    fn find_own<T: Cached>(&self, key: &Key) -> Option<TierValue<T>> {
        let memory = self.memory(key.kind());
        let entry = memory.get(key.id())?;
        let validity = validity(key, entry.epoch);
        if validity == Validity::Overwritten {
            memory.remove(key.id());
            return None;
        }
        let asked_in = key.asked_in().map(Epoch::id);
        // For a listing the writes since are needed as long as it is cached.
        if validity == Validity::Verified && entry.epoch != asked_in && key.kind() != Kind::TagList {
            // It stays verified even when the writes since are forgotten.
            let epoch = asked_in;
            memory.put(key.id().clone(), MemoryEntry { epoch, ..entry.clone() });
        }
        let unverified = |shared: &SharedTier| entry.at < shared.store.unverified_before();
        let found = TierValue {
            verified: validity == Validity::Verified && !self.shared.as_ref().is_some_and(unverified),
            value: Arc::downcast::<T>(entry.value).ok()?,
            at: entry.at,
            epoch: entry.epoch,
        };
        Some(self.mark_if_unverified(key, found))
    }

    /// Marks a value as unverified if it was read before a possible write.
    fn mark_if_unverified<T>(&self, key: &Key, found: TierValue<T>) -> TierValue<T> {
        let possible_write = key
            .is_changed_by_writes()
            .then(|| self.possible_writes.last(key.repository_key()))
            .flatten();
        TierValue {
            verified: found.verified && possible_write.is_none_or(|at| found.at > at),
            ..found
        }
    }

    /// Joins the values of both tiers if their kind grows; otherwise takes the verified one, otherwise the newer one. Keeps the result in memory.
    fn choose<T: Cached>(
        &self,
        key: &Key,
        own: Option<TierValue<T>>,
        theirs: Option<TierValue<T>>,
    ) -> (Option<TierValue<T>>, Tier) {
        let Some(theirs) = theirs else {
            return in_memory(own);
        };
        let chosen = match own {
            Some(own) => match own.value.join(&theirs.value) {
                Some(joined) => TierValue {
                    value: Arc::new(joined),
                    ..own
                },
                None if (own.verified, own.at) >= (theirs.verified, theirs.at) => return in_memory(Some(own)),
                None => theirs,
            },
            None => theirs,
        };
        self.keep(key, &chosen);
        (Some(chosen), Tier::Redis)
    }
}
