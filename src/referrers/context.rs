//! Where a question is asked and by whom.

use std::fmt;
use std::sync::Arc;

use crate::cache::{Epoch, RepositoryKey};
use crate::oci::RepositoryName;
use crate::registry::{Caller, Upstream};

/// One repository of the upstream, asked with one caller's credentials.
#[derive(Clone, Debug)]
pub(super) struct RepositoryContext {
    pub repository: RepositoryName,
    pub repository_key: RepositoryKey,
    pub caller: Caller,
    /// The repository's epoch when the question came in.
    pub epoch: Epoch,
    /// Where subjects are, where that is another registry.
    pub base: Option<Arc<BaseRepository>>,
}

/// The repository of another registry whose links a sibling keeps, and on whose behalf that is asked.
pub(super) struct BaseRepository {
    pub upstream: Arc<Upstream>,
    pub repository: RepositoryName,
    pub caller: Caller,
}

impl fmt::Debug for BaseRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseRepository({} of {})", self.repository, self.upstream.name())
    }
}

impl RepositoryContext {
    /// The same, asked in a search for links: see [`Caller::searching`].
    pub fn searching(self) -> Self {
        Self {
            caller: self.caller.searching(),
            ..self
        }
    }

    /// The same, in a search of at most `requests` for manifests and blobs.
    pub fn searching_within(&self, requests: usize) -> Self {
        Self {
            caller: self.caller.searching().within(requests),
            ..self.clone()
        }
    }
}
