//! Entries that pushes brought into referrers tags: each is looked for again 2, 10 and 60 seconds later, and put back where another writer dropped it.
//!
//! A referrers tag is one tag for all writers, and few registries refuse to overwrite what has changed meanwhile. What is put back is looked for
//! from the beginning again, because its dropper is at work. Nothing waits for all this: it takes turns at `upstream.background_rate`, its number
//! is bounded, and the end of the process looks once more and ends it. What stays lost, the next push to the subject or `refshim materialize` finds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::oci::{Digest, RepositoryName, Tag};
use crate::referrers::TagEntryOutcome;
use crate::registry::{BackgroundWork, CredentialHash};

use super::entry_check::{EntryCheck, LookOutcome};
use super::referrers_tag_update::TagToUpdate;

/// When an entry is looked for, after its push; at once only where it was not listed before the push was answered.
const LOOKS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
];
/// How often an entry that was put back is looked for two seconds later. After that only once a minute: whoever drops it keeps doing so.
const RESTORED_SOON: usize = 30;
/// How often it is put back before it is left to that writer: for an hour and a half.
const MOST_RESTORED: usize = 120;
/// Entries that are watched; more are counted, and only written.
const MOST_WATCHED: usize = 4096;
/// Tags that are looked at at the same time.
const PARALLEL: usize = 4;
/// The same, at the end of the process, and how long that may take.
const PARALLEL_AT_END: usize = 16;
const PATIENCE_AT_END: Duration = Duration::from_secs(2);

/// An entry that is looked for.
#[derive(Clone)]
pub(super) struct WatchedEntry {
    pub tag: TagToUpdate,
    pub digest: Digest,
    /// Whether it was ever seen in the tag.
    was_listed: bool,
    /// What the looks are counted from.
    since: Instant,
    /// The next of [`LOOKS`].
    next: usize,
    restored: usize,
}

impl WatchedEntry {
    pub fn new(tag: TagToUpdate, digest: Digest, was_listed: bool) -> Self {
        Self {
            tag,
            digest,
            was_listed,
            since: Instant::now(),
            next: usize::from(was_listed),
            restored: 0,
        }
    }

    /// When it is looked for next; `None` after the last time.
    fn due(&self) -> Option<Instant> {
        LOOKS.get(self.next).map(|after| self.since + *after)
    }
}

/// The entries of one upstream that are watched.
pub(super) struct WatchedEntries {
    check: EntryCheck,
    queue: Mutex<WatchQueue>,
    added: Notify,
}

/// By when they are due, and a number that tells those of one moment apart.
#[derive(Default)]
struct WatchQueue {
    entries: BTreeMap<(Instant, u64), WatchedEntry>,
    /// Taken out and not put in again yet.
    looked_at: usize,
    last: u64,
    /// Whether a task looks.
    is_served: bool,
}

impl WatchQueue {
    /// Whether there was room.
    fn push(&mut self, entry: WatchedEntry) -> bool {
        let Some(due) = entry.due() else { return true };
        if self.entries.len() + self.looked_at >= MOST_WATCHED {
            return false;
        }
        self.last += 1;
        self.entries.insert((due, self.last), entry);
        true
    }

    /// Takes out all that are due.
    fn take_due(&mut self, now: Instant) -> Vec<WatchedEntry> {
        let later = self.entries.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.entries, later);
        self.looked_at += due.len();
        due.into_values().collect()
    }
}

impl WatchedEntries {
    pub fn new(check: EntryCheck) -> Self {
        Self {
            check,
            queue: Mutex::default(),
            added: Notify::new(),
        }
    }

    /// Looks after an entry from now on.
    pub fn watch(self: &Arc<Self>, entry: WatchedEntry) {
        let mut queue = self.lock();
        if !queue.push(entry) {
            drop(queue);
            self.count(TagEntryOutcome::NotWatched);
            return;
        }
        let is_served = std::mem::replace(&mut queue.is_served, true);
        self.show(&queue);
        drop(queue);
        match is_served {
            true => self.added.notify_one(),
            false => drop(tokio::spawn(self.clone().serve())),
        }
    }

    /// Looks for what is due until nothing is watched any more.
    async fn serve(self: Arc<Self>) {
        let _guard = ServiceGuard(&self);
        loop {
            let (due, next) = {
                let mut queue = self.lock();
                let due = queue.take_due(Instant::now());
                let next = queue.entries.first_key_value().map(|((next, _), _)| *next);
                queue.is_served = next.is_some() || !due.is_empty();
                (due, next)
            };
            match (due.is_empty(), next) {
                (false, _) => self.look(due).await,
                (true, None) => return,
                (true, Some(next)) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.added.notified() => {}
                },
            }
        }
    }

    async fn look(&self, due: Vec<WatchedEntry>) {
        let groups = by_tag(due).into_iter().map(|(tag, entries)| async move {
            let tag = TagToUpdate {
                caller: tag.caller.searching().in_background(BackgroundWork::default()),
                ..tag
            };
            let found = self.check.look(&tag, digests(&entries)).await;
            self.settle(entries, &found);
        });
        stream::iter(groups).buffer_unordered(PARALLEL).collect::<()>().await;
    }

    /// Counts what was found of each entry, and watches those on that may be dropped again.
    fn settle(&self, entries: Vec<WatchedEntry>, found: &LookOutcome) {
        let mut queue = self.lock();
        queue.looked_at = queue.looked_at.saturating_sub(entries.len());
        for mut entry in entries {
            entry.next += 1;
            match found {
                LookOutcome::Listed { gone, .. } if gone.contains(&entry.digest) => continue,
                LookOutcome::Listed { put_back, .. } if put_back.contains(&entry.digest) => {
                    self.count(TagEntryOutcome::PutBack);
                    entry.restored += 1;
                    (entry.was_listed, entry.since) = (true, Instant::now());
                    entry.next = after_restoring(entry.restored);
                }
                LookOutcome::Listed { .. } => {
                    if !std::mem::replace(&mut entry.was_listed, true) {
                        self.count(TagEntryOutcome::Listed);
                    }
                }
                LookOutcome::Taken => {
                    self.count(TagEntryOutcome::Taken);
                    continue;
                }
                LookOutcome::Refused => {
                    self.count(TagEntryOutcome::Refused);
                    continue;
                }
                LookOutcome::Failed if entry.due().is_none() => self.count(TagEntryOutcome::Failed),
                LookOutcome::Failed => {}
            }
            // There is room: it was in the queue before.
            queue.push(entry);
        }
        self.show(&queue);
    }

    /// Looks for everything once more, within two seconds: the process ends.
    pub async fn finish(&self) {
        let entries = std::mem::take(&mut self.lock().entries);
        let groups = by_tag(entries.into_values().collect()).into_iter();
        let looks = groups.map(|(tag, entries)| async move { self.check.look(&tag, digests(&entries)).await });
        let looks = stream::iter(looks).buffer_unordered(PARALLEL_AT_END);
        let looked = tokio::time::timeout(PATIENCE_AT_END, looks.for_each(|_| std::future::ready(()))).await;
        if looked.is_err() {
            tracing::warn!(
                "some referrers tags were not looked at once more; refshim materialize finds what they lack"
            );
        }
    }

    fn count(&self, outcome: TagEntryOutcome) {
        self.check.counts().tag_entries.get(outcome).inc();
    }

    fn show(&self, queue: &WatchQueue) {
        let watched = queue.entries.len() + queue.looked_at;
        self.check
            .counts()
            .watched_tag_entries
            .set(i64::try_from(watched).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, WatchQueue> {
        // A panic elsewhere leaves the queue whole: its numbers are put right by the guard.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of [`LOOKS`] comes after an entry was put back for the `restored`th time.
fn after_restoring(restored: usize) -> usize {
    if restored <= RESTORED_SOON {
        1
    } else if restored < MOST_RESTORED {
        LOOKS.len() - 1
    } else {
        LOOKS.len()
    }
}

/// After a panic, the next entry that is watched starts another task.
struct ServiceGuard<'a>(&'a WatchedEntries);

impl Drop for ServiceGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            (queue.is_served, queue.looked_at) = (false, 0);
        }
    }
}

/// Those of one tag and one credential together: one look tells of all.
fn by_tag(entries: Vec<WatchedEntry>) -> Vec<(TagToUpdate, Vec<WatchedEntry>)> {
    let mut groups: HashMap<(RepositoryName, Tag, CredentialHash), Vec<WatchedEntry>> = HashMap::new();
    for entry in entries {
        let tag = &entry.tag;
        let key = (tag.repository.clone(), tag.tag.clone(), tag.caller.credential_hash());
        groups.entry(key).or_default().push(entry);
    }
    let groups = groups.into_values();
    groups
        .filter_map(|entries| Some((entries.first()?.tag.clone(), entries)))
        .collect()
}

fn digests(entries: &[WatchedEntry]) -> impl Iterator<Item = &Digest> {
    entries.iter().map(|entry| &entry.digest)
}

#[cfg(test)]
#[path = "watched_entries_tests.rs"]
mod tests;
