//! Values that can be cached, and what a lookup returns.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// A value that can be cached.
pub trait Cached: Send + Sync + Sized + 'static {
    /// Bytes of memory that it uses, approximately.
    fn weight(&self) -> usize;

    /// Encodes it for other processes. `None` keeps it in this process only.
    fn encode(&self) -> Option<Vec<u8>>;

    /// Decodes what [`Cached::encode`] made of a value whose key ends with `detail`. `None` for any other bytes.
    fn decode(detail: &str, bytes: Bytes) -> Option<Self>;

    /// Joins two values, for sets that grow. `None` if the newer one replaces the older.
    fn join(&self, _other: &Self) -> Option<Self> {
        None
    }
}

/// A cached value and its age.
#[derive(Debug)]
pub struct CacheEntry<T> {
    pub value: Arc<T>,
    pub age: Duration,
    /// False if a later write may have invalidated it.
    pub verified: bool,
    /// For a verified tag listing: the tags that were written since.
    pub written_since: Vec<Arc<str>>,
}

impl<T> CacheEntry<T> {
    /// Whether it is valid and not older than `max_age`.
    pub fn within(&self, max_age: Duration) -> bool {
        self.verified && self.age < max_age
    }
}
