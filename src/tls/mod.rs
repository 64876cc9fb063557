//! TLS for listeners, whose certificates can be renewed while connections stay open; which servers are trusted; and reading of PEM files.

mod acceptor;
mod pem;
mod server_trust;

pub use acceptor::{Acceptor, ClientAuth, Protocols, TlsConnection};
pub use pem::{Identity, add_authorities, identity, versions};
pub use server_trust::ServerTrust;

use std::path::{Path, PathBuf};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{}: {reason}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings cannot be used together.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsError {
    fn file(file: &Path, reason: impl ToString) -> Self {
        Self::File {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}
