//! The tags of a repository, for callers who list them.

use std::sync::Arc;

use super::Resolver;
use crate::oci::RepositoryName;
use crate::registry::{Answer, Caller, TagNames, UpstreamError};

impl Resolver {
    /// All tag names as they are now; concurrent questions share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let listed = self.inner.stores.listings.now(&context).await?;
        if matches!(listed, Answer::Found(_)) && !self.inner.access.may_list(&context) {
            // A listing that somebody else started proves nothing about this caller.
            match self
                .inner
                .upstream
                .some_tags(&context.repository, &context.caller)
                .await?
            {
                // What it lists to others, it does not list to this caller.
                Answer::Found(names) if names.is_empty() => return Ok(Answer::Found(Arc::default())),
                Answer::Found(_) => self.inner.access.allow_listing(&context),
                Answer::Absent => return Ok(Answer::Absent),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
        match listed {
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
