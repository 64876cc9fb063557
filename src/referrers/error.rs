//! Why there is no list. Never an empty one instead.

use crate::registry::{Refusal, UpstreamError};

#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The upstream refuses this caller, or refuses to answer: relayed as it is.
    #[error("the registry refuses (HTTP {})", .0.status)]
    Refused(Box<Refusal>),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl From<Refusal> for ResolveError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl ResolveError {
    /// Work that missed its deadline or died.
    pub(super) fn lost() -> Self {
        Self::Upstream(UpstreamError::Timeout("scan"))
    }
}
