//! The tier on disk: what a restart does not have to ask the registry for. `docs/disk-cache.md` describes it, and what happens when the disk
//! fails.
//!
//! ```text
//! DiskStore ──► WriteQueue ──► DiskWriter, a thread ──► CacheDirectory
//!     └──────► DiskFile: the open EntryFile ◄─┘
//! ```

mod directory;
mod disk_file;
mod disk_writer;
mod entry_file;
mod file_error;
mod write_queue;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::cached::Cached;
use super::entry_id::{EntryId, Kind};
use super::shared::StoredValue;
use super::stored_name::stored_name;
use directory::CacheDirectory;
pub use directory::DiskError;
use disk_file::DiskFile;
use disk_writer::DiskWriter;
use entry_file::EntryFile;
use file_error::FileError;
use write_queue::{QueuedChange, QueuedWrite, WriteQueue, write_queue};

/// Reads at the same time; further ones wait.
const READS: usize = 16;
/// Longest time for one read. The disk counts as failing after that.
const READ_FOR: Duration = Duration::from_secs(2);
/// Longest time to wait for a write.
const WRITE_FOR: Duration = Duration::from_millis(500);
/// Longest time to wait for all writes at the end of the process.
const FINISH_FOR: Duration = Duration::from_secs(2);

/// Where it is, and how large it may become.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// The directory, of which refshim is the only user.
    pub dir: PathBuf,
    /// Most bytes for its file.
    pub bytes: u64,
}

/// The state of the tier on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskHealth {
    /// Whether it is read and written.
    pub open: bool,
    /// Bytes that its entries take.
    pub used: u64,
    /// Bytes that they may take.
    pub limit: u64,
    /// Number of writes that were dropped.
    pub dropped: u64,
    /// Number of times that the disk failed.
    pub failures: u64,
}

/// See the module documentation.
pub(super) struct DiskStore {
    file: Arc<DiskFile>,
    queue: WriteQueue,
    reads: Arc<Semaphore>,
    dropped: Arc<AtomicU64>,
    bytes: u64,
}

impl DiskStore {
    /// Opens the store, which may take a moment for each 100 MiB. Its thread ends with it.
    pub fn start(options: &DiskOptions) -> Result<Self, DiskError> {
        let directory = CacheDirectory::claim(&options.dir)?;
        let file = directory.open(options.bytes).map_err(|error| directory.failed(error))?;
        let file = Arc::new(DiskFile::new(file));
        let (queue, writes) = write_queue();
        let dropped = Arc::<AtomicU64>::default();
        let writer = DiskWriter {
            directory,
            bytes: options.bytes,
            file: file.clone(),
            writes,
            dropped: dropped.clone(),
        };
        let thread = std::thread::Builder::new().name("cache.dir".to_owned());
        let begun = thread.spawn(move || writer.run());
        begun.map_err(|error| DiskError::Failed {
            dir: options.dir.clone(),
            error: error.to_string(),
        })?;
        Ok(Self {
            file,
            queue,
            reads: Arc::new(Semaphore::new(READS)),
            dropped,
            bytes: options.bytes,
        })
    }

    /// What is worth its room after a restart, and true for everybody then.
    pub fn keeps(kind: Kind) -> bool {
        match kind {
            Kind::Manifest | Kind::Blob | Kind::TagList | Kind::Written | Kind::Adopted => true,
            Kind::Tag
            | Kind::OrdinaryTags
            | Kind::Observed
            | Kind::Answer
            | Kind::Synthesised
            | Kind::Large
            | Kind::NativeApi
            | Kind::Partial => false,
        }
    }

    pub fn health(&self) -> DiskHealth {
        let file = self.file.open();
        DiskHealth {
            open: file.is_some(),
            used: file.map_or(0, |file| file.used()),
            limit: self.bytes,
            dropped: self.dropped.load(Ordering::Relaxed),
            failures: self.file.failures(),
        }
    }

    /// When the disk fails, this behaves as if it were empty.
    pub async fn get(&self, id: &EntryId) -> Option<StoredValue> {
        let file = self.file.open()?;
        let found = match timeout(READ_FOR, self.read(file.clone(), name(id))).await {
            Ok(found) => found,
            Err(_) => Err(FileError::Failed("a read took too long".to_owned())),
        };
        found.unwrap_or_else(|error| {
            self.file.failed(&file, error);
            // Whoever is the last to hold it closes it, which may write.
            tokio::task::spawn_blocking(move || drop(file));
            // The writer opens it again.
            self.queue.add(QueuedWrite::flush(None));
            None
        })
    }

    async fn read(&self, file: Arc<EntryFile>, name: String) -> Result<Option<StoredValue>, FileError> {
        let Ok(permit) = self.reads.clone().acquire_owned().await else {
            return Ok(None);
        };
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            file.read(&name)
        });
        // redb asserts things that a damaged file may not keep.
        let panicked = |_| Err(FileError::Unreadable("it is damaged".to_owned()));
        reading.await.unwrap_or_else(panicked)
    }

    /// Writes it in the background.
    pub fn put<T: Cached>(&self, id: &EntryId, value: &Arc<T>, at: Duration) {
        self.queue(put(id, value, at));
    }

    /// Returns when it would outlive this process, or when that takes too long.
    pub async fn put_through<T: Cached>(&self, id: &EntryId, value: &Arc<T>, at: Duration) {
        self.wait(put(id, value, at), WRITE_FOR).await;
    }

    pub fn remove(&self, id: &EntryId) {
        self.queue(QueuedWrite {
            name: name(id),
            change: QueuedChange::Remove,
            weight: 0,
            done: None,
        });
    }

    /// Waits for what is queued.
    pub async fn finish(&self) {
        self.wait(QueuedWrite::flush(None), FINISH_FOR).await;
    }

    async fn wait(&self, write: QueuedWrite, longest: Duration) {
        let (done, is_done) = oneshot::channel();
        self.queue(QueuedWrite {
            done: Some(done),
            ..write
        });
        // Dropped or too slow: it is as if there were no disk.
        let _ = timeout(longest, is_done).await;
    }

    fn queue(&self, write: QueuedWrite) {
        if !self.queue.add(write) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn put<T: Cached>(id: &EntryId, value: &Arc<T>, at: Duration) -> QueuedWrite {
    let (weight, value) = (value.weight(), value.clone());
    QueuedWrite {
        name: name(id),
        change: QueuedChange::Put {
            kind: id.kind,
            at,
            encode: Box::new(move || value.encode()),
        },
        weight,
        done: None,
    }
}

/// None of these kinds depends on how links are looked for.
fn name(id: &EntryId) -> String {
    stored_name(id, "")
}

#[cfg(test)]
mod tests;
