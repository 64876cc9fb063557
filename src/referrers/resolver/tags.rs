//! The tags of a repository, for callers who list them.

use std::sync::Arc;

use super::Resolver;
use crate::oci::RepositoryName;
use crate::registry::{Answer, Caller, TagNames, UpstreamError};

impl Resolver {
    /// All tag names as the registry lists them to this caller now; concurrent questions with one credential share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        match self.inner.stores.listings.now(&context).await? {
            Answer::Found(listing) => {
                if !listing.names.is_empty() {
                    self.inner.stores.tags.listed(&context.repository_key);
                }
                let overlaid = self.inner.stores.tags.overlaid(
                    &self.inner.stores.manifests,
                    &context,
                    listing.names,
                    listing.began,
                );
                Ok(Answer::Found(overlaid.await?))
            }
            // Just pushed, and the registry's listing lags, unless it was there before: then refshim's own tags are not all.
            Answer::Absent
                if self.inner.access.is_allowed(&context)
                    && !self.inner.stores.tags.was_listed(&context.repository_key) =>
            {
                let began = self.inner.cache.now();
                let overlaid =
                    self.inner
                        .stores
                        .tags
                        .overlaid(&self.inner.stores.manifests, &context, Arc::default(), began);
                let names = overlaid.await?;
                Ok(match names.is_empty() {
                    true => Answer::Absent,
                    false => Answer::Found(names),
                })
            }
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }
}
