//! The second tier, which several processes share. It may fail at any time: then there is nothing in it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::epoch::{Epoch, Invalidation, WriteId};
use super::key::{EntryId, RepositoryKey};

pub(super) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A value as processes exchange it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredValue {
    /// Time since 1970 at which it was learned.
    pub at: Duration,
    /// The epoch that it was learned in, for what a write can overwrite.
    pub epoch: Option<WriteId>,
    pub bytes: Bytes,
}

/// What the second tier knows of a repository's writes.
#[derive(Clone, Debug)]
pub(super) enum SharedEpoch {
    /// The newest is the one that the asker knows.
    Same,
    Epoch(Epoch),
    /// It cannot be asked, or holds nothing: what this process knows must do.
    Nothing,
}

/// A second tier.
pub(super) trait SharedStore: Send + Sync {
    /// Whether it is worth asking.
    fn is_open(&self) -> bool;

    /// Connections that broke or could not be made, since start-up.
    fn failures(&self) -> u64;

    /// Whether a value of about this many bytes is worth sending.
    fn takes(&self, weight: usize) -> bool;

    fn get<'a>(&'a self, id: &'a EntryId) -> StoreFuture<'a, Option<StoredValue>>;

    fn put<'a>(&'a self, id: &'a EntryId, value: StoredValue) -> StoreFuture<'a, ()>;

    fn remove<'a>(&'a self, id: &'a EntryId) -> StoreFuture<'a, ()>;

    /// What was written to a repository, to a process that knows writes up to `known`.
    fn epoch<'a>(&'a self, repository_key: &'a RepositoryKey, known: Option<WriteId>) -> StoreFuture<'a, SharedEpoch>;

    /// Tells every process of a write, before it is acknowledged where that is possible, otherwise as soon as it is. The
    /// write is not lost when the future is dropped.
    fn wrote<'a>(&'a self, repository_key: &'a RepositoryKey, touched: &'a Arc<[Invalidation]>) -> StoreFuture<'a, ()>;

    /// Time since 1970. A write that this process was not told of may have made wrong what was learned before.
    fn unverified_before(&self) -> Duration;
}
