//! Repositories that the registry hides from a caller and shows to others.

use std::time::Duration;

use super::{AccessList, Right};
use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::referrers::context::RepositoryContext;

/// A repository that is hidden from callers is logged about this often at most.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Repositories that are remembered as logged about.
const TOLD: u64 = 1000;

impl AccessList {
    /// The registry just said that a repository, of which this process shows a list to others, does not exist to this caller:
    /// a service that lost its credentials would go on with "no signatures". Told once in a while per repository.
    pub fn warn_of_hidden(&self, context: &RepositoryContext) {
        if self.hidden.is_news(&context.repository_key) {
            let before = self.allowed.contains_key(&self.key(context, Right::Read));
            tracing::warn!(
                repository = %context.repository,
                credentials = context.caller.authorization().is_some(),
                allowed_before = before,
                "the registry says to this caller that the repository does not exist, which it shows to others: \
                 its referrers are answered with an empty list; check the caller's credentials"
            );
        }
    }
}

/// Repositories of which it was told lately that they are hidden from somebody.
pub(super) struct HiddenRepositories(ExpiringMap<RepositoryKey, ()>);

impl Default for HiddenRepositories {
    fn default() -> Self {
        Self(ExpiringMap::builder(TOLD).time_to_live(TOLD_AGAIN_AFTER).build())
    }
}

impl HiddenRepositories {
    fn is_news(&self, repository_key: &RepositoryKey) -> bool {
        self.0.insert_new(repository_key, ())
    }
}
