//! The directory of `cache.dir`: whose it is, and which of its files can be used.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::entry_file::EntryFile;
use super::file_error::FileError;

const LOCK: &str = "lock";
const ENTRIES: &str = "entries.redb";
/// The last file that could not be used, for whoever wants to know why. There is at most one.
const UNUSABLE: &str = "entries.redb.unusable";
/// With which a database of redb begins. It changes files that do not.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("'{}' cannot be written: {error}; give a directory that refshim may write to, or none", dir.display())]
    NotWritable { dir: PathBuf, error: io::Error },
    #[error("'{}' is in use by another process: give each refshim a directory of its own", dir.display())]
    InUse { dir: PathBuf },
    #[error("'{}' cannot be used: {error}", dir.display())]
    Failed { dir: PathBuf, error: String },
}

/// A directory that no other process uses for as long as this lives.
pub(super) struct CacheDirectory {
    dir: PathBuf,
    /// The kernel unlocks it when the process ends, however it does.
    _lock: File,
}

impl CacheDirectory {
    /// Creates the directory if it is missing.
    pub fn claim(dir: &Path) -> Result<Self, DiskError> {
        let not_writable = |error| DiskError::NotWritable {
            dir: dir.to_owned(),
            error,
        };
        let mut builder = DirBuilder::new();
        // It holds manifests of private repositories.
        builder.recursive(true).mode(0o700).create(dir).map_err(not_writable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK));
        let lock = lock.map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DiskError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(DiskError::Failed {
                dir: dir.to_owned(),
                error: format!("it cannot be locked: {error}"),
            }),
        }
    }

    pub fn failed(&self, error: FileError) -> DiskError {
        DiskError::Failed {
            dir: self.dir.clone(),
            error: error.to_string(),
        }
    }

    /// Opens the file with the entries. One that cannot be used is moved aside, and another one begun.
    pub fn open(&self, bytes: u64) -> Result<EntryFile, FileError> {
        match open(&self.dir.join(ENTRIES), bytes) {
            Err(FileError::Unreadable(reason)) => self.replace(bytes, &reason),
            opened => opened,
        }
    }

    /// Begins another file in the place of one that cannot be used.
    pub fn replace(&self, bytes: u64, reason: &str) -> Result<EntryFile, FileError> {
        let path = self.dir.join(ENTRIES);
        self.move_aside(&path, reason)?;
        open(&path, bytes)
    }

    fn move_aside(&self, path: &Path, reason: &str) -> Result<(), FileError> {
        let aside = self.dir.join(UNUSABLE);
        fs::rename(path, &aside).map_err(|error| FileError::Failed(format!("it cannot be moved aside: {error}")))?;
        let (file, aside) = (path.display(), aside.display());
        tracing::warn!(
            "cache.dir: {file} cannot be used ({reason}); it was moved to {aside}, and another one is begun"
        );
        Ok(())
    }
}

fn open(path: &Path, bytes: u64) -> Result<EntryFile, FileError> {
    check_magic(path)?;
    // redb asserts things that a damaged file may not keep.
    let opened = catch_unwind(|| EntryFile::open(path, bytes));
    opened.unwrap_or_else(|_| Err(FileError::Unreadable("it is damaged".to_owned())))
}

/// An empty file is as good as none.
fn check_magic(path: &Path) -> Result<(), FileError> {
    let mut start = Vec::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::Failed(error.to_string())),
    };
    let read = file.take(MAGIC.len() as u64).read_to_end(&mut start);
    read.map_err(|error| FileError::Failed(error.to_string()))?;
    match start.is_empty() || start == MAGIC {
        true => Ok(()),
        false => Err(FileError::Unreadable("it is no file of refshim's".to_owned())),
    }
}
