//! Writes that are not yet published to the other replicas, kept until they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::cache::entry_id::RepositoryKey;
use crate::cache::write::Invalidation;

/// Number of tags and digests kept for each repository; a write of more counts as a write of everything.
const TOUCHES: usize = 64;
/// Number of repositories with pending writes. If there are more, in a long outage, other replicas show the rest when their lists age.
const REPOSITORIES: usize = 100_000;

#[derive(Default)]
pub(super) struct Pending {
    unpublished: Mutex<UnpublishedWrites>,
    added: Notify,
    /// Changes whenever those who wait should check again.
    events: watch::Sender<()>,
}

#[derive(Default)]
struct UnpublishedWrites {
    writes: HashMap<RepositoryKey, PendingWrite>,
    last_ticket: u64,
}

#[derive(Clone)]
struct PendingWrite {
    touched: Arc<[Invalidation]>,
    /// The number of the latest write in it.
    ticket: u64,
    /// The number of the latest write that was published, as far as Redis accepted it.
    withdrawn: u64,
}

/// Writes to one repository that are to be published.
#[derive(Clone)]
pub(super) struct Publication {
    pub repository_key: RepositoryKey,
    pub touched: Arc<[Invalidation]>,
    ticket: u64,
}

impl Pending {
    pub fn add(&self, repository_key: &RepositoryKey, touched: &Arc<[Invalidation]>) -> u64 {
        let mut unpublished = self.lock();
        unpublished.last_ticket += 1;
        let ticket = unpublished.last_ticket;
        if unpublished.writes.len() >= REPOSITORIES && !unpublished.writes.contains_key(repository_key) {
            tracing::error!(
                "too many writes could not be published to other replicas; these may show old lists until the lists age"
            );
            return ticket;
        }
        let write = unpublished
            .writes
            .entry(repository_key.clone())
            .or_insert_with(|| PendingWrite {
                touched: Arc::from([]),
                ticket,
                withdrawn: 0,
            });
        write.ticket = ticket;
        write.touched = both(&write.touched, touched);
        drop(unpublished);
        self.added.notify_one();
        ticket
    }

    pub fn holds(&self, repository_key: &RepositoryKey) -> bool {
        self.lock().writes.contains_key(repository_key)
    }

    pub fn is_any(&self) -> bool {
        !self.lock().writes.is_empty()
    }

    /// Resolves when a write was added since it last resolved.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Resolves when the write is published as far as Redis accepts it, or when Redis is down.
    pub async fn published(&self, repository_key: &RepositoryKey, ticket: u64, is_down: impl Fn() -> bool) {
        let mut events = self.events.subscribe();
        loop {
            events.borrow_and_update();
            if is_down() || self.is_published(repository_key, ticket) {
                return;
            }
            if events.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_published(&self, repository_key: &RepositoryKey, ticket: u64) -> bool {
        self.lock()
            .writes
            .get(repository_key)
            .is_none_or(|write| write.withdrawn >= ticket)
    }

    /// All pending writes.
    pub fn all(&self) -> Vec<Publication> {
        let unpublished = self.lock();
        let writes = unpublished.writes.iter();
        writes
            .map(|(repository_key, write)| Publication {
                repository_key: repository_key.clone(),
                touched: write.touched.clone(),
                ticket: write.ticket,
            })
            .collect()
    }

    /// Removes published writes. Later writes to the same repositories stay.
    pub fn settle(&self, published: &[Publication]) {
        let mut unpublished = self.lock();
        for Publication {
            repository_key, ticket, ..
        } in published
        {
            if unpublished
                .writes
                .get(repository_key)
                .is_some_and(|write| write.ticket == *ticket)
            {
                unpublished.writes.remove(repository_key);
            }
        }
        drop(unpublished);
        self.wake();
    }

    /// Notes that other replicas dropped their epochs, but did not get the writes themselves.
    pub fn withdraw(&self, published: &[Publication]) {
        let mut unpublished = self.lock();
        for Publication {
            repository_key, ticket, ..
        } in published
        {
            if let Some(write) = unpublished.writes.get_mut(repository_key) {
                write.withdrawn = *ticket;
            }
        }
        drop(unpublished);
        self.wake();
    }

    /// Wakes everybody who waits.
    pub fn wake(&self) {
        self.events.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, UnpublishedWrites> {
        self.unpublished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn both(one: &Arc<[Invalidation]>, other: &Arc<[Invalidation]>) -> Arc<[Invalidation]> {
    if one.len() + other.len() > TOUCHES {
        return Arc::from([Invalidation::Everything]);
    }
    let fresh = other.iter().filter(|touch| !one.contains(touch));
    one.iter().chain(fresh).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Arc<[Invalidation]> {
        Arc::from([Invalidation::Tag(name.into())])
    }

    #[tokio::test]
    async fn a_write_stays_until_it_is_told() {
        let (pending, repository_key) = (Pending::default(), RepositoryKey::new("http://u/", "r"));
        pending.add(&repository_key, &tag("a"));
        let published = pending.all();
        let later = pending.add(&repository_key, &tag("b"));
        pending.settle(&published);
        assert!(pending.holds(&repository_key), "written to while others were told");
        let published = pending.all();
        assert_eq!(
            *published[0].touched,
            [Invalidation::Tag("a".into()), Invalidation::Tag("b".into())],
            "told twice is better than not at all"
        );
        pending.settle(&published);
        assert!(!pending.holds(&repository_key));
        pending.published(&repository_key, later, || false).await;
    }

    #[tokio::test]
    async fn a_withdrawn_write_is_not_waited_for_but_kept() {
        let (pending, repository_key) = (Pending::default(), RepositoryKey::new("http://u/", "r"));
        let ticket = pending.add(&repository_key, &tag("a"));
        pending.withdraw(&pending.all());
        pending.published(&repository_key, ticket, || false).await;
        assert!(pending.holds(&repository_key));
    }

    #[tokio::test]
    async fn nobody_waits_without_hope() {
        let (pending, repository_key) = (Pending::default(), RepositoryKey::new("http://u/", "r"));
        let ticket = pending.add(&repository_key, &tag("a"));
        pending.published(&repository_key, ticket, || true).await;
        assert!(pending.holds(&repository_key));
    }

    #[test]
    fn too_many_names_are_everything() {
        let (pending, repository_key) = (Pending::default(), RepositoryKey::new("http://u/", "r"));
        for n in 0..TOUCHES + 1 {
            pending.add(&repository_key, &tag(&n.to_string()));
        }
        assert_eq!(*pending.all()[0].touched, [Invalidation::Everything]);
    }
}
