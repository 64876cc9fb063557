//! Epochs: the known writes to a repository. Each write begins a new epoch, named by a random number.
//!
//! Keys of values that any write may invalidate contain the epoch, so a scan that began before a write stores its result under a key that
//! nobody reads any more. A manifest or tag is invalidated only by a write that names it: its entry carries the epoch in which it was
//! read, and is valid until a later write names it. A tag listing is valid while refshim remembers every tag that was written since.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use super::entry_id::EntryId;
use super::write::{Invalidation, RecordedWrite, WriteId};

/// Number of writes remembered for each repository. Entries from before the oldest of them are unverified and are read again.
pub(super) const WRITES: usize = 128;

/// Whether a cached entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    /// No later write named it.
    Verified,
    /// It was valid once, but later writes are not all known.
    Unknown,
    /// A later write named it.
    Overwritten,
}

/// See the module documentation. Two epochs are equal if their newest write is the same.
#[derive(Clone, Debug)]
pub struct Epoch {
    newest: WriteId,
    /// Newest first, at most [`WRITES`].
    writes: Arc<[RecordedWrite]>,
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        self.newest == other.newest
    }
}

impl Eq for Epoch {}

impl Hash for Epoch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.newest.hash(state);
    }
}

impl Epoch {
    /// The epoch of a repository of which no write is known.
    pub fn unknown() -> Self {
        let write = RecordedWrite::new(Arc::from([]));
        Self {
            newest: write.id,
            writes: Arc::from([write]),
        }
    }

    /// The epoch for entries that no write invalidates.
    pub fn outside() -> Self {
        static OUTSIDE: LazyLock<Epoch> = LazyLock::new(Epoch::unknown);
        OUTSIDE.clone()
    }

    /// `writes` are newest first. `None` when there are none.
    pub(super) fn of(writes: impl IntoIterator<Item = RecordedWrite>) -> Option<Self> {
        let writes: Arc<[RecordedWrite]> = writes.into_iter().take(WRITES).collect();
        let newest = writes.first()?.id;
        Some(Self { newest, writes })
    }

    /// Number of writes that it remembers.
    pub(super) fn write_count(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn id(&self) -> WriteId {
        self.newest
    }

    pub(super) fn after(&self, write: RecordedWrite) -> Self {
        let newest = write.id;
        let writes = std::iter::once(write).chain(self.writes.iter().cloned());
        let writes = writes.take(WRITES).collect();
        Self { newest, writes }
    }

    /// The tags that writes have named since the epoch `learned_in`.
    pub(super) fn tags_since(&self, learned_in: WriteId) -> Vec<Arc<str>> {
        let since = self.writes.iter().take_while(|write| write.id != learned_in);
        let touches = since.flat_map(|write| write.touched.iter());
        let mut tags: Vec<Arc<str>> = touches
            .filter_map(|touch| match touch {
                Invalidation::Tag(tag) => Some(tag.clone()),
                Invalidation::Manifest(_) | Invalidation::TagNames | Invalidation::Everything => None,
            })
            .collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Whether a write that is remembered named it.
    pub(super) fn names(&self, id: &EntryId) -> bool {
        let mut touches = self.writes.iter().flat_map(|write| write.touched.iter());
        touches.any(|touch| id.is_named_by(touch))
    }

    /// Whether an entry from the epoch `learned_in` may be used in this one.
    pub(super) fn validity(&self, id: &EntryId, learned_in: WriteId) -> Validity {
        let Some(since) = self.writes.iter().position(|write| write.id == learned_in) else {
            return Validity::Unknown;
        };
        let touches = || self.writes[..since].iter().flat_map(|write| write.touched.iter());
        if touches().any(|touch| id.is_named_by(touch)) {
            Validity::Overwritten
        } else if touches().any(|touch| id.may_be_changed_by(touch)) {
            Validity::Unknown
        } else {
            Validity::Verified
        }
    }
}
