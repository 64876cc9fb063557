//! Why a receiver cannot be used, or was not reached.

use http::StatusCode;

/// Never holds a key, nor the path and query of a receiver's URL.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The key cannot be used.
    #[error("secret_file: {0}")]
    Secret(String),
    /// The certificates cannot be used.
    #[error("ca_file: {0}")]
    Authorities(String),
    /// It took too long.
    #[error("no answer within its timeout")]
    Timeout,
    /// There was no connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The receiver did not accept the event.
    #[error("it answers {0}")]
    Status(StatusCode),
}
