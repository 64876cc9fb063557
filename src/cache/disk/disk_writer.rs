//! The thread that alone changes the file, and opens it again after it failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::CacheDirectory;
use super::disk_file::{DiskFile, FileUse};
use super::entry_file::{Change, EntryFile};
use super::file_error::FileError;
use super::write_queue::{QueuedChange, QueuedWrite, QueuedWrites};
use crate::cache::shared::StoredValue;

pub(super) struct DiskWriter {
    pub writes: QueuedWrites,
    pub dropped: Arc<AtomicU64>,
    pub file: Arc<DiskFile>,
    /// Most bytes for the file.
    pub bytes: u64,
    /// Dropped last: the next process may have the directory when the file is closed.
    pub directory: CacheDirectory,
}

impl DiskWriter {
    /// Until the cache is gone.
    pub fn run(self) {
        while let Some(batch) = self.writes.next_batch() {
            let (mut changes, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
            for QueuedWrite { name, change, done, .. } in batch {
                waiting.extend(done);
                match change {
                    QueuedChange::Flush => {}
                    change => changes.push((name, change)),
                }
            }
            self.write(changes);
            for done in waiting {
                // Whoever waited may have gone.
                let _ = done.send(());
            }
        }
    }

    fn write(&self, changes: Vec<(String, QueuedChange)>) {
        let count = changes.len() as u64;
        let Some(file) = self.usable() else {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        };
        if changes.is_empty() {
            return;
        }
        // One value at a time is in memory as it is written.
        let encoded = changes
            .into_iter()
            .filter_map(|(name, change)| Some((name, encoded(change)?)));
        let changed = catch_unwind(AssertUnwindSafe(|| file.change(encoded)));
        let changed = changed.unwrap_or_else(|_| Err(FileError::Unreadable("it is damaged".to_owned())));
        match changed {
            Ok(()) => self.file.written(),
            Err(error) => {
                self.file.failed(&file, error);
                self.dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
        // The last one to hold a closed file closes it, which may write.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(file)));
    }

    /// The file, opened again where it is time to.
    fn usable(&self) -> Option<Arc<EntryFile>> {
        let opened = match self.file.next_use() {
            FileUse::Use(file) => return Some(file),
            FileUse::Wait => return None,
            FileUse::Open => self.directory.open(self.bytes),
            FileUse::Replace(reason) => self.directory.replace(self.bytes, &reason),
        };
        match opened {
            Ok(file) => Some(self.file.opened(file)),
            Err(error) => {
                tracing::debug!(%error, "cache.dir: the cache on disk still fails");
                self.file.still_closed();
                None
            }
        }
    }
}

/// `None` for a value that cannot leave this process.
fn encoded(change: QueuedChange) -> Option<Change> {
    match change {
        QueuedChange::Put { kind, at, encode } => {
            let bytes = encode()?.into();
            Some(Change::Put(kind, StoredValue { at, epoch: None, bytes }))
        }
        QueuedChange::Remove => Some(Change::Remove),
        QueuedChange::Flush => None,
    }
}
