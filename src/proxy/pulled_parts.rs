//! What indexes list that passed through lately: whoever pulls one of these pulls a part of an image, not another image.

use std::time::Duration;

use crate::expiring_map::ExpiringMap;
use crate::oci::{Digest, RepositoryName};

/// Parts that are remembered at once.
const REMEMBERED: u64 = 50_000;
/// Clients fetch the parts of an index right after it.
const FOR: Duration = Duration::from_secs(600);

pub(super) struct PulledParts {
    parts: ExpiringMap<(RepositoryName, Digest), ()>,
}

impl Default for PulledParts {
    fn default() -> Self {
        Self {
            parts: ExpiringMap::builder(REMEMBERED).time_to_live(FOR).build(),
        }
    }
}

impl PulledParts {
    /// An index that was pulled lists this.
    pub fn add(&self, repository: &RepositoryName, digest: &Digest) {
        self.parts.insert((repository.clone(), digest.clone()), ());
    }

    pub fn contains(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.parts.contains_key(&(repository.clone(), digest.clone()))
    }
}
