//! The epochs of repositories, as far as this process knows them.

use std::sync::{Arc, Mutex, PoisonError};

use super::entry_id::RepositoryKey;
use super::epoch::Epoch;
use super::write::{Invalidation, RecordedWrite};
use crate::expiring_map::{EntryChange, ExpiringMap};

/// Number of repositories whose writes are remembered. A repository that is forgotten gets a new epoch, which costs a scan.
const WRITES_IN_ALL: u64 = 500_000;

/// The epochs that this process knows.
pub(super) struct Epochs {
    known: ExpiringMap<RepositoryKey, Epoch>,
    /// The epoch of all repositories without known writes, shared so that callers who name many repositories use no memory.
    unwritten: Arc<Mutex<Epoch>>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self::of_at_most(WRITES_IN_ALL)
    }
}

impl Epochs {
    fn of_at_most(writes: u64) -> Self {
        let unwritten = Arc::new(Mutex::new(Epoch::unknown()));
        let weigher = |_: &RepositoryKey, epoch: &Epoch| u32::try_from(epoch.write_count()).unwrap_or(u32::MAX);
        let forgotten = unwritten.clone();
        // Otherwise the repository would seem unwritten, and entries from before the write valid.
        let begin_anew = move || *forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Epoch::unknown();
        let known = ExpiringMap::builder(writes).weigher(weigher);
        Self {
            known: known.on_eviction(begin_anew).build(),
            unwritten,
        }
    }

    pub fn known(&self, repository_key: &RepositoryKey) -> Option<Epoch> {
        self.known.get(repository_key)
    }

    pub fn current(&self, repository_key: &RepositoryKey) -> Epoch {
        self.known.get(repository_key).unwrap_or_else(|| self.unwritten())
    }

    fn unwritten(&self) -> Epoch {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a write.
    pub fn wrote(&self, repository_key: &RepositoryKey, touched: &Arc<[Invalidation]>) {
        let write = RecordedWrite::new(touched.clone());
        self.known.change(repository_key, |known| {
            EntryChange::Put(known.unwrap_or_else(|| self.unwritten()).after(write))
        });
    }

    /// Adopts the epoch that another process knows, unless this one has changed since `was`. Returns the epoch for the question at hand.
    pub fn adopt(&self, repository_key: &RepositoryKey, was: Option<&Epoch>, published: Epoch) -> Epoch {
        self.known.change(repository_key, |known| {
            if known.as_ref() == was {
                EntryChange::Put(published.clone())
            } else {
                EntryChange::Keep
            }
        });
        published
    }

    /// Forgets the known writes and begins a new epoch. If there is a shared cache, the next question reads the epoch from there.
    pub fn forget(&self, repository_key: &RepositoryKey) {
        self.known.insert(repository_key.clone(), Epoch::unknown());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::epoch::{Validity, WRITES};
    use crate::cache::key::Key;

    fn scope() -> RepositoryKey {
        RepositoryKey::new("http://u/", "r")
    }

    fn tag(name: &str) -> Arc<[Invalidation]> {
        Arc::from([Invalidation::Tag(name.into())])
    }

    #[test]
    fn a_write_touches_what_it_names_and_nothing_else() {
        let (epochs, repository_key) = (Epochs::default(), scope());
        let first = epochs.current(&repository_key);
        let validity = |name: &str| {
            let now = epochs.current(&repository_key);
            now.validity(Key::tag(&repository_key, &now, name).id(), first.id())
        };
        assert_eq!(validity("a"), Validity::Verified);
        epochs.wrote(&repository_key, &tag("a"));
        assert_ne!(epochs.current(&repository_key), first);
        assert_eq!(validity("a"), Validity::Overwritten);
        assert_eq!(validity("b"), Validity::Verified);
        epochs.wrote(&repository_key, &Arc::from([Invalidation::Everything]));
        assert_eq!(validity("a"), Validity::Overwritten);
        assert_eq!(validity("b"), Validity::Unknown);
    }

    #[test]
    fn repositories_that_nobody_wrote_to_take_no_memory() {
        let epochs = Epochs::default();
        for number in 0..1000 {
            epochs.current(&RepositoryKey::new("http://u/", format!("r{number}")));
        }
        assert_eq!(epochs.known.settled_len(), 0);
    }

    #[test]
    fn a_write_that_is_forgotten_begins_new_epochs_everywhere() {
        let (epochs, repository_key) = (Epochs::of_at_most(100), scope());
        let first = epochs.current(&repository_key);
        epochs.wrote(&repository_key, &tag("a"));
        for number in 0..200 {
            epochs.wrote(&RepositoryKey::new("http://u/", format!("r{number}")), &tag("a"));
        }
        epochs.known.settled_len();
        assert_ne!(epochs.current(&RepositoryKey::new("http://u/", "unwritten")), first);
    }

    #[test]
    fn what_is_let_go_of_begins_a_new_epoch() {
        let (epochs, repository_key) = (Epochs::default(), scope());
        let first = epochs.current(&repository_key);
        epochs.forget(&repository_key);
        assert_ne!(epochs.current(&repository_key), first);
    }

    #[test]
    fn what_was_learned_before_the_remembered_writes_is_unknown() {
        let (epochs, repository_key) = (Epochs::default(), scope());
        let first = epochs.current(&repository_key);
        for _ in 0..WRITES {
            epochs.wrote(&repository_key, &tag("a"));
        }
        let now = epochs.current(&repository_key);
        assert_eq!(
            now.validity(Key::tag(&repository_key, &now, "a").id(), first.id()),
            Validity::Unknown
        );
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_adopted() {
        let (epochs, repository_key) = (Epochs::default(), scope());
        let (published, was) = (Epoch::unknown(), epochs.current(&repository_key));
        epochs.wrote(&repository_key, &tag("a"));
        let own = epochs.current(&repository_key);
        assert_eq!(epochs.adopt(&repository_key, Some(&was), published.clone()), published);
        assert_eq!(epochs.current(&repository_key), own);
        assert_eq!(epochs.adopt(&repository_key, Some(&own), published.clone()), published);
        assert_eq!(epochs.current(&repository_key), published);
    }
}
