//! Writes of which the other replicas have not been told yet. None is forgotten until they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::cache::epoch::Touch;
use crate::cache::key::Scope;

/// Things named per repository; what touched more is taken to have touched everything.
const TOUCHES: usize = 64;
/// Repositories with untold writes. Beyond, in a long outage, the other replicas' own freshness bounds what they show.
const REPOSITORIES: usize = 100_000;

#[derive(Default)]
pub(super) struct Pending {
    untold: Mutex<Untold>,
    added: Notify,
    /// Changes whenever somebody who waits should look again.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Untold {
    writes: HashMap<Scope, PendingWrite>,
    last_ticket: u64,
}

#[derive(Clone)]
struct PendingWrite {
    touched: Arc<[Touch]>,
    /// Of the latest write in it.
    ticket: u64,
    /// The latest of which others were told as well as was possible.
    withdrawn: u64,
}

/// Writes to one repository, to be told of.
#[derive(Clone)]
pub(super) struct Told {
    pub scope: Scope,
    pub touched: Arc<[Touch]>,
    ticket: u64,
}

impl Pending {
    pub fn add(&self, scope: &Scope, touched: &Arc<[Touch]>) -> u64 {
        let mut untold = self.lock();
        untold.last_ticket += 1;
        let ticket = untold.last_ticket;
        if untold.writes.len() >= REPOSITORIES && !untold.writes.contains_key(scope) {
            tracing::error!(
                "too many writes that other replicas could not be told of; they may show old lists until these age"
            );
            return ticket;
        }
        let write = untold.writes.entry(scope.clone()).or_insert_with(|| PendingWrite {
            touched: Arc::from([]),
            ticket,
            withdrawn: 0,
        });
        write.ticket = ticket;
        write.touched = both(&write.touched, touched);
        drop(untold);
        self.added.notify_one();
        ticket
    }

    pub fn holds(&self, scope: &Scope) -> bool {
        self.lock().writes.contains_key(scope)
    }

    pub fn is_any(&self) -> bool {
        !self.lock().writes.is_empty()
    }

    /// Ready when something was added since this was last ready.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Ready when others know of the write, or as much as they can, or when it is hopeless.
    pub async fn told(&self, scope: &Scope, ticket: u64, is_hopeless: impl Fn() -> bool) {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            if is_hopeless() || self.is_told(scope, ticket) {
                return;
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_told(&self, scope: &Scope, ticket: u64) -> bool {
        self.lock()
            .writes
            .get(scope)
            .is_none_or(|write| write.withdrawn >= ticket)
    }

    /// Everything that is to be told.
    pub fn all(&self) -> Vec<Told> {
        let untold = self.lock();
        let writes = untold.writes.iter();
        writes
            .map(|(scope, write)| Told {
                scope: scope.clone(),
                touched: write.touched.clone(),
                ticket: write.ticket,
            })
            .collect()
    }

    /// Others know of these. What was written to the same repositories meanwhile stays.
    pub fn settle(&self, told: &[Told]) {
        let mut untold = self.lock();
        for Told { scope, ticket, .. } in told {
            if untold.writes.get(scope).is_some_and(|write| write.ticket == *ticket) {
                untold.writes.remove(scope);
            }
        }
        drop(untold);
        self.wake();
    }

    /// Others were told to forget what they know, but could not be told what was written.
    pub fn withdraw(&self, told: &[Told]) {
        let mut untold = self.lock();
        for Told { scope, ticket, .. } in told {
            if let Some(write) = untold.writes.get_mut(scope) {
                write.withdrawn = *ticket;
            }
        }
        drop(untold);
        self.wake();
    }

    /// Makes everybody who waits look again.
    pub fn wake(&self) {
        self.news.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn both(one: &Arc<[Touch]>, other: &Arc<[Touch]>) -> Arc<[Touch]> {
    if one.len() + other.len() > TOUCHES {
        return Arc::from([Touch::Everything]);
    }
    let fresh = other.iter().filter(|touch| !one.contains(touch));
    one.iter().chain(fresh).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Arc<[Touch]> {
        Arc::from([Touch::Tag(name.into())])
    }

    #[tokio::test]
    async fn a_write_stays_until_it_is_told() {
        let (pending, scope) = (Pending::default(), Scope::new("http://u/", "r"));
        pending.add(&scope, &tag("a"));
        let told = pending.all();
        let later = pending.add(&scope, &tag("b"));
        pending.settle(&told);
        assert!(pending.holds(&scope), "written to while others were told");
        let told = pending.all();
        assert_eq!(
            *told[0].touched,
            [Touch::Tag("a".into()), Touch::Tag("b".into())],
            "told twice is better than not at all"
        );
        pending.settle(&told);
        assert!(!pending.holds(&scope));
        pending.told(&scope, later, || false).await;
    }

    #[tokio::test]
    async fn a_withdrawn_write_is_not_waited_for_but_kept() {
        let (pending, scope) = (Pending::default(), Scope::new("http://u/", "r"));
        let ticket = pending.add(&scope, &tag("a"));
        pending.withdraw(&pending.all());
        pending.told(&scope, ticket, || false).await;
        assert!(pending.holds(&scope));
    }

    #[tokio::test]
    async fn nobody_waits_without_hope() {
        let (pending, scope) = (Pending::default(), Scope::new("http://u/", "r"));
        let ticket = pending.add(&scope, &tag("a"));
        pending.told(&scope, ticket, || true).await;
        assert!(pending.holds(&scope));
    }

    #[test]
    fn too_many_names_are_everything() {
        let (pending, scope) = (Pending::default(), Scope::new("http://u/", "r"));
        for n in 0..TOUCHES + 1 {
            pending.add(&scope, &tag(&n.to_string()));
        }
        assert_eq!(*pending.all()[0].touched, [Touch::Everything]);
    }
}
