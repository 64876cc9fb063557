//! Epochs: the known writes to a repository. Each write begins a new epoch, named by a random number.
//!
//! Keys of values that any write may invalidate contain the epoch, so a scan that began before a write stores its result under a key that
//! nobody reads any more. A manifest or tag is invalidated only by a write that names it: its entry carries the epoch in which it was
//! read, and is valid until a later write names it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::key::{EntryId, Kind, RepositoryKey};

/// Number of writes remembered for each repository. Entries from before the oldest of them are unverified and are read again.
pub(super) const WRITES: usize = 128;
/// Number of repositories whose writes are remembered. A repository that is forgotten gets a new epoch, which costs a scan.
const WRITES_IN_ALL: u64 = 500_000;

/// The random number of a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WriteId(u64);

impl WriteId {
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a write may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    Tag(Arc<str>),
    Manifest(Arc<str>),
    /// Unknown: nothing that was read before is valid.
    Everything,
}

impl Invalidation {
    fn is(&self, id: &EntryId) -> bool {
        match self {
            Self::Tag(tag) => id.kind == Kind::Tag && *tag == id.detail,
            Self::Manifest(digest) => id.kind == Kind::Manifest && *digest == id.detail,
            Self::Everything => false,
        }
    }
}

/// One write to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedWrite {
    pub id: WriteId,
    pub touched: Arc<[Invalidation]>,
}

impl RecordedWrite {
    pub fn new(touched: Arc<[Invalidation]>) -> Self {
        let id = WriteId::random();
        Self { id, touched }
    }
}

/// The form that other processes read: `0123456789abcdef tag:v1 manifest:sha256:…`, with `*` for everything.
impl fmt::Display for RecordedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        for touch in &*self.touched {
            match touch {
                Invalidation::Tag(tag) => write!(f, " tag:{tag}")?,
                Invalidation::Manifest(digest) => write!(f, " manifest:{digest}")?,
                Invalidation::Everything => f.write_str(" *")?,
            }
        }
        Ok(())
    }
}

/// The text is not in that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidWrite;

impl FromStr for RecordedWrite {
    type Err = InvalidWrite;

    fn from_str(text: &str) -> Result<Self, InvalidWrite> {
        let mut words = text.split(' ');
        let is_id = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let id = words.next().filter(is_id).ok_or(InvalidWrite)?;
        let id = WriteId(u64::from_str_radix(id, 16).map_err(|_| InvalidWrite)?);
        let touched = words.map(|word| match word.split_once(':') {
            Some(("tag", tag)) => Ok(Invalidation::Tag(tag.into())),
            Some(("manifest", digest)) => Ok(Invalidation::Manifest(digest.into())),
            _ if word == "*" => Ok(Invalidation::Everything),
            _ => Err(InvalidWrite),
        });
        let touched = touched.collect::<Result<Vec<_>, _>>()?.into();
        Ok(Self { id, touched })
    }
}

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

    pub(super) fn id(&self) -> WriteId {
        self.newest
    }

    pub(super) fn after(&self, write: RecordedWrite) -> Self {
        let newest = write.id;
        let writes = std::iter::once(write).chain(self.writes.iter().cloned());
        let writes = writes.take(WRITES).collect();
        Self { newest, writes }
    }

    /// Whether an entry from the epoch `learned_in` may be used in this one.
    pub(super) fn validity(&self, id: &EntryId, learned_in: WriteId) -> Validity {
        let Some(since) = self.writes.iter().position(|write| write.id == learned_in) else {
            return Validity::Unknown;
        };
        let touches = || self.writes[..since].iter().flat_map(|write| write.touched.iter());
        if touches().any(|touch| touch.is(id)) {
            Validity::Overwritten
        } else if touches().any(|touch| *touch == Invalidation::Everything) {
            Validity::Unknown
        } else {
            Validity::Verified
        }
    }
}

/// The epochs that this process knows.
pub(super) struct Epochs {
    known: Cache<RepositoryKey, Epoch>,
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
        let weigher = |_: &RepositoryKey, epoch: &Epoch| u32::try_from(epoch.writes.len()).unwrap_or(u32::MAX);
        let forgotten = unwritten.clone();
        // Otherwise the repository would seem unwritten, and entries from before the write valid.
        let listener = move |_: Arc<RepositoryKey>, _: Epoch, cause: RemovalCause| {
            if cause.was_evicted() {
                *forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Epoch::unknown();
            }
        };
        let known = Cache::builder().max_capacity(writes).weigher(weigher);
        Self {
            known: known.eviction_listener(listener).build(),
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
        self.known
            .entry_by_ref(repository_key)
            .and_upsert_with(|known| match known {
                Some(known) => known.into_value().after(write),
                None => self.unwritten().after(write),
            });
    }

    /// Adopts the epoch that another process knows, unless this one has changed since `was`. Returns the epoch for the question at hand.
    pub fn adopt(&self, repository_key: &RepositoryKey, was: Option<&Epoch>, published: Epoch) -> Epoch {
        self.known.entry_by_ref(repository_key).and_compute_with(|known| {
            let known = known.map(moka::Entry::into_value);
            if known.as_ref() == was {
                Op::Put(published.clone())
            } else {
                Op::Nop
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
        epochs.known.run_pending_tasks();
        assert_eq!(epochs.known.entry_count(), 0);
    }

    #[test]
    fn a_write_that_is_forgotten_begins_new_epochs_everywhere() {
        let (epochs, repository_key) = (Epochs::of_at_most(100), scope());
        let first = epochs.current(&repository_key);
        epochs.wrote(&repository_key, &tag("a"));
        for number in 0..200 {
            epochs.wrote(&RepositoryKey::new("http://u/", format!("r{number}")), &tag("a"));
        }
        epochs.known.run_pending_tasks();
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

    #[test]
    fn writes_are_read_as_they_were_written() {
        let touched = [
            Invalidation::Tag("v1".into()),
            Invalidation::Manifest("sha256:ab".into()),
            Invalidation::Everything,
        ];
        for touched in [Arc::from([]), Arc::from(touched)] {
            let write = RecordedWrite::new(touched);
            assert_eq!(write.to_string().parse(), Ok(write));
        }
        for garbage in ["", "x", "0123456789abcdef  ", "0123456789abcdef v1", "+123456789abcdef"] {
            assert_eq!(garbage.parse::<RecordedWrite>(), Err(InvalidWrite), "{garbage}");
        }
    }
}
