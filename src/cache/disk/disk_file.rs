//! The file with the entries as readers and the writer share it: open, or closed because the disk fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::entry_file::EntryFile;
use super::file_error::FileError;

/// How long after a failure the file is opened again.
const CLOSED_FOR: Duration = Duration::from_secs(30);

enum FileState {
    Open(Arc<EntryFile>),
    Closed {
        /// When to try again.
        until: Instant,
        /// Why what is in the file cannot be used, if that is so.
        unreadable: Option<String>,
    },
}

/// What is to be done to use the file.
pub(super) enum FileUse {
    Use(Arc<EntryFile>),
    Open,
    /// What is in it cannot be used.
    Replace(String),
    /// The disk failed a moment ago.
    Wait,
}

/// See the module documentation.
pub(super) struct DiskFile {
    state: RwLock<FileState>,
    failures: AtomicU64,
    /// Whether the log says that it fails.
    is_told: AtomicBool,
}

impl DiskFile {
    pub fn new(file: EntryFile) -> Self {
        Self {
            state: RwLock::new(FileState::Open(Arc::new(file))),
            failures: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        }
    }

    pub fn open(&self) -> Option<Arc<EntryFile>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            FileState::Open(file) => Some(file.clone()),
            FileState::Closed { .. } => None,
        }
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn next_use(&self) -> FileUse {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            FileState::Open(file) => FileUse::Use(file.clone()),
            FileState::Closed {
                unreadable: Some(reason),
                ..
            } => FileUse::Replace(reason.clone()),
            FileState::Closed { until, .. } if Instant::now() >= *until => FileUse::Open,
            FileState::Closed { .. } => FileUse::Wait,
        }
    }

    /// It was opened again.
    pub fn opened(&self, file: EntryFile) -> Arc<EntryFile> {
        let file = Arc::new(file);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = FileState::Open(file.clone());
        file
    }

    /// Something was written: a disk that is full can be opened, too.
    pub fn written(&self) {
        if self.is_told.swap(false, Ordering::Relaxed) {
            tracing::info!("cache.dir: the cache on disk works again");
        }
    }

    /// It could not be opened again.
    pub fn still_closed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = closed(None);
    }

    /// Closes it, unless somebody else already has.
    pub fn failed(&self, file: &Arc<EntryFile>, error: FileError) {
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if !matches!(&*state, FileState::Open(open) if Arc::ptr_eq(open, file)) {
                return;
            }
            if !self.is_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "cache.dir: the cache on disk fails; going on without it");
            }
            *state = match error {
                FileError::Unreadable(reason) => closed(Some(reason)),
                FileError::Failed(_) => closed(None),
            };
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

fn closed(unreadable: Option<String>) -> FileState {
    let until = Instant::now() + CLOSED_FOR;
    FileState::Closed { until, unreadable }
}
