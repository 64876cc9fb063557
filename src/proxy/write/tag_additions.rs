//! Entries on their way into referrers tags. Those that come for one tag while it is being written are written together next, so that many pushes at once
//! to one subject cost few writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::oci::{Descriptor, RepositoryName, Tag};
use crate::registry::UpstreamError;

use super::error::WriteError;
use super::referrers_tag_update::{Effort, ReferrersTags, TagToUpdate, Updated};

type TagKey = (RepositoryName, Tag);
type AddResult = Result<Updated, WriteError>;

/// An entry that waits to be written, and who waits for it.
struct TagAddition {
    target: TagToUpdate,
    entry: Descriptor,
    added: oneshot::Sender<AddResult>,
}

/// By tag, for as long as a task writes what waits there.
#[derive(Default)]
pub(super) struct TagAdditions {
    waiting: Mutex<HashMap<TagKey, Vec<TagAddition>>>,
}

impl ReferrersTags {
    /// Adds `entry` to the list. It is written whether or not the caller stays.
    pub async fn add(self: &Arc<Self>, target: TagToUpdate, entry: Descriptor, effort: Effort) -> AddResult {
        let (added, outcome) = oneshot::channel();
        let key = (target.repository.clone(), target.tag.clone());
        let addition = TagAddition { target, entry, added };
        if self.additions.is_first(&key, addition) {
            let work = self.clone().write_waiting(key, effort);
            tokio::spawn(work.in_current_span());
        }
        let lost = || UpstreamError::Broken("the task that writes the referrers tag ended".to_owned());
        outcome.await.unwrap_or_else(|_| Err(lost().into()))
    }

    async fn write_waiting(self: Arc<Self>, key: TagKey, effort: Effort) {
        let guard = WorkGuard {
            additions: &self.additions,
            key: &key,
        };
        while let Some(batch) = guard.next_batch() {
            let Some(first) = batch.first() else { continue };
            let outcome = self.update(&first.target, effort, |index| {
                batch.iter().for_each(|addition| index.add(&addition.entry));
            });
            let outcome = outcome.await;
            for addition in batch {
                // Whoever hung up does not want to know.
                let _ = addition.added.send(outcome.clone());
            }
        }
    }
}

impl TagAdditions {
    /// Whether nobody writes the tag yet.
    fn is_first(&self, key: &TagKey, addition: TagAddition) -> bool {
        // A panic elsewhere leaves the map whole: every change to it is a single call.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = waiting.get_mut(key) {
            others.push(addition);
            return false;
        }
        waiting.insert(key.clone(), vec![addition]);
        true
    }
}

/// The task that writes one tag. When it ends, the next addition starts another.
struct WorkGuard<'a> {
    additions: &'a TagAdditions,
    key: &'a TagKey,
}

impl WorkGuard<'_> {
    /// All that waits with the credentials of whoever came first. `None`: nothing waits, and the task ends.
    fn next_batch(&self) -> Option<Vec<TagAddition>> {
        let mut waiting = self.additions.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all = waiting.get_mut(self.key)?;
        let Some(first) = all.first() else {
            waiting.remove(self.key);
            return None;
        };
        let credential = first.target.caller.credential_hash();
        let is_of_batch = |addition: &mut TagAddition| addition.target.caller.credential_hash() == credential;
        Some(all.extract_if(.., is_of_batch).collect())
    }
}

impl Drop for WorkGuard<'_> {
    /// After a panic, those who wait are told that the task ended. Otherwise the key is another task's by now.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut waiting = self.additions.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(self.key);
    }
}
