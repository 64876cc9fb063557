//! Why a request brought no response.

use std::sync::Arc;

use http::{Extensions, Request};
use hyper_util::client::legacy;

use super::body::{Body, BoxError};
use super::connection_use::ConnectionUse;
use super::framing::FramingError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("there is no connection")]
    Connect(#[source] BoxError),
    #[error("the connection brought no response")]
    Broken {
        source: hyper::Error,
        /// See [`ClientError::is_stale`].
        is_stale: bool,
    },
    /// A response came, but not one to go by.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The runtime ends.
    #[error("the task that sent the request ended")]
    Ended,
    /// Of a connection that several requests may share.
    #[error(transparent)]
    Shared(#[from] legacy::Error),
}

impl ClientError {
    pub(crate) fn is_connect(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Broken { .. } | Self::Framing(_) | Self::Ended => false,
            Self::Shared(error) => error.is_connect(),
        }
    }

    /// Whether the connection had been idle before, and was closed before a byte of a response came.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Framing(_) | Self::Ended => false,
            Self::Broken { is_stale, .. } => *is_stale,
            Self::Shared(error) => was_stale(error),
        }
    }
}

fn was_stale(error: &legacy::Error) -> bool {
    let Some(connected) = error.connect_info() else {
        return false;
    };
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    extras.get::<Arc<ConnectionUse>>().is_some_and(|used| used.is_stale())
}

/// What became of a request on a connection of its own.
pub(super) enum SendFailure {
    /// The peer had closed the idle connection, and has seen nothing of the request.
    Unsent(Box<Request<Body>>),
    Failed(ClientError),
}
