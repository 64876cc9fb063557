//! The second tier, which several processes share. When it fails, it behaves as if it were empty.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::entry_id::{EntryId, Kind, RepositoryKey};
use super::epoch::Epoch;
use super::write::{Invalidation, WriteId};

pub(super) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A value as processes exchange it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredValue {
    /// Time since 1970 at which it was read from the registry.
    pub at: Duration,
    /// The epoch in which it was read, for values that a write can invalidate.
    pub epoch: Option<WriteId>,
    pub bytes: Bytes,
}

/// A repository's writes, as the second tier knows them.
#[derive(Clone, Debug)]
pub(super) enum SharedEpoch {
    /// There is no newer write than the one that the asker knows.
    Same,
    Epoch(Epoch),
    /// It is unreachable or has no writes: this process uses the epoch that it knows.
    Nothing,
}

/// What became of an attempt to take a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockAttempt {
    Held,
    /// Somebody else holds it.
    Taken,
    /// The tier cannot be reached, or stores nothing now.
    Unavailable,
}

/// A second tier.
pub(super) trait SharedStore: Send + Sync {
    /// Whether it is reachable.
    fn is_open(&self) -> bool;

    /// Number of connections that broke or could not be established since start-up.
    fn failures(&self) -> u64;

    /// Whether it accepts a value of this kind and of about this many bytes.
    fn takes(&self, kind: Kind, weight: usize) -> bool;

    /// A large value is returned only if it was read from the registry after `newer_than`, the time of the value that this process has.
    fn get<'a>(&'a self, id: &'a EntryId, newer_than: Option<Duration>) -> StoreFuture<'a, Option<StoredValue>>;

    fn put<'a>(&'a self, id: &'a EntryId, value: StoredValue) -> StoreFuture<'a, ()>;

    fn remove<'a>(&'a self, id: &'a EntryId) -> StoreFuture<'a, ()>;

    /// The writes to a repository since `known`, the latest one that this process knows.
    fn epoch<'a>(&'a self, repository_key: &'a RepositoryKey, known: Option<WriteId>) -> StoreFuture<'a, SharedEpoch>;

    /// Publishes a write to every process. Returns when that is done; if it is not possible now, it is done later, as soon as it is. The write is
    /// not lost if the future is dropped.
    fn wrote<'a>(&'a self, repository_key: &'a RepositoryKey, touched: &'a Arc<[Invalidation]>) -> StoreFuture<'a, ()>;

    /// Takes the lock `name` of a repository, which expires after `ttl`. `token` is the holder's own.
    fn try_lock<'a>(
        &'a self,
        repository_key: &'a RepositoryKey,
        name: &'a str,
        token: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, LockAttempt>;

    /// Gives the lock back, where `token` still holds it.
    fn unlock<'a>(&'a self, repository_key: &'a RepositoryKey, name: &'a str, token: u64) -> StoreFuture<'a, ()>;

    /// The time, since 1970, up to which this process may have missed writes of others. Values from before it may be wrong.
    fn unverified_before(&self) -> Duration;
}
