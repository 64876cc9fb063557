//! A second tier that a test plays.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::cache::entry_id::EntryId;
use crate::cache::shared::{LockAttempt, StoreFuture, StoredValue};
use crate::cache::write::{RecordedWrite, WriteId};

/// A second tier in memory.
#[derive(Default)]
pub(super) struct Table {
    pub(super) values: Mutex<HashMap<EntryId, StoredValue>>,
    pub(super) epochs: Mutex<HashMap<RepositoryKey, Epoch>>,
    pub(super) closed: AtomicBool,
    pub(super) unverified_before: AtomicU64,
    pub(super) locks: Mutex<HashMap<String, u64>>,
}

impl Table {
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }
}

impl SharedStore for Table {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }

    fn failures(&self) -> u64 {
        0
    }

    fn takes(&self, _: Kind, _: usize) -> bool {
        Self::is_open(self)
    }

    fn get<'a>(&'a self, id: &'a EntryId, _: Option<Duration>) -> StoreFuture<'a, Option<StoredValue>> {
        Box::pin(async { self.values.lock().unwrap().get(id).cloned() })
    }

    fn put<'a>(&'a self, id: &'a EntryId, value: StoredValue) -> StoreFuture<'a, ()> {
        Box::pin(async {
            self.values.lock().unwrap().insert(id.clone(), value);
        })
    }

    fn remove<'a>(&'a self, id: &'a EntryId) -> StoreFuture<'a, ()> {
        Box::pin(async {
            self.values.lock().unwrap().remove(id);
        })
    }

    fn epoch<'a>(&'a self, repository_key: &'a RepositoryKey, known: Option<WriteId>) -> StoreFuture<'a, SharedEpoch> {
        Box::pin(async move {
            if !Self::is_open(self) {
                return SharedEpoch::Nothing;
            }
            let mut epochs = self.epochs.lock().unwrap();
            let epoch = epochs.entry(repository_key.clone()).or_insert_with(Epoch::unknown);
            match Some(epoch.id()) == known {
                true => SharedEpoch::Same,
                false => SharedEpoch::Epoch(epoch.clone()),
            }
        })
    }

    fn wrote<'a>(&'a self, repository_key: &'a RepositoryKey, touched: &'a Arc<[Invalidation]>) -> StoreFuture<'a, ()> {
        Box::pin(async {
            let mut epochs = self.epochs.lock().unwrap();
            let epoch = epochs.entry(repository_key.clone()).or_insert_with(Epoch::unknown);
            *epoch = epoch.after(RecordedWrite::new(touched.clone()));
        })
    }

    fn try_lock<'a>(
        &'a self,
        _: &'a RepositoryKey,
        name: &'a str,
        token: u64,
        _: Duration,
    ) -> StoreFuture<'a, LockAttempt> {
        Box::pin(async move {
            if !Self::is_open(self) {
                return LockAttempt::Unavailable;
            }
            match *self.locks.lock().unwrap().entry(name.to_owned()).or_insert(token) == token {
                true => LockAttempt::Held,
                false => LockAttempt::Taken,
            }
        })
    }

    fn unlock<'a>(&'a self, _: &'a RepositoryKey, name: &'a str, token: u64) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.locks
                .lock()
                .unwrap()
                .retain(|held, holder| held != name || *holder != token);
        })
    }

    fn unverified_before(&self) -> Duration {
        Duration::from_secs(self.unverified_before.load(Ordering::Relaxed))
    }
}
