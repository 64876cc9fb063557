//! Why the file with the entries cannot be used.

use std::io::ErrorKind;

use redb::{CommitError, DatabaseError, Error, StorageError, TableError, TransactionError};

/// See the module documentation.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// What is in the file: it was torn, or is no such file.
    #[error("{0}")]
    Unreadable(String),
    /// The disk, or another process that has the file open: what is in it may be right.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::Unreadable(text)
            }
            Error::Io(_)
            | Error::PreviousIo
            | Error::DatabaseAlreadyOpen
            | Error::LockProtocolMismatch
            | Error::DatabaseClosed => Self::Failed(text),
            _ => Self::Unreadable(text),
        }
    }
}

/// redb has an error for each of its types, and one that holds them all.
macro_rules! by_way_of_error {
    ($($kind:ty)*) => {
        $(impl From<$kind> for FileError {
            fn from(error: $kind) -> Self {
                Error::from(error).into()
            }
        })*
    };
}

by_way_of_error! { CommitError DatabaseError StorageError TableError TransactionError }
